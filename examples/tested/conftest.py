"""The service, and the app behind the proxy of the test.

pip install 'wirewright[pytest]' pytest-asyncio playwright && pytest examples/tested
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from trader_process import Trader

from wirewright.sync_api import Proxy, WebSocket

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The URL of the real service."""
    command = [sys.executable, str(HERE / "service.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"ws://127.0.0.1:{process.stdout.readline().strip()}/orders"
        process.terminate()


@pytest.fixture(scope="session")
def tablet_port() -> int:
    """A second port of the proxy, for the apps of a second device."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def ws_proxy_args(tablet_port: int) -> dict[str, Any]:
    return {"mode": ["regular", f"regular@{tablet_port}"]}


@pytest.fixture
def start_trader(service: str) -> Iterator[Callable[[int], Trader]]:
    """Starts the app with this port of the proxy. It does not connect yet."""
    with ExitStack() as stack:

        def start(port: int) -> Trader:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "trader.py"), service],
                env={**os.environ, "HTTP_PROXY": f"http://127.0.0.1:{port}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            return Trader(process)

        yield start


@pytest.fixture
def trader(ws_session_proxy: Proxy, start_trader: Callable[[int], Trader]) -> Trader:
    """The app, which is not connected yet."""
    return start_trader(ws_session_proxy.port)


@pytest.fixture
def live(ws_proxy: Proxy, trader: Trader) -> WebSocket:
    """The socket of the app, once it is open."""
    with ws_proxy.expect_websocket("**/orders", opened=True) as opened:
        trader.open()
    assert trader.says() == "online"
    return opened.value
