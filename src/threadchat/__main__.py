"""`python -m threadchat` is `threadchat`."""

import sys

from threadchat.cli import main

sys.exit(main())
