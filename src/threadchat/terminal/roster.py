"""Who is in the room, as the server has said it: at hello, and by the joins, leaves and changes of name since."""

from __future__ import annotations

from typing import Any

CROWD = 25  # people, above which joins and leaves are not told one by one: they would drown what is said


class Roster:
    """Changed by the thread of the select alone; any thread may read `names`."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()  # of those whom the server has named
        self.count = 0
        self._here: dict[str, str] = {}  # by public tag

    def hello(self, here: object, count: object) -> None:
        """Note who is here as of the entry `top`."""
        known = here if isinstance(here, list) else []
        self._here = {str(each.get("by")): str(each.get("name")) for each in known if isinstance(each, dict)}
        self.count = count if isinstance(count, int) else len(self._here)
        self.names = tuple(self._here.values())

    def entry(self, kind: str, by: str, name: str) -> str:
        """Note what an entry after `top` changes. Returns it as a sentence, "" for nothing that is worth telling."""
        before = self._here.get(by)
        match kind:
            case "join":
                self._here[by] = name
                self.count += before is None
                sentence = f"{name} joined"
            case "leave":
                self._here.pop(by, None)
                self.count -= 1
                sentence = f"{name} left"
            case _:
                self._here[by] = name
                sentence = f"{before or 'Somebody'} is now called {name}"
        self.names = tuple(self._here.values())
        return sentence if self.count <= CROWD or kind == "name" else ""

    def listed(self) -> str:
        """All of them in one line: their number, and the names that are known."""
        others = self.count - len(self.names)
        return f"{self.count} here: {', '.join(self.names)}" + (f" and {others} more" if others > 0 else "")


def text_of(said: dict[str, Any], key: str) -> str:
    """What the server said under this key, if that is text; otherwise ""."""
    value = said.get(key)
    return value if isinstance(value, str) else ""
