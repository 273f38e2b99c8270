"""A chat mounted in a server that speaks TLS, for test_tls.py: `python tls_site.py PEM`, or `gunicorn tls_site:app`."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

from werkzeug.serving import run_simple

from threadchat import Options, create_app

app = create_app(Options(message_size=100_000, message_rate=0, send_buffer=4))

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run_simple("127.0.0.1", 0, app, threaded=True, ssl_context=(sys.argv[1], sys.argv[1]))
    app.close()
else:
    before = signal.getsignal(signal.SIGTERM)  # gunicorn's

    def close(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=app.close).start()
        assert callable(before)
        before(number, frame)

    signal.signal(signal.SIGTERM, close)
