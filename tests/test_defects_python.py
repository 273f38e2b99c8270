"""What the oldest Python that threadchat runs on lacks."""

from __future__ import annotations

import importlib.metadata
import queue
import sys

import pytest

from threadchat.channel import Channel, Closed


def test_queues_cannot_be_closed_before_python_3_13() -> None:
    assert hasattr(queue.Queue, "shutdown") == (sys.version_info >= (3, 13))
    assert importlib.metadata.metadata("threadchat")["Requires-Python"] == ">=3.11"


def test_threadchats_channels_can_be_closed_on_every_python() -> None:
    channel: Channel[str] = Channel(1)
    channel.send("before")
    channel.close()
    assert channel.receive() == "before"
    with pytest.raises(Closed):
        channel.receive()
    with pytest.raises(Closed):
        channel.send("after")
