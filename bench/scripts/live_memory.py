"""A Wirewright script that says how much memory the proxy's live objects take, as lines `MEMORY {json}`.

Live memory is the memory that Python's allocator and malloc have given out and not got back. Free memory that
the process keeps is not part of it, as it is of the resident size. A sample costs a garbage collection and a
count; nothing is traced in between.

The script has a route of the proxy's own, too, which hands on every message of `**/held`.
"""

import asyncio
import ctypes
import gc
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from wirewright import WebSocketRoute, proxy

SECONDS = 5.0
"""Between two samples."""
MOST_TYPES = 60
"""How many types of objects are counted in a sample, those with the most objects."""
FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class MallocInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`, mallinfo(3)."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in FIELDS.split())


def live_memory() -> int:
    """Bytes of all live objects, of C libraries too."""
    return _of_python() + _of_malloc()


def _of_python() -> int:
    """Bytes in blocks of Python's allocator (objects up to 512 bytes). It writes them to stderr only."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        file.seek(0)
        found = re.search(rb"bytes in allocated blocks\s*=\s*([\d,]+)", file.read())
    assert found
    return int(found[1].replace(b",", b""))


def _of_malloc() -> int:
    info = _libc.mallinfo2()
    return int(info.uordblks) + int(info.hblkhd)


def sample() -> dict[str, object]:
    gc.collect()
    objects = gc.get_objects()
    types = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in objects)
    status = Path("/proc/self/status").read_text()
    resident = re.search(r"VmRSS:\s*(\d+)", status)
    assert resident
    return {
        "at": time.monotonic(),
        "live": live_memory(),
        "resident": int(resident[1]) * 1024,
        "sockets": len(proxy.web_sockets),
        "objects": len(objects),
        "types": dict(types.most_common(MOST_TYPES)),
    }


async def say_samples() -> None:
    while True:
        print("MEMORY", json.dumps(sample()), flush=True)
        await asyncio.sleep(SECONDS)


def hand_on(ws: WebSocketRoute) -> None:
    server = ws.connect_to_server()
    ws.on_message(server.send)
    server.on_message(ws.send)


def running() -> None:
    global _saying
    _saying = asyncio.ensure_future(say_samples())


def done() -> None:
    _saying.cancel()


_libc = ctypes.CDLL(None)
_libc.mallinfo2.restype = MallocInfo
_saying: "asyncio.Future[None]"
proxy.route_web_socket("**/held", hand_on)
