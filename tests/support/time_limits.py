"""The one time limit of whatever a test waits for."""

from typing import Any

from websockets.asyncio import client, server
from websockets.sync import client as sync_client
from websockets.sync import server as sync_server

from wirewright.remote import transport

STEP_SECONDS = 120.0
"""How long a step may take before its test fails. No load of a machine uses it up: a step takes milliseconds,
or a second where a program starts. The limit of a whole test, in pyproject.toml, is longer."""
STEP_MILLISECONDS = 1000 * STEP_SECONDS


def lengthen_limits_of_websockets() -> None:
    """Give handshakes and pings of `websockets` the same limit.

    They have 10 and 20 seconds by default. The event loop of a test that makes ten thousand messages can be
    busy for longer on a loaded machine.
    """
    openers: tuple[Any, ...] = (client.connect, server.serve, sync_client.connect, sync_server.serve)
    for opener in openers:
        # In websockets 17.0 `serve` is a class, later a function.
        defaults = getattr(opener, "__kwdefaults__", None) or opener.__init__.__kwdefaults__
        assert defaults is not None
        assert {"open_timeout", "ping_timeout"} <= defaults.keys()
        defaults.update(open_timeout=STEP_SECONDS, ping_timeout=STEP_SECONDS)
    transport.HANDSHAKE_SECONDS = STEP_SECONDS
