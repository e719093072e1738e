"""The port of the proxy that an app has connected to."""

from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow

from wirewright.mitm import origins
from wirewright.mitm.origins import listening_port

REGULAR, WIREGUARD, LOCAL = (ProxyMode.parse(mode) for mode in ("regular@8081", "wireguard", "local"))


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a proxy with three modes."""
    made = [
        SimpleNamespace(mode=REGULAR, listen_addrs=(("127.0.0.1", 8081), ("::1", 8081, 0, 0))),
        SimpleNamespace(mode=WIREGUARD, listen_addrs=(("0.0.0.0", 51820),)),
        SimpleNamespace(mode=LOCAL, listen_addrs=()),
    ]
    monkeypatch.setattr(origins, "proxyserver", lambda: SimpleNamespace(servers=made))


@pytest.mark.parametrize(
    ("mode", "sockname", "port"),
    [
        (REGULAR, ("127.0.0.1", 8081), 8081),
        (REGULAR, ("::1", 8081, 0, 0), 8081),
        (WIREGUARD, ("93.184.216.34", 443), 51820),
        (LOCAL, ("93.184.216.34", 443), None),
        (ProxyMode.parse("regular@8082"), ("127.0.0.1", 8082), 8082),  # which the options no longer have
        (ProxyMode.parse("regular@8082"), None, None),
    ],
)
def test_port_is_that_of_the_mode(mode: ProxyMode, sockname: Any, port: int | None) -> None:
    client = tflow.tclient_conn()
    client.proxy_mode, client.sockname = mode, sockname
    assert listening_port(client) == port
