"""The command line, as a process of its own: what it prints, what it says of mistakes, and how it ends."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError

import pytest
from helpers import LIMIT, TEXT, THREADCHAT, Peer, Process, Serve, ask, close_frame, until, websocket

from threadchat import __version__, cli, serving
from threadchat.declarations import Group
from threadchat.options import ALL_OPTIONS, Options
from threadchat.runtime.hold import STOP_SIGNALS
from threadchat.runtime.signals import StopSignals

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `threadchat serve --port 0` with more arguments; what still runs at the test's end is killed."""
    with ExitStack() as stack:

        def run(*arguments: str) -> Process:
            return stack.enter_context(Process(tmp_path, [*THREADCHAT, "serve", "--port", "0", *arguments]))

        yield run


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*THREADCHAT, *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)


def get(port: int, path: str = "/") -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT) as answer:
        body: bytes = answer.read()
    return body


def address(port: int) -> str:
    return f"ws://127.0.0.1:{port}/ws"


def log_lines(process: Process, word: str) -> list[str]:
    return [line for line in process.err.splitlines() if word in line]


# It serves


def test_it_prints_the_address_and_who_can_reach_it_and_serves_there(start: Start) -> None:
    process = start()
    assert b"<title>threadchat</title>" in get(process.port)
    with websocket(address(process.port), compression=None) as ws:
        ws.send("hello")
        assert ws.recv(LIMIT) == "hello"
    assert process.out.splitlines() == [
        f"threadchat listens: open http://127.0.0.1:{process.port}/ (Ctrl-C stops it)",
        "Only this machine can reach it (see --host). Everyone who reaches the port can read and write.",
    ]
    assert process.end() == 0


def test_a_key_that_is_given_is_part_of_the_address_and_of_no_log(start: Start) -> None:
    process = start("--key", "50%/#key", "--log-level", "debug")
    shown = f"http://127.0.0.1:{process.port}/#key=50%25%2F%23key"
    assert process.out.splitlines()[0] == f"threadchat listens: open {shown} (Ctrl-C stops it)"
    assert ask(process, "GET", "/log.txt").status == 401
    assert ask(process, "GET", "/log.txt", {"Authorization": "Bearer 50%/#key"}).status == 200
    process.wait_for("log.txt")
    assert "50%" not in process.err


def test_a_key_without_a_value_is_made_anew_at_each_start(start: Start) -> None:
    keys = set()
    for arguments in (["--key"], ["--key", "--log-level", "info"]):
        process = start(*arguments)
        assert process.port
        (key,) = re.findall(r"/#key=([a-z2-9]{16}) ", process.out)
        assert ask(process, "GET", "/log.txt", {"Authorization": f"Bearer {key}"}).status == 200
        keys.add(key)
    assert len(keys) == 2


def test_the_organisers_address_is_printed_on_a_line_of_its_own(start: Start) -> None:
    process = start("--moderator-key")
    plain = f"http://127.0.0.1:{process.port}/"
    until(lambda: process.out.count("\n") == 3, "all lines")
    first, second, _ = process.out.splitlines()
    assert first == f"threadchat listens: open {plain} (Ctrl-C stops it)"
    assert re.fullmatch(rf"for the organiser: {plain}#key=[a-z2-9]{{16}}", second)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_it_lists_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("serve", "join", "demo", "lesson", "exercise"):
        assert re.search(rf"^  {name} +\w", done.stdout, re.MULTILINE)
    assert "threadchat COMMAND --help" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", ["serve", "join", "demo", "lesson", "exercise"])
def test_help_fits_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: threadchat {command} [")
    assert max(map(len, text.splitlines())) <= 80


def test_help_shows_the_options_in_their_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    text = capsys.readouterr().out
    headings = [f"{group.value}:" for group in Group]
    assert re.findall(r"^\S.*:$", text, re.MULTILINE) == ["options:", *headings]
    flags = re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE)
    assert flags == [option.flag for option in ALL_OPTIONS]


