"""The name with which an app logs in at the proxy, whichever addon is called first."""

from collections.abc import AsyncIterator

import pytest
from mitmproxy.addons.proxyauth import ProxyAuth, mkauth
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons, tflow

from wirewright.mitm.origins import proxy_user


@pytest.fixture
async def addon() -> AsyncIterator[ProxyAuth]:
    with taddons.context() as context:
        made = ProxyAuth()
        context.master.addons.add(made)
        context.configure(made, proxyauth="ann:secret")
        yield made


async def test_name_is_that_of_a_login_that_is_right(addon: ProxyAuth) -> None:
    flow = tflow.tflow()
    assert proxy_user(flow) is None
    flow.request.headers["Proxy-Authorization"] = mkauth("ann", "secret")
    assert proxy_user(flow) == "ann"
    addon.requestheaders(flow)  # takes the field out
    assert "Proxy-Authorization" not in flow.request.headers
    assert proxy_user(flow) == "ann"


@pytest.mark.parametrize("field", [mkauth("ann", "wrong"), "Basic", "Basic !", "Bearer ann:secret", ""])
async def test_failed_login_has_no_name(addon: ProxyAuth, field: str) -> None:
    flow = tflow.tflow()
    flow.request.headers["Proxy-Authorization"] = field
    assert proxy_user(flow) is None


async def test_login_of_a_connect_holds_for_its_connection(addon: ProxyAuth) -> None:
    connecting = tflow.tflow()
    connecting.request.headers["Proxy-Authorization"] = mkauth("ann", "secret")
    addon.http_connect(connecting)
    flow = tflow.tflow(client_conn=connecting.client_conn)
    assert proxy_user(flow) == "ann"
    assert proxy_user(tflow.tflow(client_conn=tflow.tclient_conn())) is None


async def test_login_at_a_reverse_proxy_is_that_of_a_server(addon: ProxyAuth) -> None:
    flow = tflow.tflow()
    flow.client_conn.proxy_mode = ProxyMode.parse("reverse:http://example.com")
    flow.request.headers["Authorization"] = mkauth("ann", "secret")
    assert proxy_user(flow) == "ann"


async def test_without_the_option_there_is_no_name(addon: ProxyAuth) -> None:
    flow = tflow.tflow()
    flow.request.headers["Proxy-Authorization"] = mkauth("ann", "secret")
    addon.validator = None
    assert proxy_user(flow) is None
