"""A proxy that serves its API, where nobody else looks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wirewright import Proxy, launch
from wirewright.remote import discovery


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the endpoints' files."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(discovery.VARIABLE, raising=False)
    return tmp_path / "wirewright"


@pytest.fixture
async def proxy(confdir: Path) -> AsyncIterator[Proxy]:
    async with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}) as launched:
        yield launched
