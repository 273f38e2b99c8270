"""A chat for several workers of gunicorn, which share a Redis:

    gunicorn --worker-class gthread --workers 4 --threads 1000 chat_app:chat

Each client keeps one of a worker's threads for as long as it stays. Workers without a store that they can share would
be chats of their own: then nobody can join, and the log and the answer (503) say why.
"""

from __future__ import annotations

import os

from threadchat import Options, create_app

chat = create_app(Options(store=os.environ.get("STORE", "redis://localhost")))
