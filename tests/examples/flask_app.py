"""A Flask site with a chat room at /chat/. Try it with

    python flask_app.py

and deploy it with

    gunicorn --worker-class gthread --workers 1 --threads 100 flask_app:app

Use one worker, because each process has a chat of its own. Each client takes one of the worker's threads for as long as
it stays, so --threads is the number of clients plus a few for the other pages. Do not use --preload: threads do not
survive a fork, and the chat's hub is one.
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

from threadchat import Options, create_app

site = Flask(__name__)


@site.get("/")
def home() -> str:
    return '<!doctype html><title>My site</title><p>Welcome. There is a <a href="/chat/">chat room</a>.</p>'


chat = create_app(Options(message_size=1000))
app = DispatcherMiddleware(site, {"/chat": chat})


def close_chat_on(number: int) -> None:
    """Make a signal disconnect the chat's clients, and then do what it did before.

    A server that stops waits for the requests that it serves, and a WebSocket is a request that does not end by itself.
    Gunicorn would wait for its --graceful-timeout of 30 seconds and then kill the worker.
    """
    before = signal.getsignal(number)

    def handle(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=chat.close).start()  # a signal handler must not wait
        if callable(before):
            before(number, frame)

    signal.signal(number, handle)


def main(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # run_simple returns at SIGTERM as it does at Ctrl-C
    run_simple("127.0.0.1", port, app, threaded=True)
    chat.close()  # returns when all clients have been disconnected


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
elif "gunicorn" in os.environ.get("SERVER_SOFTWARE", ""):  # a worker, whose own handlers are in place by now
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        close_chat_on(number)
