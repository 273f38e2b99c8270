"""The option --store, in processes of their own: what was accepted stays, whatever ends the process."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import LIMIT, THREADCHAT, V1, Process, RedisServer, go, until
from websockets.exceptions import ConnectionClosed

ROUNDS = 3


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What --store is given, for each engine that outlives the process."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'chat.db'}"
    redis: RedisServer = request.getfixturevalue("redis_server")
    return redis.url


def start(stack: ExitStack, folder: Path, store: str, *options: str) -> Process:
    command = [*THREADCHAT, "serve", "--port", "0", "--store", store, "--message-rate", "0"]
    return stack.enter_context(Process(folder, [*command, *options]))


def talk(writer: V1, first: int, said: list[int]) -> None:
    """Say one number after the other, each when the one before has come back, until the connection ends."""
    number = first
    try:
        while True:
            writer.say(str(number), n=number)
            writer.until(type="msg", n=number)
            said.append(number)
            number += 1
    except ConnectionClosed:
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_promise_12_what_anybody_has_seen_is_there_after_the_process_was_ended(
    tmp_path: Path, store: str, number: signal.Signals
) -> None:
    said: list[int] = []
    seen: dict[int, str] = {}
    session, reader_session, token = "a" * 24, "b" * 24, None
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            server = start(stack, tmp_path, store)
            writer = stack.enter_context(V1(server.port, name="Ann", session=session))
            reader = stack.enter_context(V1(server.port, name="Bob", session=reader_session, since=token))
            assert reader.hello["recovered"] is (token is not None)
            last = writer.hello["last"] or 0
            assert last >= len(said), "everything that has come back was taken"
            talking = go(talk, writer, last + 1, said)
            at_least = len(said) + 20
            until(lambda at_least=at_least: len(said) >= at_least)  # type: ignore[misc]
            server.process.send_signal(number)
            try:
                while True:
                    line = reader.receive()
                    assert line["id"] not in seen, "nothing twice"
                    seen[line["id"]], token = json.dumps(line), line["token"]
            except ConnectionClosed:
                pass
            talking.result(LIMIT)
            server.process.wait(LIMIT)
    with ExitStack() as stack:
        server = start(stack, tmp_path, store)
        with V1(server.port, name="Bob", session=reader_session, since=token) as reader:
            assert reader.hello["recovered"]
            while max(seen, default=0) < reader.hello["top"]:
                line = reader.receive()
                seen[line["id"]] = json.dumps(line)
        assert sorted(seen) == list(range(min(seen), max(seen) + 1)), "nothing was missed"
        lines = [json.loads(line) for line in seen.values()]
        numbers = [line["n"] for line in lines if line["type"] == "msg"]
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), "each was taken once"
        assert len(numbers) >= len(said)


def test_a_key_that_was_made_stays_the_same(tmp_path: Path, store: str) -> None:
    printed = []
    for _ in range(2):
        with ExitStack() as stack:
            server = start(stack, tmp_path, store, "--key", "--moderator-key")
            assert server.port
            printed.append([line.partition("#key=")[2] for line in server.out.splitlines() if "#key=" in line])
            assert server.end() == 0
    assert printed[0] == printed[1]
    assert all(printed[0])


def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    with ExitStack() as stack:
        file = tmp_path / "chat.db"
        assert start(stack, tmp_path, f"sqlite:{file}").port
        (tmp_path / "second").mkdir()
        second = stack.enter_context(
            Process(tmp_path / "second", [*THREADCHAT, "serve", "--port", "0", "--store", f"sqlite:{file}"])
        )
        assert second.process.wait(LIMIT) == 2
        assert second.err == (
            f"threadchat serve: {file} is in use by another process: each process needs a file of its own\n"
        )
