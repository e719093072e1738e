"""The three ways from one end of a socket to the other."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

from support.processes import INSTALLED_MITMDUMP, mitmdump

HOLDING_SCRIPT = Path(__file__).with_name("changes_nothing.py")

QUIET = ("--set", "flow_detail=0")
"""It would print a line for each of some hundred thousand messages, which nobody reads."""

CRASH = "Traceback|has crashed"
"""In a line of mitmdump's output: what it says of an addon or a layer that raised an exception."""


class Way(Enum):
    """What is between the two ends of a socket."""

    DIRECT = "direct"
    """Nothing."""

    PASS = "PASS"
    """mitmdump with the addon, and nobody who may change a message."""

    HOLD = "HOLD"
    """mitmdump with the addon, and a script that may change each message."""


@asynccontextmanager
async def proxy(way: Way, confdir: Path, *arguments: str) -> AsyncIterator[int]:
    """The port of a mitmdump that is started for it; only for PASS and HOLD."""
    script = ("-s", HOLDING_SCRIPT) if way is Way.HOLD else ()
    async with mitmdump(*script, *QUIET, *arguments, confdir=confdir, program=INSTALLED_MITMDUMP) as (
        run,
        port,
    ):
        yield port
    crashes = [number for number, line in enumerate(run.lines) if re.search(CRASH, line)]
    assert not crashes, "\n".join(["mitmdump says:", *run.lines[crashes[0] : crashes[0] + 40]])


@asynccontextmanager
async def server_behind(way: Way, port: int, confdir: Path) -> AsyncIterator[int]:
    """The port at which a loopback server is reached, by a client that knows of no proxy."""
    if way is Way.DIRECT:
        yield port
    else:
        async with proxy(way, confdir, "--mode", f"reverse:http://127.0.0.1:{port}") as reverse:
            yield reverse
