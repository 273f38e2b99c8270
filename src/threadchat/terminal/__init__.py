"""`threadchat join`: the chat in a terminal or a pipe, a client of threadchat.v1 made of threads and channels.

Read `chat` first: it is the loop, with one `select`. `pump` is the thread that reads the socket, which `dial` makes.
`lines` and `screen` are two ways to read keys and to show what is said; `join` puts the parts together.
"""
