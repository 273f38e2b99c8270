"""Lessons: a part of the chat broken on purpose, beside the real one, and what is seen of both.

Each lesson is a module. Its broken part is a subclass of the real one or stands in its place, so that what differs is
all there is to read; nothing of the chat itself knows of it. `lesson` says what a lesson is made of, `peers` has the
server and the clients to try it on, `run` runs it and `show` prints it.
"""
