"""Exercises: small files for the learner to complete, and checks that say what the learner's threads are doing.

They look at the rest from outside: only the command line knows of them (`threadchat exercise`). An exercise is a card
(see `cards`) and a check of the same name (see `checks`).
"""
