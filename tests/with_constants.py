"""threadchat with other constants, for tests that cannot wait: `with_constants.py MODULE:NAME=VALUE ... serve ...`"""

from __future__ import annotations

import importlib
import json
import sys

from threadchat.__main__ import main

while ":" in sys.argv[1]:
    place, _, value = sys.argv.pop(1).partition("=")
    module, _, name = place.partition(":")
    assert hasattr(importlib.import_module(module), name), place
    setattr(importlib.import_module(module), name, json.loads(value))
main()
