"""threadchat: the chat example of Go's WebSocket packages, in Python threads.

Read it in this order: `channel` (Go's channels and select), `hub` (the one thread that knows all clients),
`client` (two threads each: a read pump and a write pump). Around them stand `connection` (one WebSocket),
`options` (the constants), `limits` and `hosts` (who may come in), `app` (the WSGI application), `server` (werkzeug's
threads and the stop) and `cli`. `guide` explains them all in the browser, at /guide. What each part is there for,
`lessons` show: they break it on purpose.
"""

__version__ = "0.1.0"
