"""Freed memory is given back to the system after connections have ended."""

import asyncio
import platform
import subprocess
import sys

import pytest

from support.addon_hooks import Hooks, addon_context
from wirewright.mitm import addon, freed_memory
from wirewright.mitm.freed_memory import FreedMemory

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
        blocks = [bytes(4000) for _ in range(SIZE // 4000)]
        last = bytes(4000)  # keeps the heap as long as it is
        del blocks
        before = resident_bytes()
        freed.give_back_soon()
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


async def test_connections_that_end_together_share_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    freed = FreedMemory(trims)
    for connections in (3, 1):
        for _ in range(connections):
            freed.give_back_soon()
        await trims.next()
    assert trims.count == 2


async def test_nothing_is_given_back_after_the_end_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    trims = Trims()
    cancelled, freed = FreedMemory(trims), FreedMemory(trims)
    cancelled.give_back_soon()
    cancelled.cancel()
    freed.give_back_soon()
    await trims.next()
    assert trims.count == 1


async def test_memory_is_given_back_after_the_end_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    trims = Trims()
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    monkeypatch.setattr(addon, "FreedMemory", lambda: FreedMemory(trims))
    async with addon_context() as context:
        hooks = Hooks(context)
        await hooks.requestheaders()
        await hooks.client_disconnected()
        await trims.next()