def test_the_demos_help_has_its_own_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])
    text = capsys.readouterr().out
    assert re.search(r"--port NUMBER .*\(default 0\)", text)
    assert re.search(r"--write-wait SECONDS .*\(default 60 seconds\)", text)
    assert re.search(r"--log-level \S+\s+.*\(default warning\)", text)
    assert "--no-browser" in text
    assert not re.search(r"--inspect\s", text)


def test_with_inspect_it_prints_where_to_look_as_well(start: Start) -> None:
    process = start("--inspect")
    assert b"def run(self)" in get(process.port, "/inspect/source?file=hub.py&function=Hub.run")
    assert process.out.splitlines()[0] == f"the inspector: http://127.0.0.1:{process.port}/inspect"
    assert process.end() == 0


@pytest.mark.parametrize("how", [[], ["--host", "0.0.0.0"], ["--host", "::"], ["--host", "localhost"]], ids=str)
@pytest.mark.parametrize("anywhere", [[], ["--inspect-from-anywhere"]], ids=str)
def test_the_demo_first_prints_an_address_at_which_the_inspector_answers(
    tmp_path: Path, how: list[str], anywhere: list[str]
) -> None:
    with Process(tmp_path, [*THREADCHAT, "demo", "--no-browser", *how, *anywhere]) as process:
        until(lambda: "threadchat listens" in process.out, "both addresses")
        name, _, address = process.out.splitlines()[0].partition(": ")
        assert name == "the inspector"
        with urllib.request.urlopen(address, timeout=LIMIT) as answer:
            assert answer.status == 200
        assert process.end() == 0


def test_where_nobody_could_open_the_inspector_the_server_says_so_and_does_not_start(
    capsys: pytest.CaptureFixture[str], served: Served
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--host", "192.0.2.7"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "threadchat demo: with --host 192.0.2.7 nobody can open the inspector, which answers at localhost alone: "
        "use --host 0.0.0.0, or --inspect-from-anywhere\n"
    )
    assert cli.main(["demo", "--host", "192.0.2.7", "--inspect-from-anywhere"]) == 0
    assert served.inspected


def test_the_demo_opens_the_inspector_in_a_browser_that_signals_can_stop(tmp_path: Path) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\nmask=$(grep SigBlk /proc/self/status)\necho "$1 $mask" > {seen}\n')
    browser.chmod(0o755)
    environment = {**os.environ, "BROWSER": f"{browser} %s &"}
    with Process(tmp_path, [*THREADCHAT, "demo"], env=environment) as process:
        until(lambda: seen.exists() and seen.read_text().endswith("\n"), "the browser")
        address, _, mask = seen.read_text().split()
        assert address == f"http://127.0.0.1:{process.port}/inspect"
        assert int(mask, 16) & sum(1 << number - 1 for number in STOP_SIGNALS) == 0
        assert process.end() == 0


def test_the_demo_opens_no_browser_when_told_so_nor_one_that_wants_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("false"))
    monkeypatch.setattr(webbrowser.GenericBrowser, "open", lambda *_: pytest.fail("it was opened"))
    monkeypatch.setattr(StopSignals, "wait", lambda _: signal.SIGTERM)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    assert cli.main(["demo"]) == 0
    monkeypatch.setattr(webbrowser, "get", lambda: pytest.fail("it was asked for"))
    assert cli.main(["demo", "--no-browser"]) == 0


def test_without_the_option_the_inspector_is_not_imported() -> None:
    code = "import sys, threadchat.cli; print([name for name in sys.modules if 'inspector' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_it_is_a_script_as_well_as_a_module() -> None:
    script = shutil.which("threadchat", path=os.path.dirname(sys.executable)) or shutil.which("threadchat")
    if script is None:
        pytest.skip("threadchat is not installed here")
    assert subprocess.check_output([script, "--version"], text=True) == f"threadchat {__version__}\n"


def test_it_tells_its_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"threadchat {__version__}\n", "")


def test_it_opens_as_many_files_as_the_system_lets_it(tmp_path: Path) -> None:
    command = ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *THREADCHAT, "serve", "--port", "0"]
    with Process(tmp_path, command) as process:
        assert process.port
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard > 256
        assert process.end() == 0


# The options


