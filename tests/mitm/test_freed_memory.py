"""Freed memory is given back to the system after connections have ended."""

import asyncio
import platform
import subprocess
import sys

import pytest

from support.addon_hooks import Hooks, addon_context
from wirewright.mitm import addon, freed_memory
from wirewright.mitm.freed_memory import LARGE_BYTES, FreedMemory

FREEING = """
import asyncio
from wirewright.mitm.freed_memory import LARGE_BYTES, FreedMemory, resident_bytes

async def main():
    freed = FreedMemory()
    blocks = [bytes(4000) for _ in range(4 * LARGE_BYTES // 4000)]
    last = bytes(4000)  # keeps the heap as long as it is
    del blocks
    before = resident_bytes()
    freed.give_back_soon()
    while before - resident_bytes() < 3 * LARGE_BYTES:
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no malloc_trim")
def test_freed_memory_is_given_back() -> None:
    """Without malloc_trim the program does not end, and the time limit of the test ends it."""
    subprocess.run([sys.executable, "-c", FREEING], check=True)


class Sizes:
    """Resident sizes, in bytes, one after another; the last one stays."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)

    def __call__(self) -> int:
        return self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]


@pytest.mark.parametrize("growth", [0, LARGE_BYTES - 1])
async def test_memory_for_later_sockets_is_kept(monkeypatch: pytest.MonkeyPatch, growth: int) -> None:
    trimmed: list[int] = []
    looked = asyncio.Event()

    def trim(pad: int) -> int:
        trimmed.append(pad)
        return 1

    def size() -> int:
        looked.set()
        return growth

    monkeypatch.setattr(freed_memory, "resident_bytes", Sizes(0))
    freed = FreedMemory(trim)
    monkeypatch.setattr(freed_memory, "resident_bytes", size)
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    freed.give_back_soon()
    await looked.wait()
    assert trimmed == []


async def test_look_at_the_memory_follows_the_end_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, trimmed = asyncio.get_running_loop(), asyncio.Event()

    def trim(pad: int) -> int:
        loop.call_soon_threadsafe(trimmed.set)
        return 1

    monkeypatch.setattr(freed_memory, "resident_bytes", Sizes(0, LARGE_BYTES))
    monkeypatch.setattr(freed_memory, "DELAY_SECONDS", 0)
    monkeypatch.setattr(addon, "FreedMemory", lambda: FreedMemory(trim))
    async with addon_context() as context:
        hooks = Hooks(context)
        await hooks.requestheaders()
        await hooks.client_disconnected()
        await trimmed.wait()
