"""What net/http does for the Go example: the WSGI application, the server, and the checks at its door."""
