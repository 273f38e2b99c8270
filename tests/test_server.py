"""The server: peers that do not finish, its stop, where it listens, and its threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from helpers import (
    LIMIT,
    THREADCHAT,
    Clock,
    Peer,
    Process,
    Serve,
    errors,
    open_socket,
    received,
    request_threads,
    until,
)

from threadchat.options import Options
from threadchat.web import deadlines, handler
from threadchat.web import server as server_module
from threadchat.web.app import create_app
from threadchat.web.hosts import hosts_of
from threadchat.web.server import Server, _WSGIServer

NEVER = 600.0  # seconds: far beyond what a test waits for


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf a body",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n",
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half a handshake"],
)
def test_a_peer_that_does_not_finish_its_request_is_dropped(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, begun: bytes
) -> None:
    monkeypatch.setattr(handler, "LINGER", 0.1)
    with closing(open_socket(serve(request_wait=0.05), begun)) as peer:
        received(peer)
        until(lambda: not request_threads(), "the end of the request's thread")
    assert errors(caplog) == []


def test_the_time_limit_of_a_request_does_not_hold_for_the_websocket(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(deadlines, "time", clock)
    server = serve(request_wait=NEVER)
    with Peer(server.port) as slow, closing(open_socket(server)) as idle:
        until(lambda: server.clients)
        until(lambda: len(request_threads()) == 2, "the idle connection's thread")
        clock.now += NEVER
        received(idle)  # so the limit has passed for the other one too
        slow.talk("still here")


def test_a_stop_frees_idle_connections_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "STOP_WAIT", NEVER)
    server = serve(request_wait=NEVER)
    with ExitStack() as stack:
        begun = [b"", b"GET / HT", b"GET / HTTP/1.1\r\n"]
        peers = [stack.enter_context(closing(open_socket(server, data))) for data in begun]
        until(lambda: len(request_threads()) == len(peers), "a thread for each connection")
        stopping = server.stop_in_thread()
        stopping.join(LIMIT)
        stopped = not stopping.is_alive()
        for peer in peers:
            peer.shutdown(socket.SHUT_RDWR)  # so that the test ends even if the stop has failed
        stopping.join(LIMIT)
        assert stopped
        assert request_threads() == []


def test_a_stop_waits_for_a_thread_that_is_done_with_its_connection_and_has_not_ended(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget = _WSGIServer._forget
    done, over = threading.Event(), threading.Event()

    def linger(*arguments: Any) -> None:
        forget(*arguments)
        done.set()
        assert over.wait(LIMIT)

    monkeypatch.setattr(_WSGIServer, "_forget", linger)
    server = serve()
    open_socket(server).close()
    assert done.wait(LIMIT)
    joined = threading.Event()
    join = threading.Thread.join

    def noting(thread: threading.Thread, *arguments: Any) -> None:
        if thread.name == "request":
            joined.set()
        join(thread, *arguments)

    monkeypatch.setattr(threading.Thread, "join", noting)
    stopping = server.stop_in_thread()
    waited = joined.wait(LIMIT)
    over.set()
    stopping.join(LIMIT)
    assert waited
    assert request_threads() == []


def test_a_stop_waits_for_a_connection_whose_thread_has_only_just_started(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STOP_WAIT", NEVER)
    started, may_go_on = threading.Event(), threading.Event()
    process = _WSGIServer.process_request_thread

    def held_up(self: Any, *arguments: Any) -> None:
        started.set()
        may_go_on.wait(LIMIT)
        process(self, *arguments)

    monkeypatch.setattr(_WSGIServer, "process_request_thread", held_up)
    server = serve(request_wait=NEVER)
    connections = set(threading.enumerate())
    with closing(open_socket(server)) as peer:
        assert started.wait(LIMIT)
        connections = set(threading.enumerate()) - connections
        stopping = server.stop_in_thread()
        until(lambda: server.app.rooms.lobby.failed, "the hub's end")
        may_go_on.set()
        stopping.join(LIMIT / 4)
        stopped, left = not stopping.is_alive(), [thread for thread in connections if thread.is_alive()]
        peer.shutdown(socket.SHUT_RDWR)  # so that the test ends even if the stop has failed
        stopping.join(LIMIT)
        assert stopped
        assert left == []


def test_an_answer_on_its_way_arrives_despite_a_stop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    answering, may_answer = threading.Event(), threading.Event()
    server = serve()
    respond = server.app._respond

    def held_up(request: Any) -> Any:
        answering.set()
        may_answer.wait(LIMIT)
        return respond(request)

    monkeypatch.setattr(server.app, "_respond", held_up)
    with closing(open_socket(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) as peer:
        assert answering.wait(LIMIT)
        stopping = server.stop_in_thread()
        until(lambda: server.app.rooms.lobby.failed, "the hub's end")
        may_answer.set()
        answer = received(peer)
        stopping.join(LIMIT)
    assert not stopping.is_alive()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"</html>\n")


def test_a_stop_cuts_off_a_connection_that_does_not_end_by_itself(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STOP_WAIT", 0.05)
    server = serve(request_wait=NEVER)
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with closing(open_socket(server, body)) as peer:
        assert peer.recv(65536).startswith(b"HTTP/1.1 405 ")
        peer.sendall(b"part of a body")  # werkzeug reads on so that the peer gets its answer
        stopping = server.stop_in_thread()
        stopping.join(LIMIT)
        stopped = not stopping.is_alive()
        with closing(peer):
            peer.shutdown(socket.SHUT_RDWR)
        stopping.join(LIMIT)
        assert stopped
        assert request_threads() == []


def test_a_stop_tells_each_client_1001_and_returns_when_all_threads_have_ended(serve: Serve) -> None:
    before = set(threading.enumerate())
    server = serve()
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port)) for _ in range(5)]
        until(lambda: len(server.clients) == len(peers))
        stopping = server.stop_in_thread()
        for peer in peers:
            assert peer.goodbye() == (1001, "the server is stopping")
            assert peer.receive_all() == []
            peer.close()
        stopping.join(LIMIT)
        assert set(threading.enumerate()) <= before


def test_messages_that_the_hub_has_received_arrive_before_the_close_frame(serve: Serve) -> None:
    server = serve()
    with Peer(server.port) as sender, Peer(server.port) as listener:
        until(lambda: len(server.clients) == 2)
        sender.talk("last words")  # so the hub has received it
        stopping = server.stop_in_thread()
        assert listener.lines(1) == ["last words"]
        assert listener.goodbye()[0] == 1001
        assert sender.goodbye()[0] == 1001
        sender.close()
        listener.close()
        stopping.join(LIMIT)


def test_a_stopped_server_accepts_no_connection(serve: Serve) -> None:
    server = serve()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        open_socket(server)


def test_a_second_stop_does_nothing(serve: Serve) -> None:
    server = serve()
    server.server.stop()
    server.server.stop()
    again = serve(server.port)
    assert again.port == server.port


def test_the_port_can_be_used_again_at_once(serve: Serve) -> None:
    server = serve()
    with Peer(server.port) as peer:
        until(lambda: server.clients)
        stopping = server.stop_in_thread()
        assert [goodbye.close_code for goodbye in peer.receive_all()] == [1001]
        peer.close()
        stopping.join(LIMIT)
        again = serve(server.port)
    with Peer(again.port) as peer:
        peer.talk("back")


def test_a_port_in_use_is_an_oserror(serve: Serve) -> None:
    server = serve()
    with closing(create_app()) as app, pytest.raises(OSError, match="in use"):
        Server(app, "127.0.0.1", server.port)


def test_an_address_of_another_machine_is_an_oserror() -> None:
    with closing(create_app()) as app, pytest.raises(OSError, match=r"192\.0\.2\.1|assign"):
        Server(app, "192.0.2.1", 0)


def test_port_0_picks_a_free_one_for_each(serve: Serve) -> None:
    first, second = serve(), serve()
    assert first.port > 0
    assert second.port > 0
    assert first.port != second.port


def test_every_thread_is_named_after_its_role(serve: Serve) -> None:
    before = set(threading.enumerate())
    server = serve()
    with Peer(server.port), closing(open_socket(server)):
        until(lambda: len(request_threads()) == 2 and server.clients)
        expected = ["accept", "hub", "readPump-1", "request", "writePump-1"]

        def names() -> list[str]:
            return sorted(thread.name for thread in set(threading.enumerate()) - before)

        until(lambda: names() == expected, f"the names {expected}")


def test_the_default_request_wait_is_enough_for_slow_peers_and_not_much_more() -> None:
    assert 5 <= Options().request_wait <= 60


# Where it listens

BOTH = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket for both IPv4 and IPv6 here")


def link_local() -> str:
    """An address of this machine on one link, such as fe80::1%eth0. Skips the test if there is none."""
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, *_, link = line.split()
            if digits.startswith("fe80"):
                return f"{ip_address(bytes.fromhex(digits))}%{link}"
    pytest.skip("no link-local address here")


@contextmanager
def listening(host: str) -> Iterator[Server]:
    """A server that listens on the host and answers to the names that `threadchat serve` would let it answer to."""
    with closing(create_app(Options(allow_hosts=hosts_of(host)))) as app:
        server = Server(app, host, 0)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def answers(url: str) -> bool:
    with urlopen(url, timeout=LIMIT) as answer:
        return b"<title>threadchat</title>" in answer.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0.0.0.0", "0", "::ffff:127.0.0.1"])
def test_the_url_leads_to_the_page(host: str) -> None:
    with listening(host) as server:
        assert answers(server.url)


@BOTH
@pytest.mark.parametrize("host", ["::1", "[::1]", "::", "*"])
def test_the_url_of_an_ipv6_address_leads_to_the_page(host: str) -> None:
    with listening(host) as server:
        assert answers(server.url)


def test_it_listens_on_one_link_and_its_url_names_the_link() -> None:
    address = link_local()
    with listening(address) as server:
        assert server.url == f"http://[{address.replace('%', '%25')}]:{server.port}/"
        assert answers(server.url)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "chat.localhost"])
def test_the_page_at_its_url_may_connect(host: str) -> None:
    with listening(host) as server:
        authority = f"[{host}]" if ":" in host else host
        assert server.url == f"http://{authority}:{server.port}/"
        over = socket.create_connection(server.local_address, LIMIT)
        with Peer(server.port, host=host, over=over, headers=f"Origin: http://{authority}:{server.port}\r\n") as peer:
            peer.talk("here")


@BOTH
@pytest.mark.parametrize("host", ["::", "*", "[::]"])
def test_all_addresses_are_the_ipv4_ones_too_with_one_port(host: str) -> None:
    with listening(host) as server:
        assert answers(f"http://127.0.0.1:{server.port}/")
        assert answers(f"http://[::1]:{server.port}/")


def test_0_0_0_0_is_ipv4_alone() -> None:
    with listening("0.0.0.0") as server:
        assert answers(f"http://127.0.0.1:{server.port}/")
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection(("::1", server.port), LIMIT).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*"])
def test_the_url_of_a_server_that_listens_everywhere_names_one_address(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Its IPv4 address in the network, which people can type; the IPv6 one where there is no other."""
    own = {socket.AF_INET: "192.0.2.7", socket.AF_INET6: "2001:db8::7"}
    monkeypatch.setattr(server_module, "get_interface_ip", own.__getitem__)
    with listening(host) as server:
        assert server.url == f"http://192.0.2.7:{server.port}/"
        own[socket.AF_INET] = "127.0.0.1"  # what werkzeug says where there is no network
        both = socket.has_dualstack_ipv6() and host != "0.0.0.0"
        assert server.url == f"http://{'[2001:db8::7]' if both else '127.0.0.1'}:{server.port}/"
        own[socket.AF_INET6] = "::1"
        assert server.url == f"http://127.0.0.1:{server.port}/"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*", "127.0.0.1", "::1", "link-local"])
