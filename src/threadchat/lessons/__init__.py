"""Lessons: a part of the chat that is broken on purpose, beside the real one, and what each of them does when it runs.

Each lesson is a module. Its broken part is a subclass of the real part or a replacement for it, so there is only the
difference to read. The chat itself does not know the lessons. `lesson` defines what a lesson consists of, `peers` has
the server and the clients that it runs with, `run` runs it and `show` prints it.
"""
