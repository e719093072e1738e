"""What a launched proxy must not leave behind."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mitmproxy.addonmanager import AddonManager
from mitmproxy.proxy.layers import websocket

from wirewright.state import control, proxy


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Tasks, log handlers, layer, listeners and default timeout are those of before the block."""
    tasks, handlers = asyncio.all_tasks(), list(logging.getLogger().handlers)
    layer, settings = websocket.WebsocketLayer, control.settings()
    dispatch = AddonManager.trigger_event
    factory = asyncio.get_running_loop().get_task_factory()
    try:
        yield
    finally:
        assert asyncio.all_tasks() - tasks == set()
        assert logging.getLogger().handlers == handlers
        assert websocket.WebsocketLayer is layer
        assert AddonManager.trigger_event is dispatch
        assert control.settings() == settings
        assert asyncio.get_running_loop().get_task_factory() is factory
        assert proxy.web_sockets == []


def assert_free(port: int) -> None:
    """Nobody listens on a port."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
