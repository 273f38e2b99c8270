"""The README's links into the code lead where they say, and its table of options is made from their declarations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from options_table import options_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

# Where each link with a line number must lead: a part of that line.
TARGETS = {
    "`threading.Thread(target=client.write_pump, name=...)`": "threading.Thread(target=client.write_pump",
    "`Channel()`": "class Channel(",
    "`ch.send(x)`": "def send(",
    "`ch.send_nowait(x)`": "def send_nowait(",
    "`ch.receive()`": "def receive(",
    "`Closed`": "class Closed(",
    "`for x in ch`": "def __iter__(",
    "`ch.close()`": "def close(",
    "`len(ch)`": "def __len__(",
    "`channel, item = select(a, b)`": "def select(",
    "`ch.receive(timeout=seconds)`": "def receive(",
    "`client.send.receive_pending()`": "self.send.receive_pending(",
    "`RunQueue(turns)`": "class RunQueue",
    "`hub.run_queue.gosched()`": "self.run_queue.gosched()",
    "`try: ... finally:`": "finally:",
    "the request's thread runs `read_pump`": "client.read_pump()",
    "a non-blocking socket and poll() with a deadline": "def _wait(",
}

LINKS = re.findall(r"\[([^]]+)\]\(([^)#:]+)(?:#L(\d+))?\)", README)


@pytest.mark.parametrize(("text", "path", "line"), LINKS)
def test_each_link_leads_where_it_says(text: str, path: str, line: str) -> None:
    assert (ROOT / path).exists()
    if line:
        lines = (ROOT / path).read_text().splitlines()
        wanted = [number for number, content in enumerate(lines, 1) if TARGETS[text] in content]
        assert int(line) in wanted, f"{text} should link to {path}#L{wanted}"


def test_every_target_is_linked_to() -> None:
    assert set(TARGETS) == {text for text, _, line in LINKS if line}


def test_the_table_of_options_is_made_from_their_declarations() -> None:
    assert options_table() in README, "paste what `python tests/options_table.py` prints"


def test_the_configuration_for_nginx_is_the_one_that_is_tested() -> None:
    (shown,) = re.findall(r"```nginx\n(.*?)```", README, re.DOTALL)
    assert shown
    assert (ROOT / "tests/examples/nginx.conf").read_text().endswith(shown)
