"""A learner's hub in the real server (--hub): it serves, its faults are told with the line, a save makes a new one."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import CLOSE, TEXT, V1, Inspected, Look, Peer, go, until

from threadchat.exercises.cards import read_cards
from threadchat.inspector import own_faults, own_hub
from threadchat.inspector.notes import Watch
from threadchat.inspector.own_file import MODULE, NotAHub
from threadchat.inspector.own_hub import LearnersHub
from threadchat.inspector.watch import WatchedHub
from threadchat.runtime.runqueue import RUN_QUEUE

CARDS = {card.name: card for card in read_cards()}
ABOUT = {wrong.name: wrong.text for card in CARDS.values() for wrong in card.wrong if wrong.text}
HUB = CARDS["stop"].solution


def wrong(card: str, name: str) -> str:
    """The code of a known mistake."""
    return next(each.code for each in CARDS[card].wrong if each.name == name)


def changed(before: str, after: str, code: str = HUB) -> str:
    """The hub with a change."""
    assert code.count(before) == 1
    return code.replace(before, after)


def number_of(code: str, line: str) -> int:
    """The number of the first line with this text."""
    return next(number for number, each in enumerate(code.splitlines(), 1) if line in each)


# It finds no room for anybody, and tells itself.
SENDS_TO_ITSELF = changed(
    "self.part_with(client)\n                case",
    "self.unregister.send(client)\n                case",
    changed("Send(client.send, value), default=True", "default=True"),
)


class Own:
    """A server whose lobby runs on a learner's file."""

    def __init__(self, folder: Path, code: str, start: Callable[..., Inspected], **how: Any) -> None:
        self._file = folder / "mine.py"
        self._file.write_text(code)
        self.server = start(make_hub=self._make_hub, **how)
        self.port = self.server.port

    def _make_hub(self, watch: Watch) -> WatchedHub:
        return LearnersHub(watch, self._file, ABOUT)

    @property
    def hub(self) -> LearnersHub:
        hub = self.server.hub
        assert isinstance(hub, LearnersHub)
        return hub

    def facts(self) -> dict[str, Any]:
        """What a picture says of the hub."""
        return self.hub.facts(sys._current_frames())

    def fault(self, kind: str, mistake: str | None = None) -> dict[str, Any]:
        """The fault of this kind, and with this mistake if one is given; waits for it."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                fault
                for fault in self.facts()["faults"]
                if fault["kind"] == kind and mistake in (None, fault["mistake"])
            ]
            return bool(found)

        until(look, f"a fault of kind {kind}")
        return found[0]

    def write(self, code: str) -> None:
        """Save the file, in one step."""
        new = self._file.with_suffix(".new")
        new.write_text(code)
        new.replace(self._file)

    def save(self, code: str) -> None:
        """Save the file, and wait for the new hub."""
        before = self.hub.version
        self.write(code)
        until(lambda: self.hub.version is not before and self.hub.version.thread.is_alive(), "the new hub")


Make = Callable[..., Own]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, inspect: Callable[..., Inspected], tmp_path: Path) -> Make:
    """`own(code, **options)` starts a server that is quick to look and to judge."""
    for module, name, seconds in (
        (own_hub, "LOOK_EVERY", 0.01),
        (own_hub, "STOP_WAIT", 2.0),  # those that stop must have time to, on a machine with much else to do
        (own_hub, "LAST_WAIT", 0.2),
        (own_faults, "SOON", 0.05),
        (own_faults, "LONG", 0.1),
        (own_faults, "SPINS", 0.2),
        (own_faults, "SETTLED", 0.05),
    ):
        monkeypatch.setattr(module, name, seconds)
    return lambda code, **how: Own(tmp_path, code, inspect, **how)


@contextmanager
def peers(port: int, count: int) -> Iterator[list[Peer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Peer(port)) for _ in range(count)]


def block(mine: Own, look: Look) -> None:
    """Let the write pump of client 1 wait for its peer, which does not read."""
    mine.hub.broadcast.send("x" * 1_000_000)
    look.until(lambda picture: picture["clients"] and picture["clients"][0]["away"], "the client being stuck")


# It serves


@pytest.mark.parametrize("name", ["hub", "full", "pumps", "stop"])
def test_the_solution_of_each_exercise_with_a_hub_serves_the_real_server(own: Make, name: str) -> None:
    mine = own(CARDS[name].solution)
    with peers(mine.port, 3) as (ann, bob, carl):
        for peer in (ann, bob):
            peer.send(TEXT, "hello")
            assert ann.lines(1) == bob.lines(1) == carl.lines(1) == ["hello"]
        carl.leave()
        assert carl.goodbye()[0] == 1000
        until(lambda: len(mine.server.clients) == 2, "the departure")
        ann.talk("goodbye")
        assert bob.lines(1) == ["goodbye"]
        assert mine.hub.version.thread.name == "hub"
        passed = mine.facts()
    assert (passed["faults"], passed["problem"], passed["version"]) == ([], "", 1)


def test_clients_of_threadchat_v1_get_numbered_entries_once(own: Make) -> None:
    mine = own(HUB)
    with V1(mine.port, name="Ann") as ann, V1(mine.port, name="Bob") as bob:
        ann.say("one", n=1)
        ann.say("one", n=1)  # sent again: the log refuses it, and the hub does not see it
        first = bob.until(type="msg")
        bob.say("two", n=1)
        second = bob.until(type="msg")
        assert (first["text"], second["text"]) == ("one", "two")
        assert first["id"] < second["id"]
        assert ann.texts(2) == ["one", "two"]
        token = bob.hello["token"]
    with V1(mine.port, name="Bob", session=bob.session, since=token) as bob:
        assert bob.hello["recovered"]
        assert bob.texts(2) == ["one", "two"]


def test_a_hub_may_send_something_else_in_place_of_a_message(own: Make) -> None:
    mine = own(changed("Send(client.send, value)", "Send(client.send, value.upper())"))
    with Peer(mine.port) as plain, V1(mine.port, name="Ann") as ann:
        ann.say("hello", n=1)
        assert plain.lines(1) == ["ANN: HELLO"]
        line = ann.until(type="msg")
        assert line["text"] == "ANN: HELLO"
        with V1(mine.port, session=ann.session, since=line["token"]) as again:
            assert again.hello["recovered"]  # the token is that of the entry in the log
    assert mine.facts()["faults"] == []


def test_a_hub_may_send_each_client_something_else(own: Make) -> None:
    mine = own(changed("Send(client.send, value)", "Send(client.send, f'{client.number}: {value}')"))
    with V1(mine.port, name="Ann") as ann, V1(mine.port, name="Bob") as bob:
        until(lambda: len(known(mine)) == 2, "both registrations")  # who comes later reads it from the log
        ann.say("hello", n=1)
        assert [each.until(type="msg")["text"] for each in (ann, bob)] == ["1: Ann: hello", "2: Ann: hello"]


def known(mine: Own) -> list[Any]:
    """The clients that the hub has taken from `register`."""
    return [client for client in mine.hub.clients if client.send.since is not None]  # type: ignore[attr-defined]


def test_a_hub_may_take_and_send_all_that_is_pending_at_once(own: Make) -> None:
    mine = own(
        changed(
            "case, _ = select(Send(client.send, value), default=True)",
            "case = not client.send.send_what_fits([value, *self.broadcast.take_pending()]) or None",
            changed("self.broadcast: Channel[str] = Channel()", "self.broadcast: Channel[str] = Channel(9)"),
        )
    )
    with Peer(mine.port) as ann:
        for line in ("one", "two", "three"):
            ann.send(TEXT, line)
        heard: list[str] = []
        while len(heard) < 3:
            heard += ann.receive().payload.decode().split("\n")
        assert heard == ["one", "two", "three"]
        until(lambda: not mine.hub.version.traffic.passing, "the verdict")
    assert mine.facts()["faults"] == []


def test_what_a_client_is_sent_must_be_a_string(own: Make) -> None:
    mine = own(changed("Send(client.send, value)", "Send(client.send, 5)"))
    with Peer(mine.port) as ann:
        ann.send(TEXT, "hello")
        assert "TypeError: a client's `send` takes strings, not 5 at line " in mine.fault("raised")["sentences"][0]


def test_a_thread_of_the_learners_may_speak_too(own: Make) -> None:
    head = "    def run(self) -> None:\n"
    tick = "        SAY.wait()\n        self.broadcast.send('tick')\n        END.wait()\n"
    events = "import threading\nSAY, END = threading.Event(), threading.Event()\n\n\nclass Hub:"
    clock = changed(head, f"    def tick(self):\n{tick}\n{head}        go(self.tick, 'clock')\n")
    mine = own(changed("class Hub:", events, clock))
    module = sys.modules[MODULE]
    try:
        with Peer(mine.port) as ann:
            module.SAY.set()
            assert ann.lines(1) == ["tick"]
            until(lambda: mine.facts()["threads"][0]["code"] == "END.wait()", "the thread's line")
            (other,) = mine.facts()["threads"]
            assert (other["name"], other["abandoned"]) == ("clock", False)
    finally:
        module.SAY.set()
        module.END.set()
    assert [entry.text for entry in mine.server.app.rooms.lobby.log.read(0, 9) or ()] == ["tick"]


def test_the_inspector_shows_the_hubs_thread_its_line_its_channels_and_its_source(own: Make) -> None:
    mine = own(HUB)
    line = number_of(HUB, "channel, value = select(")
    with Peer(mine.port) as ann, mine.server.look() as look:
        ann.talk("hello")
        picture = look.until(lambda picture: rests(picture) and picture["hub"]["messages"], "the message")
    thread = picture["hub"]["thread"]
    assert (thread["file"], thread["line"], thread["function"]) == ("mine.py", line, "Hub.run")
    assert (picture["hub"]["messages"], picture["hub"]["clients"]) == (1, 1)
    assert [picture["channels"][name]["capacity"] for name in ("register", "unregister", "broadcast")] == [0, 0, 0]
    assert picture["own"]["channels"] == [{"name": "done", "pending": 0, "capacity": 1, "closed": False}]
    source = mine.server.get("/source?file=mine.py&function=Hub.run")
    assert "select(self.register" in source["lines"][line - source["first_line"]]
    assert "for" in source["go"]
    assert "hub.run" not in mine.server.get("/source?file=mine.py&function=Hub.part_with")["lines"][0]
    assert mine.server.request("GET", "/source?file=mine.py&function=Hub.nothing")[0] == 404


def rests(picture: dict[str, Any]) -> bool:
    """Whether the hub waits for its channels."""
    return bool(picture["hub"]["thread"]["state"] == "selecting")


def test_a_message_can_be_followed_to_the_learners_line(own: Make) -> None:
    mine = own(HUB)
    with Peer(mine.port) as ann:
        ann.talk("follow me")

        def journey() -> dict[str, Any] | None:
            found = [each.as_json() for each in mine.server.watch.journeys.all()]
            return found[0] if found and all(part["written"] for part in found[0]["deliveries"]) else None

        until(lambda: journey() and len(journey()["steps"]) == 5, "the journey's end")  # type: ignore[index]
        steps = {step["step"]: step for step in (journey() or {})["steps"]}
    buffered = steps["buffered"]
    assert (buffered["file"], buffered["line"]) == ("mine.py", number_of(HUB, "Send(client.send, value)"))


def test_the_hub_can_be_held_still(own: Make) -> None:
    mine = own(HUB, demo=False)
    with Peer(mine.port) as ann, mine.server.look() as look:
        mine.hub.gate.close()
        ann.send(TEXT, "hello")
        look.until(lambda picture: picture["hub"]["thread"]["state"] == "paused", "the pause")
        mine.hub.gate.open()
        assert ann.lines(1) == ["hello"]


def test_who_has_no_room_is_evicted_and_told_why(own: Make) -> None:
    mine = own(HUB, send_buffer=3)
    with Peer(mine.port) as ann, mine.server.look() as look:
        block(mine, look)
        for _ in range(4):
            mine.hub.broadcast.send("one more")
        event = look.until_event("evicted")
        assert (event["client"], event["waiting"], event["capacity"]) == (1, 3, 3)
        assert event["cause"] in ("slow", "stopped")
        assert event["reason"] == "1008 evicted: not reading fast enough"
        ann.close()
    until(lambda: not mine.server.clients, "the departure")
    assert mine.facts()["faults"] == []


def test_a_hub_may_evict_a_client_whose_write_pump_has_not_had_its_turn(own: Make) -> None:
    mine = own(HUB, send_buffer=1)
    with Peer(mine.port) as ann, mine.server.look() as look:
        RUN_QUEUE.ready(lambda: None)  # takes the only turn
        try:
            for line in ("one", "two"):
                mine.hub.broadcast.send(line)
            event = look.until_event("evicted")
        finally:
            RUN_QUEUE.next()
        assert event["cause"] == "hasty"
        assert ann.goodbye()[0] == 1008


# What goes wrong


def test_a_hub_that_sends_to_itself_is_told_with_its_line_and_the_rest_stays_usable(own: Make) -> None:
    mine = own(SENDS_TO_ITSELF)
    with Peer(mine.port) as ann, mine.server.look() as look:
        ann.send(TEXT, "hello")
        fault = mine.fault("asleep")
        line = number_of(SENDS_TO_ITSELF, "self.unregister.send(client)")
        assert fault["title"] == "Deadlock"
        assert fault["mistake"] == "sends to itself"
        assert fault["about"] == ABOUT["sends to itself"]
        assert fault["sentences"][:2] == (
            f"The thread hub is at line {line}, `self.unregister.send(client)`: it sends to `unregister`. "
            "In Go: `unregister <- client`.",
            "The only thread that receives from `unregister` is the hub itself: it waits for itself, for ever.",
        )
        assert fault["lines"][line - fault["first_line"]].strip() == "self.unregister.send(client)"
        picture = look.until(lambda picture: picture["own"]["faults"], "the fault")
        assert (picture["hub"]["thread"]["state"], picture["hub"]["thread"]["on"]) == ("sending", "unregister")
        assert look.until_event("hub")["text"] == f"Deadlock, line {line}"
        with Peer(mine.port, "/r/other/ws") as bob:
            bob.talk("the other rooms go on")


def test_what_is_said_of_a_hub_that_sends_to_itself_is_true_of_each_of_its_channels(own: Make) -> None:
    line = "self.part_with(value)\n"
    code = changed(line, f"{line}                    self.broadcast.send('left')\n")
    mine = own(code)
    with Peer(mine.port) as ann:
        ann.leave()
        fault = mine.fault("asleep")
    assert fault["mistake"] == "sends to itself"
    assert fault["sentences"][1].startswith("The only thread that receives from `broadcast` is the hub itself")
    assert "`unregister`" not in fault["about"]


def test_a_hub_that_sends_where_nobody_receives_is_told(own: Make) -> None:
    code = changed("self.part_with(value)\n", "self.part_with(value)\n                    self.gone.send(value)\n")
    code = changed("        self.done:", "        self.gone: Channel[Client] = Channel()\n        self.done:", code)
    mine = own(code)
    with Peer(mine.port) as ann:
        ann.leave()
        fault = mine.fault("asleep")
        assert fault["title"] == "Your hub waits to send"
        assert fault["sentences"][0].endswith("it sends to `gone`. In Go: `gone <- value`.")
        assert fault["sentences"][1].endswith(" s no thread has tried to receive from `gone`.")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a thread has used the processor")
def test_a_hub_that_never_sleeps_is_told_and_one_that_waits_is_not(own: Make) -> None:
    head = "channel, value = select(self.register, self.unregister, self.broadcast, self.done"
    code = changed(f"{head})", f"{head}, default=True)")
    mine = own(code)
    with Peer(mine.port) as ann:
        fault = mine.fault("busy", "polling")  # another fault may come first, on a machine with much else to do
        assert fault["title"] == "Your hub never sleeps"
        assert fault["line"] in range(number_of(code, "while True:"), number_of(code, "inbox.close()"))
        assert fault["sentences"][0].startswith("The thread hub has not slept for ")
        ann.talk("it serves all the same")
        mine.fault("busy", "polling")  # a message now and then is no reason to be awake
        mine.save(changed(f"{head})", f"{head}, timeout=60)"))
    with Peer(mine.port) as bob:
        bob.talk("nothing is wrong with a long timeout")
        judge = mine.hub.version.judge
        until(lambda: judge._awake and time.monotonic() - judge._awake[0] > 2 * own_faults.SPINS, "some looks")
        assert mine.facts()["faults"] == []


@pytest.mark.parametrize(
    ("mistake", "text", "at"),
    [
        ("one channel at a time", "receives from `register`", "self.register.receive()"),
        ("a case too few", "selects: receive from `register`, or receive from `broadcast`", "select("),
    ],
)
def test_a_hub_that_does_not_receive_where_somebody_sends_is_told(own: Make, mistake: str, text: str, at: str) -> None:
    code = wrong("hub", mistake)
    mine = own(code)
    with peers(mine.port, 1) as (ann,):
        if mistake == "a case too few":
            ann.leave()  # its read pump sends to `unregister`
        else:
            ann.send(TEXT, "one")
            ann.send(TEXT, "two")
        fault = mine.fault("asleep")
    name = "unregister" if mistake == "a case too few" else "broadcast"
    assert fault["title"] == f"Your hub does not receive from `{name}`"
    assert fault["mistake"] == mistake
    assert text in fault["sentences"][0]
    assert fault["sentences"][1] == f"1 thread waits to send to `{name}`."
    assert fault["line"] == number_of(code, at)


def test_a_hub_that_waits_for_a_client_is_told(own: Make) -> None:
    mine = own(wrong("full", "a send that waits"), send_buffer=2)
    with Peer(mine.port) as ann, mine.server.look() as look:
        block(mine, look)
        senders = [go(mine.hub.broadcast.send, "more") for _ in range(4)]
        one_waits = "1 thread waits to send to `broadcast`."
        until(lambda: mine.fault("asleep")["sentences"][-1] == one_waits, "the last sender")
        fault = mine.fault("asleep")
        assert fault["title"] == "Your hub waits for client 1"
        assert fault["mistake"] == "a send that waits"
        assert fault["line"] == number_of(wrong("full", "a send that waits"), "client.send.send(message)")
        ann.lines(5)  # it reads again: the hub goes on, and nothing is wrong any more
        until(lambda: not mine.facts()["faults"], "the end of the fault")
    for sender in senders:
        sender.result()


def test_a_hub_that_does_not_come_back_is_told_and_named_when_it_is_left_behind(own: Make) -> None:
    code = changed("    def run(self) -> None:\n", "    def run(self) -> None:\n        FREE.wait()\n").replace(
        "class Hub:", "import threading\nFREE = threading.Event()\n\n\nclass Hub:"
    )
    mine = own(code)
    free = sys.modules[MODULE].FREE
    try:
        joining = go(Peer, mine.port)
        fault = mine.fault("busy")
        line = number_of(code, "FREE.wait()")
        assert fault["sentences"][0].startswith(
            f"The thread hub is at line {line}, `FREE.wait()`, and has not come back"
        )
        mine.save(HUB)
        fault = mine.fault("stop")
        assert fault["title"] == "The hub before this one did not stop"
        (left,) = mine.facts()["threads"]
        assert (left["name"], left["line"], left["abandoned"], left["file"]) == ("hub-1", line, True, "mine.py")
        with Peer(mine.port) as bob:
            bob.talk("the new hub serves")
    finally:
        free.set()
    until(lambda: not mine.facts()["threads"], "the end of the old thread")
    with joining.result() as waited:
        assert waited.status == 503  # the first hub had not taken it


@pytest.mark.parametrize(
    ("code", "says", "mistake", "at"),
    [
        (
            changed("Send(client.send, value)", "Send(client.send, value / 2)"),
            "raised TypeError: unsupported operand type(s) for /",
            "",
            "value / 2",
        ),
        (
            changed("case self.unregister:\n                    self.part_with(value)", "case self.unregister:\n"
                    "                    value.send.close(); value.send.close()"),
            "raised Closed: channel is closed",
            "closes twice",
            "value.send.close();",
        ),
        (wrong("hub", "closes twice").replace("discard(value)", "discard(value)\n                    1 / 0"),
         "raised ZeroDivisionError: division by zero", "", "1 / 0"),
    ],
)  # fmt: skip
def test_a_hub_that_raises_is_told_with_its_line_and_replaced_at_the_next_save(
    own: Make, code: str, says: str, mistake: str, at: str
) -> None:
    mine = own(code)
    with peers(mine.port, 2) as (ann, bob), mine.server.look() as look:
        ann.send(TEXT, "hello")
        ann.send(CLOSE, b"\x03\xe8")
        fault = mine.fault("raised")
        assert says in fault["sentences"][0]
        assert (fault["mistake"], fault["line"]) == (mistake, number_of(code, at))
        thread = look.until(lambda picture: picture["own"]["faults"], "the fault")["hub"]["thread"]
        assert (thread["state"], thread["line"], thread["function"]) == ("gone", fault["line"], "Hub.run")
        bob.send(TEXT, "is anybody there?")
        mine.save(HUB)
        with Peer(mine.port) as carl:
            carl.talk("again")
    assert mine.facts()["faults"] == []


@pytest.mark.parametrize(
    ("mistake", "error"),
    [("changes the set while it walks it", "RuntimeError"), ("evicted but not removed", "Closed")],
)
def test_a_hub_whose_eviction_fails_is_told(own: Make, mistake: str, error: str) -> None:
    mine = own(wrong("full", mistake), send_buffer=1)
    with Peer(mine.port), mine.server.look() as look:
        block(mine, look)
        for _ in range(3):
            go(mine.hub.broadcast.send, "more")
        fault = mine.fault("raised")
    assert (fault["title"], fault["mistake"]) == (f"Your hub raised {error}", mistake)
    assert fault["about"] == ABOUT[mistake]


def test_a_hub_that_does_not_look_whether_it_knows_a_client_is_told(own: Make) -> None:
    mine = own(changed("if client in self.clients:", "if client:"))
    with Peer(mine.port):
        (client,) = mine.server.clients
        for _ in range(2):
            go(client.unregister)
        fault = mine.fault("raised")
    assert "raised KeyError: client 1 at line" in fault["sentences"][0]
    assert fault["mistake"] == "closes twice"


def test_a_hub_that_returns_is_told(own: Make) -> None:
    mine = own(changed("        while True:\n            channel, value", "        for _ in range(1):\n"
                       "            channel, value"))  # fmt: skip
    with Peer(mine.port) as ann:
        assert "`run` has returned, and nobody said stop." in mine.fault("returned")["sentences"][0]
        assert ann.goodbye() == (1001, "the hub has parted with you")


def test_a_hub_that_drops_a_message_is_told_with_who_missed_what(own: Make) -> None:
    case = "\n                        case, _"
    everybody = "for client in list(self.clients)"
    code = changed(f"{everybody}:{case}", f"{everybody} if value != 'psst' else ():{case}")
    mine = own(code)
    with Peer(mine.port) as ann:
        name = name_of(ann)
        ann.talk("hello")
        ann.send(TEXT, "psst")
        ann.talk("did you hear me?")
        until(lambda: "So far 1 delivery is missing." in mine.fault("dropped")["sentences"], "the verdict")
        fault = mine.fault("dropped")
    assert fault["sentences"][:2] == (
        f"“psst” was sent to `broadcast`. Client 1 ({name}) was registered all the time, and did not get it.",
        f"It sends to clients at line {fault['line']}, `case, _ = select(Send(client.send, value), default=True)`.",
    )
    assert fault["line"] == number_of(code, "Send(client.send, value)")


def name_of(peer: Peer) -> str:
    """The name of a client that has none: its address."""
    return f"127.0.0.1:{peer.socket.getsockname()[1]}"


def test_a_message_for_which_there_was_no_room_is_told_with_the_line(own: Make) -> None:
    code = wrong("full", "drops in silence")
    mine = own(code, send_buffer=2)
    with Peer(mine.port) as ann, mine.server.look() as look:
        block(mine, look)
        for _ in range(3):
            mine.hub.broadcast.send("more")
        fault = mine.fault("dropped")
        assert fault["sentences"][-1] == "It has dropped the message, or keeps it, and many more, in memory."
        assert fault["mistake"] == ""
        ann.lines(3)
        mine.hub.broadcast.send("and now?")
        assert ann.lines(1) == ["and now?"]
        until(lambda: mine.fault("dropped")["mistake"] == "drops in silence", "the verdict")
        fault = mine.fault("dropped")
    line = number_of(code, "Send(client.send, message)")
    full = f"At line {line}, `select(Send(client.send, message), default=True)`, there was no room in its buffer"
    assert fault["sentences"][1].startswith(full)
    assert fault["line"] == line


def test_a_hub_that_leaves_the_channel_of_who_has_gone_open_is_told(own: Make) -> None:
    mine = own(wrong("hub", "a forgotten close"))
    with peers(mine.port, 2) as (ann, bob):
        ann.leave()
        fault = mine.fault("unclosed")
        bob.talk("I am still here")
    assert fault["mistake"] == "a forgotten close"
    assert fault["sentences"][0].startswith("Client 1 (127.0.0.1:")


# A save


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class Hub\n    pass\n", ", line 1, `class Hub`: expected ':'. The hub from before goes on."),
        ("x = 1\n", " has no class Hub. The hub from before goes on."),
        (changed("self.broadcast: ", "_: "), ": the Hub has no channel `broadcast`. The hub from before goes on."),
    ],
    ids=["a syntax error", "no class", "a missing channel"],
)  # fmt: skip
def test_a_file_without_a_hub_is_told_and_the_last_good_hub_goes_on(
    own: Make, caplog: pytest.LogCaptureFixture, code: str, says: str
) -> None:
    mine = own(HUB)
    with Peer(mine.port) as ann, mine.server.look() as look:
        mine.write(code)
        until(lambda: mine.facts()["problem"], "the problem")
        assert mine.facts()["problem"].endswith(f"mine.py{says}")
        assert look.until_event("hub")["text"] == mine.facts()["problem"]
        ann.talk("I go on")
        assert mine.facts()["version"] == 1
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        mine.facts()["problem"]
    ]
    mine.save(HUB + "# mended\n")
    assert (mine.facts()["problem"], mine.facts()["version"], mine.facts()["file"]) == ("", 2, "mine.py, save 2")


def test_at_the_start_a_file_without_a_hub_is_refused(own: Make) -> None:
    with pytest.raises(NotAHub, match=r"mine.py has no class Hub$"):
        own("x = 1\n")


@pytest.mark.parametrize("name", ["full", "stop"])
def test_a_save_parts_with_all_and_who_comes_back_misses_nothing(own: Make, name: str) -> None:
    """The hub of exercise 10 has no stop yet: its channels are closed."""
    mine = own(CARDS[name].solution)
    with Peer(mine.port) as plain, V1(mine.port, name="Ann") as ann:
        ann.say("before", n=1)
        token = ann.until(type="msg")["token"]
        plain.lines(1)
        mine.save(HUB + "\n")
        assert plain.goodbye() == (1012, "a new hub takes over")
        with Peer(mine.port) as bob:
            bob.talk("meanwhile")
        with V1(mine.port, session=ann.session, since=token) as again:
            assert again.hello["recovered"]
            assert again.texts(1) == ["meanwhile"]
    assert mine.facts()["faults"] == []


def test_the_demos_bots_are_there_again_after_a_save_the_stuck_one_too(own: Make) -> None:
    mine = own(HUB, demo=True)
    assert mine.server.do("add", kind="stuck") == (200, {"ok": True})

    def bots() -> list[str]:
        return sorted(client.connection.name for client in list(mine.hub.watched.values()))

    until(lambda: len(bots()) == 7, "the bots")
    before, numbers = bots(), {*mine.hub.watched}
    mine.save(HUB + "\n")
    until(lambda: len(mine.hub.watched) == 7 and not numbers & {*mine.hub.watched}, "the new ones")
    until(lambda: bots() == before, "their names")
    with Peer(mine.port) as ann:
        assert ann.receive().opcode == TEXT  # the chatty ones go on


@pytest.mark.parametrize(
    ("code", "says", "mistake"),
    [
        (wrong("stop", "a forgotten done"), "and its thread is still at line", "a forgotten done"),
        (wrong("stop", "write pumps left behind"), "did not close the `send` of 2 clients", "write pumps left behind"),
        (CARDS["stop"].start.partition('"""\n\n')[2], "Its `stop` raised NotImplementedError.", ""),
    ],
    ids=["a forgotten done", "write pumps left behind", "no stop yet"],
)
def test_a_hub_that_does_not_stop_well_is_told_after_the_save(own: Make, code: str, says: str, mistake: str) -> None:
    mine = own(code)
    with peers(mine.port, 2) as (ann, bob):
        ann.talk("hello")
        bob.lines(1)
        mine.save(HUB)
        fault = mine.fault("stop")
        assert ann.goodbye()[0] == bob.goodbye()[0] == 1012
    assert says in fault["sentences"][0]
    assert fault["mistake"] == mistake