class Served:
    """Stands where `cli.serve` is, and keeps what it was called with."""

    def __init__(self) -> None:
        self.options = Options()
        self.host = ""
        self.port = -1
        self.trusted_proxies = -1
        self.inspected = False
        self.qr = False

    def __call__(
        self,
        options: Options,
        host: str,
        port: int,
        trusted_proxies: int,
        *inspector: object,
        qr: bool,
        drain: float,
        listener: object,
        sibling: object = None,
    ) -> int:
        self.options, self.host, self.port, self.trusted_proxies = options, host, port, trusted_proxies
        self.qr, self.drain = qr, drain
        self.inspected = bool(inspector)
        return 0


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    served = Served()
    monkeypatch.setattr(cli, "serve", served)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    return served


def test_inspect_from_anywhere_is_inspect_as_well(served: Served) -> None:
    assert cli.main(["serve", "--inspect-from-anywhere"]) == 0
    assert served.inspected


def test_a_hub_of_ones_own_brings_the_inspector_along(served: Served, tmp_path: Path) -> None:
    assert cli.main(["serve", "--hub", str(tmp_path / "mine.py")]) == 0
    assert served.inspected


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_file_without_a_hub_is_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    file = tmp_path / "mine.py"
    file.write_text("class Hub:\n    pass\n")
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--port", "0", "--hub", str(file)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"threadchat {command}: {file}: the Hub has no channel `register`\n"


def test_a_hub_of_ones_own_has_no_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--hub", "mine.py", "--store", f"sqlite:{tmp_path / 'chat.db'}"])
    assert ended.value.code == 2
    assert "leave --store out" in capsys.readouterr().err


def test_the_demo_has_defaults_of_its_own_and_the_options_of_serve(served: Served) -> None:
    assert cli.main(["demo"]) == 0
    assert (served.host, served.port, served.inspected) == ("127.0.0.1", 0, True)
    assert served.options == Options(write_wait=60, message_rate=0)
    assert cli.main(["demo", "--send-buffer", "7", "--write-wait", "3"]) == 0
    assert served.options == Options(send_buffer=7, write_wait=3, message_rate=0)


@pytest.mark.parametrize(("arguments", "wanted"), [(["serve"], True), (["serve", "--no-qr"], False)])
def test_a_code_for_phones_is_wanted_unless_told_otherwise(served: Served, arguments: list[str], wanted: bool) -> None:
    assert cli.main(arguments) == 0
    assert served.qr == wanted


