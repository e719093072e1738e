"""One library in one role, over one way, through a list of cases."""

import asyncio
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from conformance.endpoints import Library
from conformance.proxy import Way, proxy, server_behind
from conformance.suite import Fuzzer, fuzzing_client, fuzzing_server
from conformance.verdicts import NO_RESULT, Verdict

CASE_LIMIT = 60.0
"""Seconds after which a case is given up."""


class Role(Enum):
    """Which end the library is; the suite is the other one."""

    CLIENT = "client"
    SERVER = "server"


async def run_cases(
    python: Path, library: Library, role: Role, way: Way, cases: Sequence[str], confdir: Path
) -> dict[str, Verdict]:
    """What the suite says of each case."""
    judge = _judge_client if role is Role.CLIENT else _judge_server
    verdicts = await judge(python, library, way, cases, confdir)
    return {case: verdicts[case] for case in cases}


async def _judge_client(
    python: Path, library: Library, way: Way, cases: Sequence[str], confdir: Path
) -> dict[str, Verdict]:
    async with fuzzing_server(python) as (fuzzer, port):
        if way is Way.DIRECT:
            return {case: await _ask_for(case, fuzzer, library, port, None) for case in cases}
        async with proxy(way, confdir) as proxy_port:
            return {case: await _ask_for(case, fuzzer, library, port, proxy_port) for case in cases}


async def _ask_for(case: str, fuzzer: Fuzzer, library: Library, port: int, proxy_port: int | None) -> Verdict:
    try:
        async with asyncio.timeout(CASE_LIMIT):
            await library.echo(port, f"/runCase?casetuple={case}&agent={library.name}", proxy_port)
            judged = None
            while judged != case:  # one that was given up may still end
                judged, verdict = await fuzzer.next()
    except TimeoutError:
        verdict = NO_RESULT
    return verdict


async def _judge_server(
    python: Path, library: Library, way: Way, cases: Sequence[str], confdir: Path
) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    async with library.serve() as own_port, server_behind(way, own_port, confdir) as port:
        while remaining := [case for case in cases if case not in verdicts]:
            async with fuzzing_client(python, f"ws://127.0.0.1:{port}", remaining) as fuzzer:
                try:
                    for _ in remaining:
                        async with asyncio.timeout(CASE_LIMIT):
                            case, verdict = await fuzzer.next()
                        verdicts[case] = verdict
                except TimeoutError:
                    # The fuzzing client would wait for this case for ever: another one takes the rest.
                    verdicts[next(case for case in remaining if case not in verdicts)] = NO_RESULT
    return verdicts
