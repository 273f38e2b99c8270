"""What net/http does for the Go example: the WSGI application, the server, and their limits and checks."""
