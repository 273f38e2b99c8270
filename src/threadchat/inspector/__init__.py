"""The inspector: a live picture of the threads and channels of a running server, for `serve --inspect` and `demo`.

The core does not know of it. Read it in this order: `watch` (the watched parts: a hub, channels and connections that
note what passes), `journey` (messages followed from step to step), `states` (what each thread does at this moment),
`sampler` (the thread that takes the pictures), `perfetto` (the last minute as a trace), `bots` (the demo's clients),
`lesson_processes` (runs the lessons) and `site` (the addresses below /inspect).
"""
