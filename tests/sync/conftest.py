"""Fixtures for the tests of the sync API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.threaded_peers import reached
from wirewright.sync_api import Proxy


@pytest.fixture(params=["launch", "connect"])
def proxy(
    request: pytest.FixtureRequest, confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """A proxy of this process, and one as another process has it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with reached(request.param, confdir) as seen:
        yield seen
