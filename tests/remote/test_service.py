"""The API of a proxy at one address."""

from pathlib import Path

import pytest

from wirewright import Error, launch
from wirewright.async_api import connect
from wirewright.remote.service import RemoteService
from wirewright.state import control

pytestmark = pytest.mark.slow


async def test_endpoint_that_is_not_published_is_reached_with_its_token_alone(
    confdir: Path, runtime: Path
) -> None:
    async with launch(port=0, confdir=confdir) as proxy:
        service = RemoteService(control)
        await service.start("127.0.0.1:0", is_published=False)
        assert service.file is None
        assert not runtime.exists()  # noqa: ASYNC240
        address, token = service.endpoint.address, service.endpoint.token
        async with connect(address, token=token) as remote:
            assert remote.port == proxy.port
        with pytest.raises(Error, match="wants a token"):
            async with connect(address):
                pass
        await service.stop()
        with pytest.raises(Error, match="cannot be reached"):
            async with connect(address, token=token):
                pass
