"""Where to read about an exercise: a chapter of the guide, which every running chat serves."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from threadchat.exercises.cards import Chapter
from threadchat.options import ServerOptions
from threadchat.web.www import WWW

# Where `threadchat serve` answers if nothing else is asked of it.
CHAT = f"http://127.0.0.1:{ServerOptions().port}/"
PATIENCE = 0.5  # seconds that a server on this machine may take to answer


def address(chapter: Chapter) -> str:
    """The address of the chapter while a chat runs at CHAT."""
    return f"{CHAT}guide#{chapter.id}"


def file() -> str:
    """The guide's file, for those who want to read it without a server."""
    return str(WWW / "guide" / "index.html")


def is_served() -> bool:
    """Whether a chat runs at CHAT."""
    connection = HTTPConnection(urlsplit(CHAT).netloc, timeout=PATIENCE)
    try:
        connection.request("GET", "/limits")  # which only the chat has
        answer = connection.getresponse()
        return answer.status == 200 and b"message_size" in answer.read(4096)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
