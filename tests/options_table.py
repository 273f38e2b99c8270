"""The table of the options in tests/examples/README.md, made from their declarations: run this to print it."""

from __future__ import annotations

from threadchat.options import ALL_OPTIONS


def options_table() -> str:
    """The table in Markdown."""
    rows = ["| option | default | |", "| --- | --- | --- |"]
    for option in ALL_OPTIONS:
        repeatable = "; may be given more than once" if option.repeatable else ""
        rows.append(f"| `{option.flag}` | {option.default_text(option.default)} | {option.help}{repeatable} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(options_table(), end="")