def test_a_program_on_this_machine_reaches_it_at_its_local_address(host: str) -> None:
    with listening(link_local() if host == "link-local" else host) as server:
        socket.create_connection(server.local_address, LIMIT).close()


@BOTH
def test_an_ipv4_client_of_a_server_on_both_has_its_ipv4_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with listening("::") as server:
        with Peer(server.port) as peer:
            peer.talk("here")
            own = peer.socket.getsockname()
        until(lambda: not server.app.hub.clients)
    assert f'client 1 joined room "lobby" from {own[0]}:{own[1]}' in caplog.messages


@BOTH
@pytest.mark.parametrize("host", ["::", "*"])
def test_the_demos_bots_join_a_server_that_listens_everywhere(tmp_path: Path, host: str) -> None:
    command = [*THREADCHAT, "demo", "--no-browser", "--log-level", "info", "--host", host]
    with Process(tmp_path, command) as process:
        process.wait_for(r'client \d+ joined room "lobby" from 127\.0\.0\.1:\d+')
        assert process.end() == 0


# Its threads


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_a_thread_for_it_a_connection_is_refused_with_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    server = serve()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with closing(open_socket(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) as peer:
            answer = received(peer)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.count(b"\r\nDate: ") == 1
            assert answer.endswith(b" GMT\r\n\r\n")
    assert errors(caplog) == ["out of threads (see ulimit -u): refused a connection"]
