"""60 cases of the Autobahn suite: the proxy changes no verdict. `make autobahn` runs all cases."""

import asyncio
from pathlib import Path

import pytest

from conformance.cases import ALL, BASIC, SAMPLE
from conformance.compare import compare
from conformance.endpoints import Aiohttp, Library, Websockets
from conformance.runs import Role
from conformance.suite import NoPython27, find_python

pytestmark = pytest.mark.conformance

SETTING_UP_AND_RUNNING = 240
"""Seconds. A first run sets the suite up."""


@pytest.fixture
async def python27() -> Path:
    try:
        return await find_python()
    except NoPython27 as missing:
        pytest.skip(f"THE CONFORMANCE SAMPLE DOES NOT RUN. {missing}")


def test_cases_are_those_that_were_promised() -> None:
    assert (len(BASIC), len(ALL), len(SAMPLE)) == (247, 247 + 84, 60)
    assert set(SAMPLE) <= set(ALL)
    assert len(set(SAMPLE)) == len(SAMPLE)


@pytest.mark.timeout(SETTING_UP_AND_RUNNING)
@pytest.mark.parametrize(
    ("library", "role"),
    [(Websockets(), Role.CLIENT), (Aiohttp(), Role.SERVER)],
    ids=["websockets client", "aiohttp server"],
)
async def test_proxy_changes_no_verdict(library: Library, role: Role, python27: Path) -> None:
    comparison = await compare(python27, library, role, SAMPLE, asyncio.Semaphore(3))

    breaches = comparison.breaches
    assert not breaches, "\n" + comparison.describe(breaches)
