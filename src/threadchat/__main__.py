"""The program: `threadchat`, or `python -m threadchat`."""

import sys

from threadchat.runtime.system import start_with_one_heap


def main() -> int:
    """Run the command that sys.argv has; returns the exit status."""
    start_with_one_heap()
    from threadchat import cli  # not before: it takes ten times as long as all that was imported until then

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
