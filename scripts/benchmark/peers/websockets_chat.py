"""The chat with the websockets package (asyncio) and its `broadcast`."""

import asyncio
import logging
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

clients: set[ServerConnection] = set()


async def chat(websocket: ServerConnection) -> None:
    clients.add(websocket)
    try:
        async for message in websocket:
            broadcast(clients, message)
    except ConnectionClosed:
        pass
    finally:
        clients.discard(websocket)


async def main() -> None:
    async with serve(chat, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=1024) as server:
        await server.serve_forever()


if __name__ == "__main__":
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # no tracebacks for clients that disconnect
    asyncio.run(main())
