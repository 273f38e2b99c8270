"""The program: `threadchat`, or `python -m threadchat`."""

import sys

from threadchat.runtime.system import start_with_one_heap, was_started_plainly


def main() -> int:
    """Run the command in sys.argv. Returns the exit status."""
    if was_started_plainly(sys.orig_argv, sys.argv[0]):
        start_with_one_heap()
    from threadchat import cli  # not before: this import takes ten times as long as everything before it

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
