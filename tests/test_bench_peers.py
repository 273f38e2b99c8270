"""The chats that the benchmark compares threadchat with: each that is installed starts, and passes messages on."""

from __future__ import annotations

from pathlib import Path

import pytest
import servers
from helpers import TEXT, Peer


@pytest.mark.parametrize("name", [name for name in servers.NAMES if name != "threadchat"])
def test_each_peer_of_the_benchmark_that_is_installed_passes_messages_on_to_all(name: str, tmp_path: Path) -> None:
    try:
        server = servers.known(name, servers.build_go(tmp_path) if name == "go" else None)
    except servers.Failed as missing:
        pytest.skip(str(missing))
    with servers.running(server) as running:
        with Peer(running.port) as one:
            one.talk("I am alone")
            with Peer(running.port) as other:
                other.talk("no more")
                assert one.lines(1) == ["no more"]
                for number in range(3):
                    one.send(TEXT, f"message {number}")
                for peer in (one, other):
                    assert peer.lines(3) == ["message 0", "message 1", "message 2"]
        assert running.said() == ""
    assert not running.killed


def test_a_peer_that_is_not_installed_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.PYTHON_PEERS, "aiohttp", ("no_such_package",))
    monkeypatch.setitem(servers.NODE_PEERS, "ws", ("no-such-package", "no-such-package@1"))
    with pytest.raises(servers.Failed, match="no_such_package is not installed"):
        servers.known("aiohttp", None)
    with pytest.raises(servers.Failed, match="Node"):
        servers.known("ws", None)
