"""The connections of `async_ws_proxy` for pytest-asyncio: a fixture for each scope of an event loop.

https://pytest-asyncio.readthedocs.io/en/stable/concepts.html#event-loops
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

import pytest_asyncio

from wirewright.pytest_plugin.async_fixtures import connected

if TYPE_CHECKING:
    from wirewright.model.proxy import Proxy


def _fixture_in(loop_scope: Literal["function", "class", "module", "package", "session"]) -> Any:
    @pytest_asyncio.fixture(loop_scope=loop_scope, name=f"_ws_proxy_in_{loop_scope}_loop")
    async def fixture(
        _ws_connect_arguments: dict[str, Any], ws_context_args: dict[str, Any]
    ) -> "AsyncIterator[Proxy]":
        async with connected(_ws_connect_arguments, ws_context_args) as proxy:
            yield proxy

    return fixture


in_function_loop = _fixture_in("function")
in_class_loop = _fixture_in("class")
in_module_loop = _fixture_in("module")
in_package_loop = _fixture_in("package")
in_session_loop = _fixture_in("session")
