"""Many threads at once: whatever they do, nothing is lost, nothing is received twice, and the order is kept."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
from channels import nobody_in_line, result
from helpers import FAR, go, switching_often, until

from threadchat.channel import Case, Channel, Closed, Send, WouldBlock, select

Item = tuple[int, int, int]  # sender, channel, number


def check_order(received: Sequence[Sequence[Item]]) -> None:
    """What a receiver has of one sender through one channel is in the order of the sends."""
    for items in received:
        numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
        for sender, channel, number in items:
            numbers[sender, channel].append(number)
        for line in numbers.values():
            assert line == sorted(line)


@pytest.mark.parametrize("seed", [1, 2])
@switching_often()
def test_among_many_threads_nothing_is_lost_and_nothing_is_received_twice(seed: int) -> None:
    channels = [Channel[Item](capacity) for capacity in (0, 1, 7)]

    def send(sender: int) -> list[Item]:
        chance = random.Random(f"{seed} {sender}")
        items: list[Item] = []
        while len(items) < 1000:
            to = chance.randrange(3)
            item = (sender, to, len(items))
            how = chance.choice(["send", "nowait", "default", "select", "select"])
            try:
                if how == "send":
                    channels[to].send(item)
                elif how == "nowait":
                    channels[to].send_nowait(item)
                elif how == "default":
                    if select(Send(channels[to], item), default=True) == (None, None):
                        continue
                else:
                    case, _ = select(*(Send(channel, (sender, at, len(items))) for at, channel in enumerate(channels)))
                    assert isinstance(case, Send)
                    item = case.item
            except WouldBlock:
                continue
            items.append(item)
        return items

    def receive(channel: Channel[Item], timeouts: bool) -> list[Item]:
        items = []
        while True:
            try:
                items.append(channel.receive(random.uniform(-0.0001, 0.001) if timeouts else None))
            except TimeoutError:
                continue
            except Closed:
                return items

    def receive_selected(timeouts: bool) -> list[Item]:
        items = []
        open_ones = list(channels)
        while open_ones:
            try:
                case, item = select(*open_ones, timeout=random.uniform(-0.0001, 0.001) if timeouts else None)
            except TimeoutError:
                continue
            except Closed as raised:
                open_ones.remove(raised.channel)
                continue
            assert case is channels[item[1]]
            items.append(item)
        return items

    receiving = [go(receive_selected, timeouts) for timeouts in (False, False, True, True)]
    for channel in channels:
        receiving.append(go(list, channel))
        receiving.append(go(receive, channel, True))
    sending = [go(send, sender) for sender in range(6)]
    sent = [item for future in sending for item in result(future)]
    for channel in channels:
        channel.close()
    received = [result(future) for future in receiving]
    assert sorted(item for items in received for item in items) == sorted(sent)
    check_order(received)
    assert nobody_in_line(*channels)


@pytest.mark.parametrize("capacity", [0, 1, 7])
@switching_often()
def test_among_many_threads_a_close_loses_no_item_that_was_sent(capacity: int) -> None:
    for _ in range(30):
        channel: Channel[Item] = Channel(capacity)
        other: Channel[Item] = Channel()
        received: list[list[Item]] = [[], [], [], []]

        def send(sender: int, *cases: Case, channel: Channel[Item] = channel) -> int:
            number = 0
            try:
                while True:
                    if cases:
                        select(*cases, Send(channel, (sender, 0, number)))
                    else:
                        channel.send((sender, 0, number))
                    number += 1
            except Closed:
                return number

        def receive(take: Callable[[], list[Item]], items: list[Item]) -> None:
            try:
                while True:
                    items += take()
            except Closed:
                pass

        takes: list[Callable[[], list[Item]]] = [
            lambda channel=channel: [channel.receive()],  # type: ignore[misc]
            lambda channel=channel: [channel.receive(FAR)],  # type: ignore[misc]
            lambda channel=channel: [channel.receive(), *channel.take_pending()],  # type: ignore[misc]
            lambda channel=channel, other=other: [select(other, channel)[1]],  # type: ignore[misc]
        ]
        receiving = [go(receive, take, items) for take, items in zip(takes, received, strict=True)]
        sending = [go(send, 0), go(send, 1), go(send, 2, other, None)]
        until(lambda received=received: sum(map(len, received)) >= 50)  # type: ignore[misc]
        channel.close()
        sent = [(sender, 0, number) for sender, future in enumerate(sending) for number in range(result(future))]
        for future in receiving:
            result(future)
        assert sorted(item for items in received for item in items) == sent
        check_order(received)
        assert nobody_in_line(channel, other)


@switching_often()
def test_among_selects_that_each_send_and_receive_every_item_has_one_receiver() -> None:
    """Eight threads, each of which sends 300 items and receives in the same selects, over two unbuffered channels."""
    channels = [Channel[Item](), Channel[Item]()]
    stop: Channel[None] = Channel()

    def take_part(sender: int) -> list[Item]:
        received: list[Item] = []
        number = 0
        while True:
            cases: list[Case] = [*channels]
            if number < 300:
                cases += [Send(channel, (sender, at, number)) for at, channel in enumerate(channels)]
            try:
                case, item = select(*cases, stop)
            except Closed:
                assert number == 300
                return received
            if isinstance(case, Send):
                number += 1
            else:
                received.append(item)
                counted.append(None)

    counted: list[None] = []
    taking_part = [go(take_part, sender) for sender in range(8)]
    until(lambda: len(counted) == 2400, "all items")
    stop.close()
    received = [result(future) for future in taking_part]
    assert sorted((sender, number) for items in received for sender, _, number in items) == [
        (sender, number) for sender in range(8) for number in range(300)
    ]
    check_order(received)
    assert all(not any(item[0] == sender for item in items) for sender, items in enumerate(received))
    assert nobody_in_line(*channels, stop)
