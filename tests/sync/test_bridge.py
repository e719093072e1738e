"""The event loop's thread, and the thread of the handlers."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from support.time_limits import STEP_SECONDS
from wirewright.model.errors import EndedError
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
        bridge.dispatcher.in_turn(lambda: iter([(handle, None, repr)]))
        bridge.settle()
        assert len(received) == number + 1


def test_end_does_not_interrupt_the_cleaning_up_of_a_cancelled_task() -> None:
    bridge = Bridge()
    bridge.start()
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10_000):
                await asyncio.sleep(0)
            cleaned.append(True)

    task = bridge.call(lambda: bridge.loop.create_task(work()))
    bridge.wait(asyncio.sleep(0))
    bridge.call(task.cancel)
    bridge.stop()
    assert cleaned == [True]
    assert task.cancelled()


def test_interrupt_after_the_result_has_been_taken_waits_for_no_other_one(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it waits, the time limit of the test ends it."""
    receive = bridge.receive

    def interrupted(inbox: Any) -> Any:
        receive(inbox)
        raise KeyboardInterrupt

    monkeypatch.setattr("wirewright.sync.bridge.LAST_SECONDS", 3600.0)
    with monkeypatch.context() as patched:
        patched.setattr(bridge, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bridge.wait(asyncio.sleep(0))
    bridge.wait(asyncio.sleep(0))


def test_abandoned_threads_end_by_themselves() -> None:
    bridge = Bridge()
    bridge.start()
    last = threading.Event()

    async def leave() -> None:
        last.set()

    bridge.abandon(leave)
    bridge._runner.join(STEP_SECONDS)
    bridge.dispatcher.thread.join(STEP_SECONDS)
    assert last.is_set()
    assert not bridge._runner.is_alive()
    assert not bridge.dispatcher.thread.is_alive()
    with pytest.raises(EndedError):
        bridge.call(print)
