"""The plain translation of Go's chat: simple-websocket and queue.Queue, used as their documentation shows."""

import queue
import sys
import threading
from collections.abc import Iterable
from typing import Any

from simple_websocket import ConnectionClosed, Server
from werkzeug.serving import WSGIRequestHandler, make_server

SEND_BUFFER = 256
Client = queue.Queue[str | None]

events: queue.Queue[tuple[str, Any]] = queue.Queue()


def hub() -> None:
    clients: set[Client] = set()
    while True:
        what, value = events.get()
        if what == "register":
            clients.add(value)
        elif what == "unregister":
            if value in clients:
                clients.remove(value)
                value.put(None)
        else:
            for client in list(clients):
                try:
                    client.put_nowait(value)
                except queue.Full:
                    clients.remove(client)
                    client.get_nowait()
                    client.put(None)


def write_pump(websocket: Server, send: Client) -> None:
    while True:
        messages = [send.get()]
        while not send.empty():
            messages.append(send.get())
        try:
            if None in messages:
                websocket.close()
                return
            websocket.send("\n".join(message for message in messages if message is not None))
        except (ConnectionClosed, OSError):
            return


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    websocket = Server.accept(environ)
    send: Client = queue.Queue(SEND_BUFFER)
    events.put(("register", send))
    threading.Thread(target=write_pump, args=(websocket, send), daemon=True).start()
    try:
        while True:
            events.put(("broadcast", websocket.receive()))
    except ConnectionClosed:
        pass
    finally:
        events.put(("unregister", send))
    return []


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        pass


if __name__ == "__main__":
    threading.Thread(target=hub, daemon=True).start()
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=Quiet).serve_forever()
