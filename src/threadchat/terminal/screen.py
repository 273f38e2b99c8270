"""The chat for people: messages above a prompt. prompt_toolkit reads the keys and keeps the prompt below."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import StdoutProxy

from threadchat.channel import Channel, Closed, Send, WouldBlock, select
from threadchat.terminal.view import Said
from threadchat.terminal.words import clock, colour_of, counted

CLOSE_WAIT = 2.0  # seconds for the prompt to end
MOST_WAITING = 100  # messages that may wait for the connection
COMMANDS = ("/help", "/name", "/quit", "/who")
BOLD, DIM = "1", "2"


class Screen:
    """See `View`. `read_keys` runs in a thread of its own; the other methods are the select's."""

    ahead = MOST_WAITING
    patience = None  # somebody is there to lose it

    def __init__(self, where: str) -> None:
        self._where = where  # what the prompt says until there is a name
        self._state = (where, False, 0)  # what the prompt shows; replaced as a whole, since the other thread reads it
        self._names: tuple[str, ...] = ()
        self._closed = False
        self._over: Channel[None] = Channel()  # closed when the terminal is as it was before
        self._colours = not os.environ.get("NO_COLOR")
        self._session: PromptSession[str] = PromptSession(
            message=self._prompt,
            completer=_Names(self),
            key_bindings=_keys(),
            complete_while_typing=False,
            erase_when_done=True,  # the echo takes the line's place
            color_depth=None if self._colours else ColorDepth.DEPTH_1_BIT,
        )
        self._out = StdoutProxy(sleep_between_writes=0.05, raw=True)  # prints above the prompt

    def read_keys(self, says: Channel[str], commands: Channel[str], done: Channel[None]) -> None:
        """See `View.read_keys`."""
        try:
            while (line := self._ask()) is not None:
                if line.startswith("/") and not line.startswith("//"):
                    select(Send(commands, line.strip()), done)
                elif line.strip():
                    try:
                        says.send_nowait(line.removeprefix("/") if line.startswith("//") else line)
                    except WouldBlock:
                        self.trouble(f"Not sent, because {MOST_WAITING} messages wait already: {line}")
            select(Send(commands, "/quit"), done)
        except Closed:
            pass  # `done`
        finally:
            self._over.close()

    def message(self, said: Said) -> None:
        """See `View.message`."""
        name = self._styled(said.name, f"38;5;{colour_of(said.name)}", BOLD if said.own else "")
        indent = "\n" + " " * (len(clock(said.at)) + 1)
        text = said.text.replace("\n", indent)
        if said.mentions_me:
            text = self._styled(text, BOLD) + "\a"
        self._print(f"{self._styled(clock(said.at), DIM)} {name}{': ' if said.name else ''}{text}")

    def news(self, text: str) -> None:
        """See `View.news`."""
        self._print(self._styled(text, DIM))

    def trouble(self, text: str) -> None:
        """See `View.trouble`."""
        self._print(self._styled(f"! {text}", BOLD))

    def status(self, name: str, connected: bool, waiting: int, names: tuple[str, ...]) -> None:
        """See `View.status`."""
        self._names = names
        state = (name or self._where, connected, waiting)
        if state != self._state:
            self._state = state
            self._session.app.invalidate()

    def close(self) -> None:
        """End the prompt, and show what has not been shown yet. Called last."""
        self._closed = True
        loop = self._session.app.loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has just ended by itself
                loop.call_soon_threadsafe(self._end_if_closed)
        with suppress(Closed, TimeoutError):
            self._over.receive(CLOSE_WAIT)
        self._out.close()

    def _ask(self) -> str | None:
        """The next line; None at the end."""
        try:
            return self._session.prompt(pre_run=self._end_if_closed)
        except (EOFError, KeyboardInterrupt):
            return None

    def _end_if_closed(self) -> None:
        future = self._session.app.future
        if self._closed and future is not None and not future.done():
            self._session.app.exit(exception=EOFError)

    def _prompt(self) -> str:
        name, connected, waiting = self._state
        remarks = [] if connected else ["not connected"]
        if waiting:
            remarks.append(f"{counted(waiting, 'message')} on the way")
        return f"{name} ({', '.join(remarks)})> " if remarks else f"{name}> "

    def _print(self, line: str) -> None:
        self._out.write(f"{line}\n")

    def _styled(self, text: str, *styles: str) -> str:
        codes = ";".join(filter(None, styles))
        return f"\x1b[{codes}m{text}\x1b[0m" if self._colours and text else text


def _keys() -> KeyBindings:
    """Tab puts the first completion in, and then the next ones."""
    keys = KeyBindings()

    @keys.add("tab")
    def complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None:
            buffer.complete_next()
            return
        found = list(buffer.completer.get_completions(buffer.document, CompleteEvent(completion_requested=True)))
        if len(found) == 1:  # at once: the next key may be there already
            buffer.apply_completion(found[0])
        elif found:
            buffer.start_completion(select_first=True)

    return keys


class _Names(Completer):
    """Completes names of people in the room and, at the beginning of the line, commands."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        words: Iterable[str] = COMMANDS if before.startswith("/") and word == before else self._screen._names
        start = word.removeprefix("@")
        for each in sorted(set(words)):
            if each.casefold().startswith(start.casefold()):
                yield Completion(f"{each} ", start_position=-len(start), display=each)
