"""The event loop's thread, and the thread of the handlers."""

from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from wirewright.sync.bridge import Bridge


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge()
    bridge.start()
    yield bridge
    bridge.stop()


class Filled:
    """An inbox in which an item is before anybody waits for it."""

    def __init__(self) -> None:
        self.items: SimpleQueue[str] = SimpleQueue()
        self.items.put("item")

    def when_filled(self, call: Callable[[], object]) -> None:
        call()


def test_handler_that_waits_for_what_is_there_has_gone_on_once_all_is_settled(bridge: Bridge) -> None:
    received: list[str] = []

    def handle(_: object) -> None:
        received.append(bridge.receive(Filled()))

    for number in range(200):
        bridge.dispatcher.in_turn(lambda: iter([(handle, None, None)]))
        bridge.settle()
        assert len(received) == number + 1
