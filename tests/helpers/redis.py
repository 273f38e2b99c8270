"""A real Redis of a test's own, with its own folder: it can be stopped, killed, and started again with what it kept."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import pytest
from redis import AuthenticationError, Redis, RedisError

from helpers.waiting import LIMIT, until

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(
    REDIS is None, reason="there is no redis-server (Debian: apt-get install redis-server)"
)


class RedisServer:
    """A redis-server in a process of its own, on 127.0.0.1 and on a socket in its folder.

    `options` are lines of redis.conf, as `appendonly="yes"`, with an underscore for a hyphen. `--store` takes `url` and
    `unix_url`. The port stays the same over a restart. It is none of those that the system gives to those who do not
    ask for one, since another test could get it in between. With `tls` it takes nothing else there.
    """

    def __init__(self, tls: bool = False, **options: str) -> None:
        assert REDIS is not None, needs_redis.kwargs["reason"]
        self.folder = Path(tempfile.mkdtemp(prefix="threadchat-redis-"))  # pytest's paths are too long for a socket's
        self.port = 0
        self.password: str | None = options.get("requirepass")
        self._options = options
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Redis] = []
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.folder / 'socket'}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def out(self) -> str:
        """What it has written to its log since it was made."""
        return (self.folder / "out").read_text()

    def client(self, **options: Any) -> Redis:
        """A client of the test's own, which gives strings. It is closed with the server at the latest."""
        made = Redis.from_url(
            self.unix_url, decode_responses=True, **{"password": self.password, "socket_timeout": LIMIT, **options}
        )
        self._clients.append(made)
        return made

    def ask(self, *words: str) -> Any:
        """What redis-cli would answer."""
        with self.client() as client:
            return client.execute_command(*words)

    def close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def config(self, **options: str) -> None:
        """CONFIG SET: for the running server alone."""
        for name, value in options.items():
            self.ask("CONFIG", "SET", name.replace("_", "-"), value)

    def start(self) -> None:
        """Start it, again after `stop` or `kill`, and wait until it answers."""
        for _ in range(20):
            port = self.port or random.randrange(10_000, 32_000)
            settings = {"save": "", "port": str(port), "bind": "127.0.0.1", "dir": str(self.folder)} | self._options
            if self._tls:
                settings |= {"port": "0", "tls_port": str(port)}
            lines = [f"{name.replace('_', '-')} {value or repr('')}" for name, value in settings.items()]
            (self.folder / "redis.conf").write_text("\n".join([*lines, f"unixsocket {self.folder / 'socket'}\n"]))
            with (self.folder / "out").open("ab") as out:
                self._process = process = subprocess.Popen(
                    [str(REDIS), "redis.conf"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            until(lambda process=process: process.poll() is not None or self._answers(), "Redis, or its end")  # type: ignore[misc]
            if process.poll() is None:
                self.port = port
                return
            assert "Address already in use" in self.out, self.out
        raise AssertionError("no port was free")

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.unix_url, password=self.password, socket_timeout=LIMIT) as client:
                client.ping()
        except AuthenticationError:  # it has users of its own
            return True
        except RedisError:
            return False
        return True

    def stop(self) -> None:
        """End it in order: what it has is kept, if it is told to keep anything."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it do nothing until `go_on`."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(LIMIT)
            self._process = None

    def close(self) -> None:
        """End it, and remove its folder."""
        self.close_clients()
        self.kill()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
