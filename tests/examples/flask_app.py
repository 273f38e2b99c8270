"""A Flask site with a chat room at /chat/. Each of these serves it:

    flask --app flask_app run
    python flask_app.py
    gunicorn --worker-class gthread --workers 1 --threads 100 flask_app:site

With gunicorn, use one worker, since each process would have a chat of its own. Each client keeps one of the worker's
threads for as long as it stays, so --threads is the number of clients plus a few for the other pages. Do not use
--preload: a fork leaves the chat's threads behind.
"""

from __future__ import annotations

import os

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from threadchat import Options, create_app

site = Flask(__name__)
chat = create_app(Options(message_size=1000))
site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/chat": chat})  # type: ignore[method-assign]


@site.get("/")
def home() -> str:
    return '<!doctype html><title>My site</title><p>Welcome. There is a <a href="/chat/">chat room</a>.</p>'


if __name__ == "__main__":
    site.run(port=int(os.environ.get("PORT", "5000")))
