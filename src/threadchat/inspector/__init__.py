"""The inspector: a live picture of the threads and channels of a running server, for `serve --inspect` and `demo`.

The core does not know the inspector. Read its modules in this order: `watch` (a hub, channels and connections that
record what passes through them, with `watched_channels`, `watched_connection` and `notes`), `journey` (messages that
are followed from step to step), `watched_writer` and `watched_reader` (the log writer of a server with a store, and the
log reader where the store is shared), `kernel` (what the kernel holds of a connection), `evictions` (why a client was
evicted), `states` (what each thread is doing now), `own_file`, `own_channels`, `own_faults` and `own_hub` (a learner's
hub in the real server), `room_log` (what a room's log keeps), `survey` (which clients are drawn), `camera` (the
pictures of one room), `sampler` (the thread that takes them), `perfetto` (the last minute as a trace), `bots` (the
demo's clients), `lesson_processes` (runs the lessons), `access` (who may look), `actions` (what a page may ask for) and
`site` (the addresses under /inspect).
"""