def test_without_arguments_the_declared_defaults_hold(served: Served) -> None:
    assert cli.main(["serve"]) == 0
    assert (served.host, served.port, served.trusted_proxies) == ("127.0.0.1", 8080, 0)
    assert not served.inspected
    assert served.options == Options()


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--send-buffer", "7"], Options(send_buffer=7)),
        (["--message-size", "9000"], Options(message_size=9000)),
        (["--frame-size", "30000"], Options(frame_size=30_000)),
        (["--pong-wait", "2.5"], Options(pong_wait=2.5)),
        (["--ping-period", "0.5"], Options(ping_period=0.5)),
        (["--write-wait", "3"], Options(write_wait=3)),
        (["--request-wait", "3"], Options(request_wait=3)),
        (["--message-rate", "0"], Options(message_rate=0)),
        (["--max-clients", "3"], Options(max_clients=3)),
        (["--max-clients-per-address", "3"], Options(max_clients_per_address=3)),
        (["--max-unread-requests", "3"], Options(max_unread_requests=3)),
        (["--compression"], Options(compression=True)),
        (["--allow-origin", "https://a.example"], Options(allow_origins=("https://a.example",))),
        (["--allow-origin", "https://a", "--allow-origin", "*"], Options(allow_origins=("https://a", "*"))),
        (["--allow-host", "a.example"], Options(allow_hosts=("a.example",))),
        (["--allow-host", ".b.example", "--allow-host", "*"], Options(allow_hosts=(".b.example", "*"))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_option_has_its_effect(served: Served, arguments: list[str], options: Options) -> None:
    assert options != Options()
    assert cli.main(["serve", *arguments]) == 0
    assert served.options == options


def test_host_port_and_proxies_reach_the_server(served: Served) -> None:
    cli.main(["serve", "--host", "::1", "--port", "8081", "--trusted-proxies", "2"])
    assert (served.host, served.port, served.trusted_proxies) == ("::1", 8081, 2)


@pytest.mark.parametrize(
    ("option", "unit"),
    [
        ("--send-buffer", "messages"),
        ("--message-size", "bytes"),
        ("--pong-wait", "seconds"),
        ("--ping-period", "seconds"),
        ("--write-wait", "seconds"),
        ("--request-wait", "seconds"),
        ("--message-rate", "messages"),
        ("--max-clients", "clients"),
        ("--max-clients-per-address", "clients"),
        ("--max-unread-requests", "requests"),
    ],
)
def test_help_has_the_unit_and_the_default_of_each_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str, unit: str
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # so that no help text is broken
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--help"])
    assert ended.value.code == 0
    entry = re.search(rf"^  {option} {unit.upper()}\s+(.*)", capsys.readouterr().out, re.MULTILINE)
    assert entry, f"{option} is not followed by its unit"
    default = "nine tenths of the pong wait" if option == "--ping-period" else rf".* {unit}"
    assert re.search(rf"\(default {default}", entry[1]), entry[1]


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        # The way out is in the message itself, ...
        (["serv"], "threadchat: there is no command 'serv'; did you mean serve?"),
        (["Demo"], "threadchat: there is no command 'Demo'; did you mean demo?"),
        (["--port", "8080"], "threadchat: --port comes after a command: threadchat serve --port"),
        (["serve", "--prot", "8080"], "threadchat serve: there is no option --prot; did you mean --port?"),
        (["serve", "--prot=8080"], "threadchat serve: there is no option --prot; did you mean --port?"),
        (["serve", "--pong_wait=3"], "threadchat serve: there is no option --pong_wait; did you mean --pong-wait?"),
        (["demo", "--nobrowser"], "threadchat demo: there is no option --nobrowser; did you mean --no-browser?"),
        (["lesson", "--jason"], "threadchat lesson: there is no option --jason; did you mean --json?"),
        (
            ["serve", "--host", "192.0.2.1"],
            "threadchat serve: cannot listen on 192.0.2.1 port 8080: Cannot assign requested address",
        ),
        # ... or the help has it.
        (["run"], "threadchat: there is no command 'run'\ntry threadchat --help"),
        (["--nothing"], "threadchat: there is no command --nothing\ntry threadchat --help"),
        (["serve", "--nothing"], "threadchat serve: there is no option --nothing\ntry threadchat serve --help"),
        (["serve", "-p", "80"], "threadchat serve: there is no option -p\ntry threadchat serve --help"),
        (["serve", "more"], "threadchat serve: unexpected argument 'more'\ntry threadchat serve --help"),
        (["lesson", "convoy", "nagle"], "threadchat lesson: unexpected argument 'nagle'\ntry threadchat lesson --help"),
        (["serve", "--port"], "threadchat serve: --port needs a value\ntry threadchat serve --help"),
        (["serve", "--allow-origin"], "threadchat serve: --allow-origin needs a value\ntry threadchat serve --help"),
        (
            ["serve", "--port", "80x"],
            "threadchat serve: --port must be a whole number from 0 to 65535, not '80x'\ntry threadchat serve --help",
        ),
        (
            ["demo", "--pong-wait", "nan"],
            "threadchat demo: --pong-wait must be a number of seconds above 0 and at most 86400, not nan\n"
            "try threadchat demo --help",
        ),
        (
            ["serve", "--pong-wait", "5", "--ping-period", "6"],
            "threadchat serve: --ping-period (6 seconds) must be less than --pong-wait (5 seconds)\n"
            "try threadchat serve --help",
        ),
        (
            ["serve", "--host", ""],
            "threadchat serve: --host must be an address or a name, or * for all addresses, not ''\n"
            "try threadchat serve --help",
        ),
        (
            ["serve", "--log-level", "loud"],
            "threadchat serve: --log-level must be debug, info, warning or error, not 'loud'\n"
            "try threadchat serve --help",
        ),
        (
            ["serve", "--allow-origin", "example.org"],
            "threadchat serve: --allow-origin: an origin to allow is the scheme, the host and perhaps the port of a "
            "page, such as https://example.org or capacitor://localhost, without a path; or *, null or file://; "
            "unlike 'example.org'\ntry threadchat serve --help",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_gets_a_message_with_a_hint_and_status_2(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capfd.readouterr() == ("", f"{says}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--max", "3"], "--max.*--max-clients"),
        (["serve", "--compression=yes"], "--compression"),
        (["serve", "--allow-host", "http://example.org"], "--allow-host: .*http://example.org"),
        (["serve", "--port", "0", "--host", "no-such-host.invalid"], "cannot listen on no-such-host.invalid"),
        (["serve", "--port", "0", "--host", ".nowhere"], r"cannot listen on \.nowhere"),
    ],
)
def test_other_mistakes_name_the_option_too(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.match(rf"threadchat serve: .*({says})", err)
    assert "usage" not in err


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_a_link_local_address_without_its_link_gets_a_sentence() -> None:
    done = run("serve", "--port", "0", "--host", "fe80::1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "threadchat serve: cannot listen on fe80::1: say on which link, such as fe80::1%eth0\n"


def test_a_port_that_is_taken_gets_a_short_sentence_with_the_way_out(serve: Serve) -> None:
    taken = serve().port
    done = run("serve", "--port", str(taken))
    assert (done.returncode, done.stdout) == (2, "")
    way_out = "choose another with --port, or let --port 0 find a free one"
    assert done.stderr == f"threadchat serve: port {taken} is taken: {way_out}\n"


def test_a_port_that_needs_more_rights_gets_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serving, "Server", refuse)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--port", "80"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "threadchat serve: port 80 needs more rights than this user has: choose one from 1024 on with --port\n"
    )


