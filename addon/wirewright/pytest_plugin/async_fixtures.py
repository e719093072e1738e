"""`async_ws_proxy`: the session's proxy for one async test, in the test's own event loop.

A process launches one proxy at a time, so the fixture connects to the session's proxy, which runs in a thread
of its own. pytest-asyncio and anyio run an async fixture in the loop of its test, each in a way of its own:
there is a fixture for each, and `async_ws_proxy` chooses one.

https://anyio.readthedocs.io/en/stable/testing.html#asynchronous-fixtures
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from wirewright.pytest_plugin.fixtures import check_capture, connect_arguments, limited

if TYPE_CHECKING:
    from wirewright.model.proxy import Proxy

ASYNCIO_FIXTURES = "wirewright-asyncio-fixtures"
"""The name of the plugin with the fixtures of pytest-asyncio; it is registered if pytest-asyncio is."""


@pytest.fixture
def async_ws_proxy(request: pytest.FixtureRequest, _ws_cassette: None) -> "Proxy":
    """The session's proxy for one async test, of `wirewright.async_api`, in the event loop of the test.

    Listeners and routes of the test are removed at its end.
    """
    proxy: Proxy = request.getfixturevalue(_fixture_of_the_loop(request))
    return proxy


@pytest.fixture(scope="session")
def _ws_connect_arguments(
    request: pytest.FixtureRequest, ws_context_args: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The arguments of `wirewright.async_api.connect` for the session's proxy.

    The endpoint of a launched proxy is for this process alone: no file has its token.
    """
    if request.config.option.ws_connect:
        check_capture(request.config, ws_context_args)
        yield connect_arguments(request.config)
        return
    request.getfixturevalue("ws_session_proxy")
    from wirewright.model.running_proxies import running_proxies
    from wirewright.remote.service import RemoteService
    from wirewright.state import control

    launched = [each for each in running_proxies() if each.control is control]
    if not launched:
        pytest.fail("async_ws_proxy needs a launched ws_session_proxy, or --ws-connect", pytrace=False)
    service = RemoteService(control)
    launched[0].run(service.start("127.0.0.1:0", is_published=False))
    yield {"endpoint": service.endpoint.address, "token": service.endpoint.token}
    launched[0].run(service.stop())


@pytest.fixture
async def _ws_proxy_in_anyio_loop(
    _ws_connect_arguments: dict[str, Any], ws_context_args: dict[str, Any]
) -> "AsyncIterator[Proxy]":
    async with connected(_ws_connect_arguments, ws_context_args) as proxy:
        yield proxy


@asynccontextmanager
async def connected(arguments: dict[str, Any], context_args: dict[str, Any]) -> "AsyncIterator[Proxy]":
    """The session's proxy by a connection for one test. At the end of the block its captures end, too."""
    from wirewright.async_api import connect
    from wirewright.model.errors import Error
    from wirewright.remote.client_carriers import RemoteHost

    async with limited(connect(**arguments), context_args) as proxy:
        yield proxy
        with suppress(Error):  # the proxy may be gone
            host = proxy._state.running_host()
            assert isinstance(host, RemoteHost)
            await host.apps_seen()  # the commands before it, which may not be awaited, are answered by then
            if None in host.captures:  # those of contexts end with the contexts
                await host.stop_capture(None)


def _fixture_of_the_loop(request: pytest.FixtureRequest) -> str:
    """The name of the fixture that connects in the event loop of the test."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and request.config.pluginmanager.hasplugin(ASYNCIO_FIXTURES):
        scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
        return f"_ws_proxy_in_{scope or request.config.getini('asyncio_default_test_loop_scope')}_loop"
    if "anyio_backend" not in request.fixturenames:
        pytest.fail(
            "async_ws_proxy is for an async test that pytest-asyncio or anyio runs, and this test has "
            "neither @pytest.mark.asyncio nor @pytest.mark.anyio; ws_proxy is for other tests",
            pytrace=False,
        )
    backend = request.getfixturevalue("anyio_backend_name")
    if backend != "asyncio":
        pytest.fail(
            f"async_ws_proxy runs in asyncio's event loop, not in {backend}'s: have the fixture "
            'anyio_backend return "asyncio"',
            pytrace=False,
        )
    return "_ws_proxy_in_anyio_loop"
