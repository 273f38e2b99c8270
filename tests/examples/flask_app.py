"""A Flask site with a chat room at /chat/. Run it with

    python flask_app.py

or, where it is to last, with

    gunicorn --worker-class gthread --workers 1 --threads 100 flask_app:app

One worker, because each process has a chat of its own; and each client keeps one of the worker's threads for as long as
it stays, so --threads is the number of clients plus a few for the other pages. Without --preload, because threads, the
chat's among them, do not survive the fork.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import run_simple

from threadchat.options import Options
from threadchat.web.app import create_app

site = Flask(__name__)


@site.get("/")
def home() -> str:
    return '<!doctype html><title>My site</title><p>Welcome. There is a <a href="/chat/">chat room</a>.</p>'


chat = create_app(Options(message_size=1000))
app = DispatcherMiddleware(site, {"/chat": chat})


def close_chat_on(number: int) -> None:
    """Let a signal take leave of the chat's clients first, and then do what it did before.

    A server that is told to stop waits for the requests it is serving, and a WebSocket is one that does not end by
    itself: gunicorn would wait for its whole --graceful-timeout of 30 seconds, and then kill the worker.
    """
    before = signal.getsignal(number)

    def handle(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=chat.close).start()  # a signal handler must not wait
        if callable(before):
            before(number, frame)

    signal.signal(number, handle)


def main(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, too, makes run_simple return
    run_simple("127.0.0.1", port, app, threaded=True)
    chat.close()  # returns when all clients have taken their leave


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
elif "gunicorn" in os.environ.get("SERVER_SOFTWARE", ""):  # a worker: its own handlers are in place by now
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        close_chat_on(number)