def test_a_hub_that_ends_while_others_send_to_it_is_told(own: Make) -> None:
    code = wrong("stop", "senders left behind").replace("    def run(self) -> None:\n", "    def run(self) -> None:\n"
           "        self.done.receive()\n        return\n")  # fmt: skip
    mine = own(code)
    joining = go(Peer, mine.port)
    until(lambda: mine.hub.register.has_parked_sender, "the registration")
    mine.save(HUB)
    fault = mine.fault("stop")
    assert fault["mistake"] == "senders left behind"
    assert fault["sentences"][0] == "It has ended while threads were sending to `register`, and did not close it."
    with joining.result() as waited:
        assert waited.status == 503


# Races


def test_race_1_a_client_unregisters_that_the_hub_before_this_one_knew(own: Make) -> None:
    strict = changed("        if client in self.clients:\n            self.clients.remove(client)",
                     "        if True:\n            self.clients.remove(client)")  # fmt: skip
    mine = own(HUB)
    with Peer(mine.port) as ann:
        ann.talk("hello")
        (client,) = mine.server.clients
        mine.save(strict)  # which would raise KeyError
        client.unregister()
        with Peer(mine.port) as bob:
            bob.talk("the new hub does not know of it")
    assert mine.facts()["faults"] == []


def test_race_2_a_thread_waits_to_send_to_a_hub_when_another_takes_its_place(own: Make) -> None:
    mine = own(wrong("hub", "one channel at a time"))
    with Peer(mine.port) as ann:
        for line in ("one", "two"):
            ann.send(TEXT, line)
        broadcast = mine.hub.broadcast
        until(lambda: broadcast.has_parked_sender, "the read pump")
        mine.save(HUB)
        assert ann.receive().payload == b"one"
        assert ann.goodbye()[0] == 1012
        with V1(mine.port, name="Bob") as bob:  # what had got its number is not lost
            assert bob.texts(2) == ["one", "two"]


def test_a_stop_ends_the_threads_of_a_hub_that_has_failed(own: Make) -> None:
    mine = own(SENDS_TO_ITSELF)
    with Peer(mine.port) as ann:
        ann.send(TEXT, "hello")
        until(lambda: mine.hub.unregister.has_parked_sender, "the deadlock")
        stopping = mine.server.stop_in_thread()
        assert ann.goodbye()[0] == 1001
    stopping.join()
    assert not [thread for thread in threading.enumerate() if thread.name in ("hub", "reload")]
