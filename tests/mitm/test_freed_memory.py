"""Freed memory is given back to the system after connections have ended."""

import asyncio
import gc
import platform
import subprocess
import sys
import weakref

import pytest

from support.addon_hooks import Hooks, addon_context
from wirewright.mitm import addon, freed_memory
from wirewright.mitm.freed_memory import FEWEST_BEFORE_REST, FEWEST_CONNECTIONS, FreedMemory

FREEING = """
import asyncio
import resource
from pathlib import Path
from wirewright.mitm import freed_memory

SIZE = 128 * 1024 * 1024

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

async def main():
    freed_memory.DELAY_SECONDS = 0.05
    freed = freed_memory.FreedMemory()
    for _ in range(2):
        for _ in range(freed_memory.FEWEST_CONNECTIONS):
            freed.connection_began()
        blocks = [bytes(4000) for _ in range(SIZE // 4000)]
        last = bytes(4000)  # keeps the heap as long as it is
        del blocks
        before = resident_bytes()
        for _ in range(freed_memory.FEWEST_CONNECTIONS):
            freed.connection_ended()
        while before - resident_bytes() < SIZE * 3 // 4:
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no malloc_trim")
def test_freed_memory_is_given_back_each_time() -> None:
    """Without malloc_trim the program does not end, and the time limit of the test ends it."""
    subprocess.run([sys.executable, "-c", FREEING], check=True)


class Trims:
    """Counts the calls of malloc_trim, which come from other threads."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._called = asyncio.Event()

    def __call__(self, pad: int) -> int:
        assert pad == 0
        self._loop.call_soon_threadsafe(self._note)
        return 1

    def _note(self) -> None:
        self.count += 1
        self._called.set()

    async def next(self) -> None:
        await self._called.wait()
        self._called.clear()


def begin(freed: FreedMemory, count: int) -> None:
    for _ in range(count):
        freed.connection_began()


def end(freed: FreedMemory, count: int) -> None:
    for _ in range(count):
        freed.connection_ended()


async def test_memory_is_given_back_once_when_half_of_the_connections_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    freed = FreedMemory(trims)
    begin(freed, 40)
    end(freed, 21)
    await trims.next()
    begin(freed, 21)
    end(freed, 40)
    await trims.next()
    assert trims.count == 2


@pytest.mark.parametrize(
    ("began", "ended"),
    [(40, 19), (FEWEST_CONNECTIONS - 1, FEWEST_CONNECTIONS - 1)],
    ids=["fewer than half", "few"],
)
async def test_memory_for_later_connections_is_kept(
    monkeypatch: pytest.MonkeyPatch, began: int, ended: int
) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    freed, other = FreedMemory(trims), FreedMemory(trims)
    begin(freed, began)
    end(freed, ended)
    for _ in range(50):  # as many begin as end
        begin(freed, 1)
        end(freed, 1)
    begin(other, 40)
    end(other, 40)
    await trims.next()
    assert trims.count == 1


async def test_memory_is_given_back_again_when_the_last_connections_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    freed = FreedMemory(trims)
    begin(freed, FEWEST_BEFORE_REST)
    end(freed, FEWEST_BEFORE_REST - 1)
    await trims.next()
    end(freed, 1)
    await trims.next()
    assert trims.count == 2


@pytest.mark.parametrize("still_open", [0, 1])
async def test_garbage_is_collected_when_no_connection_is_open(
    monkeypatch: pytest.MonkeyPatch, still_open: int
) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    freed = FreedMemory(trims)
    begin(freed, FEWEST_CONNECTIONS + still_open)
    cycle = [Trims()]
    cycle.append(cycle)  # type: ignore[arg-type]
    left = weakref.ref(cycle[0])
    gc.disable()
    try:
        del cycle
        end(freed, FEWEST_CONNECTIONS)
        await trims.next()
        assert (left() is None) is not bool(still_open)
    finally:
        gc.enable()


async def test_nothing_is_given_back_after_the_end_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    cancelled, other = FreedMemory(trims), FreedMemory(trims)
    begin(cancelled, 40)
    end(cancelled, 40)
    cancelled.cancel()
    begin(other, 40)
    end(other, 40)
    await trims.next()
    assert trims.count == 1


async def test_memory_is_given_back_after_the_end_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    trims = Trims()
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    monkeypatch.setattr(addon, "FreedMemory", lambda: FreedMemory(trims))
    async with addon_context() as context:
        hooks = Hooks(context)
        for _ in range(FEWEST_CONNECTIONS):
            await hooks.client_connected()
        for _ in range(FEWEST_CONNECTIONS):
            await hooks.client_disconnected()
        await trims.next()
