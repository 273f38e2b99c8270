"""The chat with aiohttp. It sends a message to one client after the other."""

import logging
import sys

from aiohttp import WSMsgType, web

clients: set[web.WebSocketResponse] = set()


async def chat(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress=False)
    await websocket.prepare(request)
    clients.add(websocket)
    try:
        async for message in websocket:
            if message.type == WSMsgType.TEXT:
                for client in list(clients):
                    try:
                        await client.send_str(message.data)
                    except ConnectionResetError:
                        clients.discard(client)
    finally:
        clients.discard(websocket)
    return websocket


if __name__ == "__main__":
    application = web.Application()
    application.router.add_get("/ws", chat)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # no tracebacks for clients that disconnect
    web.run_app(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        backlog=1024,
        access_log=None,
        shutdown_timeout=1,
    )
