"""Lessons: a part of the chat that is broken on purpose, beside the real one, and what each of them does when it runs.

Each lesson is a module. It changes a line or a few of one function of the chat, and runs the chat with the change and
without it. The chat itself does not know the lessons. `lesson` defines what a lesson consists of, `peers` has the
server and the clients that it runs with, `run` runs it and `show` prints it.
"""
