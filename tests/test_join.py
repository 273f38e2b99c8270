"""`threadchat join` as people run it: through pipes and in a terminal (tmux), with a real server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, THREADCHAT, Process, Running, Scripted, Serve, Tmux, go, until, websocket
from test_chat import Person

from threadchat.terminal import backoff

JOIN = [*THREADCHAT, "join"]
WITHOUT_EXTRA = (
    "import sys; sys.modules['prompt_toolkit'] = None; sys.argv[0] = 'threadchat'; "
    "from threadchat.__main__ import main; sys.exit(main())"
)


@pytest.fixture
def server(serve: Serve) -> Running:
    """A server of the test's own: a room remembers people, and has threads, for some time after they have left."""
    return serve()


def joined(url: str, *arguments: str, say: str | bytes = "") -> tuple[int, str, str]:
    """The exit status, output and errors of `threadchat join` with this input."""
    given = say.encode() if isinstance(say, str) else say
    done = subprocess.run([*JOIN, url, *arguments], input=given, capture_output=True, timeout=LIMIT, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Piped(Process):
    """`threadchat join` with a pipe into which the test writes lines."""

    def __init__(self, folder: Path, url: str, *arguments: str) -> None:
        folder.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen([*JOIN, url, *arguments], stdin=subprocess.PIPE, stdout=out, stderr=err)
        self.pid = self.process.pid

    def says(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def prints(self, *lines: str) -> None:
        until(lambda: self.out.splitlines() == list(lines), lambda: f"the lines {lines}, not {self.out} {self.err}")

    def leaves(self) -> int:
        """End its input; returns the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


# Through a pipe


def test_a_line_is_delivered_before_it_ends(server: Running) -> None:
    with websocket(server.ws_url) as other:
        assert joined(server.url, "--name", "Ann", say="done\n") == (0, "Ann: done\n", "")
        assert other.recv(LIMIT) == "Ann: done"


def test_each_line_is_a_message_whatever_is_in_it(server: Running) -> None:
    said = "/quit\n\n   \n\x1b[31mred\r\nÜml\xffäute\nwithout an end".encode("latin-1").replace(b"\xdc", "Ü".encode())
    status, out, err = joined(server.url, "--name", "Ann", say=said)
    assert (status, err) == (0, "")
    assert out == "Ann: /quit\nAnn: red\nAnn: Üml\ufffd\ufffdute\nAnn: without an end\n"


def test_what_was_said_before_is_left_out_and_a_message_of_several_lines_is_one(server: Running) -> None:
    assert joined(server.url, say="long ago\n")[0] == 0
    server.app.rooms.lobby.say(_message("one\ntwo"))
    assert joined(server.url, "--name", "Ann", say="now\n") == (0, "Ann: now\n", "")


def _message(text: str) -> Any:
    from threadchat.messages import message

    return message(text, "other", "Bob")


def test_without_input_it_joins_and_leaves(server: Running) -> None:
    assert joined(server.url) == (0, "", "")


def test_the_room_may_be_in_the_address_or_an_option(server: Running, tmp_path: Path) -> None:
    with Piped(tmp_path / "ann", f"{server.url}r/Küche", "--name", "Ann") as ann:
        ann.says("here")
        ann.prints("Ann: here")
        assert joined(server.url, "--room", "küche", "--name", "Bob", say="here too\n")[0] == 0
        assert joined(server.url, "--name", "Cid", say="elsewhere\n")[0] == 0
        ann.says("all of us?")
        ann.prints("Ann: here", "Bob: here too", "Ann: all of us?")
        assert ann.leaves() == 0


def test_what_is_too_long_is_named_and_costs_the_status(server: Running) -> None:
    status, out, err = joined(server.url, "--name", "Ann", say=f"{'x' * 513}\nshort\n{'y' * 70_000}\n")
    assert (status, out) == (1, "Ann: short\n")
    assert err.count("Not sent") >= 2
    assert "at most 512 bytes, and this one has 513" in err


def test_a_server_that_cannot_be_reached_is_named() -> None:
    assert joined("127.0.0.1:1", say="x\n") == (
        1,
        "",
        "threadchat join: cannot reach http://127.0.0.1:1/: Connection refused\n",
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ftp://host/"], "begins with http"),
        (["http://host/", "--key", "a b"], "a key has no spaces"),
        (["http://host/", "--key", "a\r\nX: y"], "a key has no spaces"),
        (["http://host/#key=%00"], "a key has no spaces"),
        (["http://host/", "--colour"], "there is no option --colour"),
    ],
)
def test_a_mistake_costs_a_sentence_and_status_2(arguments: list[str], why: str) -> None:
    status, out, err = joined(*arguments)
    assert (status, out) == (2, "")
    assert why in err
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize("arguments", [["--key", "s3-cret"], []])
def test_the_key_is_shown_to_the_server(arguments: list[str]) -> None:
    with Scripted() as server:
        url = server.url if arguments else f"{server.url}#key=s3-cret"
        running = go(joined, url, *arguments)
        seat = server.join()
        assert seat.headers["authorization"] == "Bearer s3-cret"
        assert seat.goodbye() == 1000
        assert running.result(LIMIT) == (0, "", "")


def test_without_the_right_key_it_says_how_to_give_one() -> None:
    with Scripted() as server:
        running = go(joined, server.url)
        server.refuse(401)
        status, _, err = running.result(LIMIT)
        assert status == 1
        assert "--key" in err


def test_the_next_line_is_read_only_when_the_one_before_was_delivered(tmp_path: Path) -> None:
    with Scripted() as server, Piped(tmp_path / "ann", server.url) as ann:
        seat = server.join()
        ann.says("one", "two", "three")
        for number, text in enumerate(("one", "two", "three"), 1):
            said = seat.hear()
            assert (said["n"], said["text"]) == (number, text)
            assert ann.out.count("\n") == number - 1
            seat.echo(number, said)
            ann.prints(*(f"Ann: {said}" for said in ("one", "two", "three")[:number]))
        leaving = go(ann.leaves)
        assert seat.goodbye() == 1000
        assert leaving.result(LIMIT) == 0


def test_what_may_be_lost_is_named_and_costs_the_status(tmp_path: Path) -> None:
    with Scripted() as server, Piped(tmp_path / "ann", server.url) as ann:
        seat = server.join()
        ann.says("one")
        seat.hear()
        seat.cut()
        seat = server.join(last=None)
        seat.say({"type": "gap"})
        until(lambda: "Some messages are missing here" in ann.err, "the gap")
        leaving = go(ann.leaves)
        assert seat.goodbye() == 1000
        assert leaving.result(LIMIT) == 1
    assert "Nobody knows whether this was delivered: one" in ann.err


def test_when_nobody_reads_its_output_it_ends_as_other_programs_do(server: Running) -> None:
    command = f"yes | {' '.join(JOIN)} {server.url} | head -n 3 >/dev/null; echo ${{PIPESTATUS[1]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.stdout, done.stderr) == ("141\n", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_without_a_traceback(
    server: Running, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with Piped(tmp_path / "ann", server.url, "--name", "Ann") as ann:
        ann.says("here")
        ann.prints("Ann: here")
        assert ann.end(number) == status
        assert ann.err == ""


# A server that ends and starts again, and connections that are cut


def test_a_pipe_goes_on_when_the_server_has_been_started_again(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    with Piped(tmp_path / "ann", first.url, "--name", "Ann") as ann:
        ann.says("one")
        ann.prints("Ann: one")
        first.stop()
        # A line that is sent before that would be one of which nobody knows whether it was delivered.
        until(lambda: "The connection is lost." in ann.err, "a word that the connection is lost")
        ann.says("two")
        second = serve(port=first.port)
        ann.prints("Ann: one", "Ann: two")
        assert joined(second.url, "--name", "Bob", say="three\n")[0] == 0
        ann.prints("Ann: one", "Ann: two", "Bob: three")
        assert ann.leaves() == 0
        assert ann.err.splitlines() == [
            "threadchat join: The connection is lost. Trying again.",
            "threadchat join: Some messages are missing here: the server does not have them any more.",
        ]


def test_nothing_is_missed_and_nothing_said_twice_while_connections_are_cut(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_DELAY", 0.01)
    people = [Person(server.url, name) for name in ("Ann", "Bob", "Cid")]
    for person in people:
        person.is_connected()
        person.types("first")  # from now on the server knows the last number of the session
    hear(people, 3)
    lines = 40
    for person in people:
        person.types(*(f"{person.view.states[-1][0]} {number}" for number in range(lines)))
    cuts = 0
    while any(len(person.view.said) < 3 * lines + 3 for person in people):
        heard = min(len(person.view.said) for person in people)
        for client in server.clients:
            client.connection.abort()
            cuts += 1
        hear(people, min(heard + 6, 3 * lines + 3))
    for person in people:
        assert person.view.texts == people[0].view.texts
        assert sorted(person.view.texts[3:]) == sorted(f"{n} {k}" for n in ("Ann", "Bob", "Cid") for k in range(lines))
        assert person.view.troubles == []
    assert cuts >= 10
    for person in people:
        person.types("/quit")
        person.running.result(LIMIT)
        assert not person.chat.failed


def hear(people: list[Person], least: int) -> None:
    until(lambda: min(len(person.view.said) for person in people) >= least, f"{least} messages for each")


# In a terminal


Show = Callable[..., Tmux]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Show]:
    """Runs `threadchat join` with these arguments in a terminal."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is missing")
    with ExitStack() as stack:

        def show(*arguments: str, command: list[str] = JOIN, no_color: str = "") -> Tmux:
            tmux = Tmux(tmp_path, [*command, *arguments], NO_COLOR=no_color)
            stack.callback(tmux.close)
            return tmux

        yield show


def test_in_a_terminal_people_talk_above_a_prompt(server: Running, terminal: Show, tmp_path: Path) -> None:
    assert joined(server.url, "--name", "Bob", say="long ago\n")[0] == 0
    ann = terminal(server.url, "--name", "Ann")
    ann.shows(r"^\d\d:\d\d Bob: long ago$")
    ann.shows(r"^You are Ann; \d here: ")
    ann.shows(r"^Ann> *$")
    with Piped(tmp_path / "cid", server.url, "--name", "Cid") as cid:
        ann.shows("^Cid joined$")
        ann.presses("hello c", "Tab", "how are you?", "Enter")
        ann.shows(r"^\d\d:\d\d Ann: hello Cid how are you\?$")
        cid.prints("Ann: hello Cid how are you?")
        cid.says("\x1b]0;owned\x07fine, \x1b[2Jann")
        ann.shows(r"^\d\d:\d\d Cid: fine, ann$")
        ann.presses("/wh", "Tab", "Enter")
        ann.shows(r"^\d here: .*Ann.*Cid|^\d here: .*Cid.*Ann")
        ann.presses("/name Änne", "Enter")
        ann.shows(r"^Änne> *$")
        ann.presses("/help", "Enter")
        ann.shows("Tab completes names")
        ann.presses("Up", "Up", "Up", "Up", "Enter")
        cid.prints("Ann: hello Cid how are you?", "Cid: fine, ann", "Änne: hello Cid how are you?")
        assert cid.leaves() == 0
    ann.presses("/quit", "Enter")
    assert ann.status == 0


def test_a_name_has_its_colour_and_a_mention_rings_the_bell(server: Running, terminal: Show) -> None:
    ann = terminal(server.url, "--name", "Ann")
    ann.shows("^You are Ann")
    assert ann.tmux("display-message", "-p", "#{window_bell_flag}") == "0\n"
    ann.tmux("set-option", "-g", "monitor-bell", "on")
    ann.tmux("new-window", "-d")
    assert joined(server.url, "--name", "Bob", say="nobody\n")[0] == 0
    ann.shows(r"\x1b\[38;5;\d+mBob\x1b\[.*: nobody", "-e")
    ann.tmux("select-window", "-t", ":1")
    assert joined(server.url, "--name", "Bob", say="hello @Ann\n")[0] == 0
    until(lambda: ann.tmux("display-message", "-p", "-t", ":0", "#{window_bell_flag}") == "1\n", "the bell")
    ann.tmux("select-window", "-t", ":0")
    ann.presses("C-d")
    assert ann.status == 0


def test_without_colours_there_are_none(server: Running, terminal: Show) -> None:
    ann = terminal(server.url, "--name", "Ann", no_color="1")
    ann.shows("^You are Ann")
    ann.presses("hello", "Enter")
    ann.shows(r"^\d\d:\d\d Ann: hello$")
    assert "\x1b[38" not in ann.screen("-e")
    ann.presses("C-c")
    assert ann.status == 0


def test_a_terminal_goes_on_when_the_server_has_been_started_again(serve: Serve, terminal: Show) -> None:
    first = serve()
    ann = terminal(first.url, "--name", "Ann")
    ann.shows("^You are Ann")
    ann.presses("one", "Enter")
    ann.shows("Ann: one$")
    ann.presses("half a li")
    first.stop()
    ann.shows(r"^Ann \(not connected\)> half a li$")
    ann.presses("ne", "Enter")
    ann.shows(r"^Ann \(not connected, 1 message on the way\)> *$")
    serve(port=first.port)
    screen = ann.shows("Ann: half a line$")
    assert "! Some messages are missing here" in screen
    ann.shows(r"^Ann> *$")
    assert screen.count("Ann: one") == 1
    ann.presses("/quit", "Enter")
    assert ann.status == 0


def test_a_terminal_whose_connection_was_cut_goes_on_as_if_nothing_had_happened(
    server: Running, terminal: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = terminal(server.url, "--name", "Ann")
    ann.shows("^You are Ann")
    ann.presses("one", "Enter")
    ann.shows("Ann: one$")
    before = ann.screen().rstrip()
    let_in, respond = threading.Event(), server.app._respond
    monkeypatch.setattr(server.app, "_respond", lambda request: let_in.wait(LIMIT) and respond(request))
    for client in server.clients:
        client.connection.abort()
    ann.shows("not connected")
    server.app.rooms.lobby.say(_message("missed"))
    let_in.set()
    ann.shows(r"^Ann> *$")
    after = ann.shows("Bob: missed$")
    assert after.startswith(before.removesuffix("Ann>"))
    assert after.count("missed") == 1
    assert "!" not in after
    ann.presses("/quit", "Enter")
    assert ann.status == 0


def test_somebody_who_is_put_out_gets_the_terminal_back(terminal: Show) -> None:
    with Scripted() as server:
        ann = terminal(server.url)
        server.join().end(4001, "spam")
        assert ann.status == 1
        ann.shows("^threadchat join: You were put out of the room: spam$")
        ann.presses("echoed")
        ann.shows("echoed$")


def test_a_signal_gives_the_terminal_back(server: Running, terminal: Show) -> None:
    ann = terminal(server.url, "--name", "Ann")
    ann.shows("^You are Ann")
    shell = ann.tmux("display-message", "-p", "#{pane_pid}").strip()
    command = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    os.kill(int(command[0]), signal.SIGTERM)
    assert ann.status == 143
    assert "Traceback" not in ann.screen()
    ann.presses("echoed")
    ann.shows("echoed$")


def test_a_server_that_cannot_be_reached_is_named_in_a_terminal_too(terminal: Show) -> None:
    ann = terminal("127.0.0.1:1")
    assert ann.status == 1
    ann.shows("^threadchat join: cannot reach http://127.0.0.1:1/: Connection refused$")


def test_without_the_extra_a_terminal_is_told_what_to_install(server: Running, terminal: Show) -> None:
    ann = terminal("join", server.url, command=[sys.executable, "-W", "error", "-c", WITHOUT_EXTRA])
    assert ann.status == 2
    ann.shows("this needs prompt_toolkit")
    assert "pip install 'threadchat[terminal]'" in ann.screen("-J")


def test_without_the_extra_a_pipe_works(server: Running) -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_EXTRA, "join", server.url, "--name", "Ann"]
    done = subprocess.run(command, input="done\n", capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Ann: done\n", "")
