"""Listen for a server, so that another one can take its place and nobody is refused meanwhile.

    python keep_listening.py 0.0.0.0 8080 threadchat serve --drain 2

SIGHUP replaces the server: it is told to stop (SIGTERM), and when it has ended another one is started. Those who
connect in between wait in the socket's queue. SIGTERM and SIGINT end both. A server that is killed is replaced too;
one that ends by itself ends this program, with its status.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys

FIRST = 3  # sd_listen_fds(3)
OWN_PID = 'LISTEN_PID=$$ exec "$@"'  # the number of the process, which is the server's from `exec` on


def main(host: str, port: str, *command: str) -> int:
    """Returns the last server's exit status."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # whose `put` may interrupt its `get`
    for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(each, lambda number, frame: signals.put(number))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=1024)
    os.dup2(listener.fileno(), FIRST)

    def start() -> subprocess.Popen[bytes]:
        environment = {**os.environ, "LISTEN_FDS": "1"}
        return subprocess.Popen(["sh", "-c", OWN_PID, "sh", *command], env=environment, pass_fds=[FIRST])

    server = start()
    while True:
        number = signals.get()
        if number == signal.SIGHUP:
            server.terminate()
        elif number != signal.SIGCHLD:
            server.send_signal(number)
            return server.wait()
        elif server.poll() is None:
            continue  # it was another process
        elif server.returncode >= 0:
            return server.returncode
        server.wait()
        server = start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
