"""What gorilla/websocket does for the Go example: one WebSocket over a socket that a WSGI server hands over."""
