"""The chat example of Go's WebSocket packages, in Python threads.

A chat in an application of your own, or by itself:

    from threadchat import Options, Server, create_app

    app = create_app(Options(message_size=1000))  # a WSGI application
    server = Server(app, "127.0.0.1", 8080)  # or any other threaded WSGI server
    server.start()
    ...
    server.stop()  # every client is told, every thread ends

Go's channels, by themselves:

    from threadchat import Channel, Closed, Send, select

Each name is imported from its module when it is first used, so that the channels come without the web server.

To read the program, begin with `channel` (Go's channels and select), `hub` (the one thread that knows all clients) and
`client` (two threads each: a read pump and a write pump). `websocket`, `web` and `runtime` do what the Go program's
libraries and its runtime do. `options` has the limits, `cli` the commands. `lessons` break the program on purpose to
show what each part is for, `inspector` shows it at work, and `exercises` let the reader write its parts. `deadlock`
finds deadlocks in the tests of programs with channels.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadchat.channel import Channel, ChannelStatistics, Closed, ReceiveOnly, Send, SendOnly, WouldBlock, select
    from threadchat.declarations import OptionError
    from threadchat.hub import Hub
    from threadchat.options import Options
    from threadchat.web.app import App, create_app
    from threadchat.web.server import Server
    from threadchat.web.visitors import Identity

__version__ = "0.1.0"

__all__ = [
    "App",
    "Channel",
    "ChannelStatistics",
    "Closed",
    "Hub",
    "Identity",
    "OptionError",
    "Options",
    "ReceiveOnly",
    "Send",
    "SendOnly",
    "Server",
    "WouldBlock",
    "__version__",
    "create_app",
    "select",
]

_MODULES = {
    "threadchat.channel": (
        "Channel",
        "ChannelStatistics",
        "Closed",
        "ReceiveOnly",
        "Send",
        "SendOnly",
        "WouldBlock",
        "select",
    ),
    "threadchat.declarations": ("OptionError",),
    "threadchat.hub": ("Hub",),
    "threadchat.options": ("Options",),
    "threadchat.web.app": ("App", "create_app"),
    "threadchat.web.server": ("Server",),
    "threadchat.web.visitors": ("Identity",),
}


if not TYPE_CHECKING:  # a type checker that saw __getattr__ would take every name for a public one

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        for module, names in _MODULES.items():
            if name in names:
                globals()[name] = value = getattr(import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
