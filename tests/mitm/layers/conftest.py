"""What the tests of the wire may ask for."""

import pytest
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons

from support.frames import KEY
from support.wire_layer import Clock, Leg, Wire
from wirewright.mitm.layers import app_network, turns, wire_layer
from wirewright.values import Direction
from wirewright.wire.stream import Encoder


@pytest.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(Encoder, "_mask", lambda self: KEY if self._masked else None)
    with taddons.context(Proxyserver()) as tctx:
        tctx.master._legacy_log_events.uninstall()
        return Wire(tctx.options)


@pytest.fixture(params=Direction, ids=str)
def leg(wire: Wire, request: pytest.FixtureRequest) -> Leg:
    return Leg(wire, request.param)


@pytest.fixture
def clock(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(wire)
    monkeypatch.setattr(app_network, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of turns, which stands still unless a test moves it."""
    now = [0.0]
    for module in (turns, wire_layer):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now
