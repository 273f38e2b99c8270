"""The program: `threadchat`, or `python -m threadchat`."""

import sys

from threadchat.runtime.hold import held, hold, ignore


def main() -> int:
    """Run the command in sys.argv. Returns the exit status."""
    hold()  # first: a stop signal that comes from now on waits until the command is ready for it
    try:
        return _run()
    except KeyboardInterrupt:  # where signals cannot be held
        from threadchat.runtime.signals import INTERRUPTED

        return INTERRUPTED
    finally:
        ignore()


def _run() -> int:
    from threadchat.runtime import system

    try:
        system.give_main_thread_room()
    except system.TooSmall as error:
        print(f"threadchat: {error}", file=sys.stderr)
        return 2
    if system.was_started_plainly(sys.orig_argv, sys.argv[0]):
        system.start_with_one_heap()
    from threadchat import cli  # not before: this import takes ten times as long as everything before it
    from threadchat.runtime.signals import status_before_start

    if number := held():
        return status_before_start(number)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
