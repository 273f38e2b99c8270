"""A terminal, so that a test presses keys and sees the screen: tmux."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from helpers.waiting import LIMIT, until


class Tmux:
    """A terminal of 80 columns in which a command runs."""

    def __init__(self, folder: Path, command: list[str], *, lines: int = 24, **environment: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="tmux-")  # a socket's path must be short
        self._server = ["tmux", "-S", f"{self._folder}/socket", "-f", "/dev/null"]
        self._status = folder / "status"
        variables = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")}
        script = folder / "script"
        script.write_text(f'#!/bin/sh\ntrap : INT\n{shlex.join(command)}\necho $? >"{self._status}"\nread rest\n')
        script.chmod(0o755)
        self.tmux("new-session", "-d", "-x", "80", "-y", str(lines), str(script), env={**variables, **environment})
        self.process_id = int(self.tmux("display-message", "-p", "#{pid}"))

    def presses(self, *keys: str) -> None:
        """Press keys: text as it is, and names such as Enter."""
        self.tmux("send-keys", *keys)

    def screen(self, *how: str) -> str:
        return self.tmux("capture-pane", "-p", *how)

    def shows(self, pattern: str, *how: str) -> str:
        """Wait until the screen has a line with the pattern; return the screen."""
        until(
            lambda: re.search(pattern, self.screen(*how), re.MULTILINE),
            lambda: f"{pattern!r} on the screen {self.screen()}",
        )
        return self.screen(*how)

    @property
    def status(self) -> int:
        """The command's exit status, when it has ended."""
        until(
            lambda: self._status.exists() and self._status.read_text(),
            lambda: f"the end of the command {self.screen()}",
        )
        return int(self._status.read_text())

    def close(self) -> None:
        self.tmux("kill-server")
        until(lambda: not Path(f"/proc/{self.process_id}").exists(), "the end of tmux")
        shutil.rmtree(self._folder)

    def tmux(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        command = [*self._server, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=LIMIT).stdout
