"""The figures of several processes, whichever is asked. The processes are stood in for by objects in this one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import go

from threadchat.runtime.sibling import Place
from threadchat.web import together as module
from threadchat.web.together import Together

core = pytest.importorskip("prometheus_client.metrics_core", reason="prometheus-client is missing")


class Figures:
    """A process that has said so many messages."""

    def __init__(self, messages: int) -> None:
        self.messages = messages

    def collect(self) -> Iterator[Any]:
        messages = core.CounterMetricFamily("messages", "All that was said.", labels=["kind"])
        messages.add_metric(["plain"], self.messages)
        yield messages


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def place(folder: Path, number: int) -> Place:
    return Place(number, 3, "127.0.0.1", 80, str(folder), -1, -1)


def process(folder: Path, number: int, messages: int, stack: ExitStack) -> Together:
    made = Together(place(folder, number), Figures(messages))
    stack.callback(made.stop)
    return made


def samples(together: Together) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels["process"]): sample.value
        for family in together.collect()
        for sample in family.samples
    }


def test_whichever_is_asked_tells_the_figures_of_all_with_their_numbers(tmp_path: Path, stack: ExitStack) -> None:
    processes = [process(tmp_path, number, 10 * number, stack) for number in (1, 2, 3)]
    for each in processes:
        told = samples(each)
        assert {told["messages_total", str(number)] for number in (1, 2, 3)} == {10, 20, 30}
        assert [told["threadchat_process_up", str(number)] for number in (1, 2, 3)] == [1, 1, 1]
    (family,) = [family for family in processes[0].collect() if family.name == "messages"]
    assert (family.type, family.documentation) == ("counter", "All that was said.")
    assert family.samples[0].labels == {"process": "1", "kind": "plain"}


def test_one_that_is_not_there_or_says_nothing_is_left_out(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_WAIT", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place(tmp_path, 2).figures(2)))
        silent.listen()
        told = samples(process(tmp_path, 1, 10, stack))
    assert told == {
        ("messages_total", "1"): 10,
        ("threadchat_process_up", "1"): 1,
        ("threadchat_process_up", "2"): 0,
        ("threadchat_process_up", "3"): 0,
    }


@pytest.mark.parametrize("answer", [b"", b'[["mess', b"garbage"])
def test_an_answer_that_breaks_off_is_none(tmp_path: Path, stack: ExitStack, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as breaking:
        breaking.bind(str(place(tmp_path, 2).figures(2)))
        breaking.listen()

        def break_off() -> None:
            asking, _ = breaking.accept()
            with asking:
                asking.sendall(answer)

        answering = go(break_off)
        assert samples(process(tmp_path, 1, 10, stack))["threadchat_process_up", "2"] == 0
        answering.result()


def test_one_that_replaces_another_answers_in_its_place(tmp_path: Path, stack: ExitStack) -> None:
    first = process(tmp_path, 1, 10, stack)
    process(tmp_path, 2, 20, stack).stop()
    process(tmp_path, 2, 5, stack)
    assert samples(first)["messages_total", "2"] == 5
