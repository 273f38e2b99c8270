"""A chat under a WSGI server that cannot carry it: `python wrong_server.py NAME` serves and prints the address."""

from __future__ import annotations

import importlib
import socket
import sys
import wsgiref.simple_server
from typing import Any

import werkzeug.serving

from threadchat import create_app

HOST = "127.0.0.1"


def serve(name: str, app: Any) -> None:
    with socket.create_server((HOST, 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        print(f"{name}: http://{HOST}:{address[1]}/", flush=True)
        match name:
            case "waitress":
                importlib.import_module("waitress").serve(app, sockets=[listener])
            case "uvicorn" | "a2wsgi":
                uvicorn = importlib.import_module("uvicorn")
                wrapper = importlib.import_module("uvicorn.middleware.wsgi" if name == "uvicorn" else "a2wsgi")
                asgi = wrapper.WSGIMiddleware(app)
                uvicorn.Server(uvicorn.Config(asgi, lifespan="off", ws="none")).run([listener])
            case "threaded=False":
                werkzeug.serving.make_server(HOST, 0, app, fd=listener.fileno()).serve_forever()
            case "processes=2":
                werkzeug.serving.make_server(HOST, 0, app, processes=2, fd=listener.fileno()).serve_forever()
    if name == "wsgiref":  # these listen by themselves
        wsgiref.simple_server.make_server(*address, app).serve_forever()
    if name == "cheroot":
        importlib.import_module("cheroot.wsgi").Server(address, app).start()
    if name == "gevent":
        importlib.import_module("gevent.pywsgi").WSGIServer(address, app).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], create_app())