@pytest.mark.parametrize("defect", [ValueError("a defect"), OSError("a defect"), KeyError("a defect")])
def test_a_defect_of_the_program_is_not_reported_as_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], defect: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise defect

    monkeypatch.setattr(cli, "serve", fail)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(type(defect), match="a defect"):
        cli.main(["serve"])
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_the_process_too_ends_it_with_status_2() -> None:
    done = run("serve", "--ping-period", "60")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "threadchat serve: --ping-period (60 seconds) must be less than --pong-wait (60 seconds)\n"
        "try threadchat serve --help\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_ends_where_it_cannot_print_its_address(monkeypatch: pytest.MonkeyPatch, unbuffered: str) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        command = [*THREADCHAT, "serve", "--port", "0"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 2
    assert done.stderr == "threadchat serve: cannot print the address: No space left on device\n"


@pytest.mark.parametrize(
    "arguments", ["", "--version", "serve --help", "serve --port 0", "demo", "lesson", "lesson --json", "lesson convoy"]
)
def test_it_ends_quietly_when_nobody_reads_its_output(monkeypatch: pytest.MonkeyPatch, arguments: str) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # argparse would not notice
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*THREADCHAT, *arguments.split()],
            stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, timeout=LIMIT, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


# The stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_takes_leave_of_all_clients_and_ends_it_with_status_0(start: Start, number: signal.Signals) -> None:
    process = start()
    with ExitStack() as stack:
        clients = [stack.enter_context(websocket(address(process.port), compression=None)) for _ in range(3)]
        for client in clients:  # from its echo on, its read pump has its name
            client.send("here")
            for each in clients:
                assert each.recv(LIMIT) == "here"
        process.process.send_signal(number)
        assert [close_frame(client).code for client in clients] == [1001] * len(clients)
        assert process.process.wait(LIMIT) == 0
    assert len(log_lines(process, 'left room "lobby": 1001 the server is stopping')) == 3
    assert "Traceback" not in process.err
    assert "KeyboardInterrupt" not in process.err
    ended = "8 threads ended (accept, hub, 3 readPump, 3 writePump)"
    assert process.out.splitlines()[2:] == [f"stopped: 3 clients told (close code 1001), {ended}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_where_nobody_is(start: Start, number: signal.Signals) -> None:
    process = start()
    assert process.port
    assert process.end(number) == 0
    assert process.err == ""
    assert process.out.splitlines()[2:] == ["stopped: 0 clients told (close code 1001), 2 threads ended (accept, hub)"]


def test_a_stop_whose_last_line_nobody_reads_ends_with_status_0_all_the_same() -> None:
    command = [*THREADCHAT, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"threadchat listens" in process.stdout.readline()
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read() == b""
        assert process.wait(LIMIT) == 0


def test_a_client_that_does_not_take_its_leave_holds_up_nobody(start: Start) -> None:
    process = start()
    with Peer(process.port) as silent:
        assert process.end() == 0  # it never answers the close frame
        assert silent.receive().close_code == 1001


# The log


def test_there_is_a_log_line_for_each_client_that_comes_and_goes(start: Start) -> None:
    process = start()
    with websocket(address(process.port), compression=None) as ws:
        _, port, *_ = ws.local_address
        ws.send("a message is nobody's business")
        ws.recv(LIMIT)
    process.wait_for("left")
    with Peer(process.port) as peer:
        process.wait_for("client 2 joined")
        peer.reset()
        process.wait_for("client 2 left")
    assert process.end() == 0
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(
        rf'{time} INFO client 1 joined room "lobby" from 127\.0\.0\.1:{port}\n'
        rf'{time} INFO client 1 left room "lobby": 1000.*\n'
        rf'{time} INFO client 2 joined room "lobby" from 127\.0\.0\.1:\d+\n'
        rf'{time} INFO client 2 left room "lobby": 1006 .*\n',
        process.err,
    ), process.err


def test_the_log_says_who_was_evicted_and_why(start: Start) -> None:
    process = start("--send-buffer", "2", "--message-size", "60000")
    with Peer(process.port, receive_buffer=4096), websocket(address(process.port), compression=None) as ws:
        process.wait_for("client 2 joined")
        while "client 1 left" not in process.err:
            ws.send("x" * 60_000)
            ws.recv(LIMIT)
        assert "1008 evicted" in process.wait_for("client 1 left")
    process.wait_for('client 2 left room "lobby": 1000')
    assert process.end() == 0
    assert len(process.err.splitlines()) == 4


def test_the_log_says_which_client_sent_too_long_a_message(start: Start) -> None:
    process = start("--message-size", "5")
    with Peer(process.port) as peer:
        peer.send(TEXT, "123456")
        assert peer.receive().close_code == 1009
    assert "1009 a message has at most 5 bytes" in process.wait_for("client 1 left")


def test_a_peer_cannot_write_lines_into_the_log(start: Start) -> None:
    process = start()
    with websocket(address(process.port), compression=None) as ws:
        process.wait_for("joined")
        ws.close(1000, "bye\n2000-01-01 00:00:00,000 INFO client 7 joined from \x1b[31mnowhere\u2028")
    process.wait_for("left")
    assert process.end() == 0
    assert len(process.err.splitlines()) == 2
    assert "\x1b" not in process.err


@pytest.mark.parametrize(
    ("level", "lines"),
    [("debug", ["joined", "left", "GET / HTTP/1.1"]), ("info", ["joined", "left"]), ("warning", []), ("error", [])],
)
def test_the_log_level_says_what_is_written(start: Start, level: str, lines: list[str]) -> None:
    process = start("--log-level", level)
    get(process.port)
    with websocket(address(process.port), compression=None) as ws:
        ws.send("hello")
        assert ws.recv(LIMIT) == "hello"
    assert process.end() == 0
    everything = ["joined", "left", "GET / HTTP/1.1"]
    assert [line for line in everything if line in process.err] == sorted(lines, key=everything.index)
    assert "GET /ws" not in process.err  # a WebSocket is not answered a second time, as HTTP
    assert "\x1b" not in process.err  # no colours in a file


def test_a_request_in_the_log_has_no_colours_and_no_control_characters(start: Start) -> None:
    process = start("--log-level", "debug")
    with pytest.raises(HTTPError) as error:
        get(process.port, "/%1b[31m")
    error.value.close()
    with socket.create_connection(("127.0.0.1", process.port), LIMIT) as peer:
        peer.sendall(b"\x1b[31m nonsense\r\n\r\n")
        while peer.recv(65536):
            pass
    assert process.end() == 0
    assert "404" in process.err
    assert "400" in process.err
    assert "\x1b" not in process.err
