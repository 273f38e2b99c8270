"""What a client and the server say to each other in text messages: plain lines, or the JSON of threadchat.v1."""
