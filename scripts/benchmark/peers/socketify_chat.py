"""The chat with socketify, which is uWebSockets in C++, and its `publish`."""

import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode

BACKPRESSURE = 1 << 24  # bytes for each client; by default it is 64 KB, and messages beyond are dropped


def opened(websocket: Any) -> None:
    websocket.subscribe("chat")


def said(websocket: Any, message: str | bytes, opcode: OpCode) -> None:
    application.publish("chat", message, opcode)  # the websocket's own publish leaves out the sender


application = App()
application.ws(
    "/ws",
    {"compression": CompressOptions.DISABLED, "max_backpressure": BACKPRESSURE, "open": opened, "message": said},
)

if __name__ == "__main__":
    application.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
    application.run()
