"""One WebSocket over a socket that a WSGI server hands over: what gorilla/websocket does for the Go example."""
