"""The name with which an app logs in at the proxy: mitmproxy's addon `proxyauth` asks for it."""

from mitmproxy import connection, ctx, http
from mitmproxy.addons.proxyauth import ProxyAuth, http_auth_header, is_http_proxy, parse_http_basic_auth


def connection_user(client: connection.Client) -> str | None:
    """The name with which a CONNECT or SOCKS connection has logged in; None if it has not."""
    addon = ctx.master.addons.get("proxyauth")
    login = addon.authenticated.get(client) if isinstance(addon, ProxyAuth) else None
    return None if login is None else str(login[0])


def proxy_user(flow: http.HTTPFlow) -> str | None:
    """The name of the user; None without the option `proxyauth`, and for a failed login.

    The addon notes it in the flow, but in `launch` it is called after ours.
    """
    addon = ctx.master.addons.get("proxyauth")
    if not isinstance(addon, ProxyAuth) or addon.validator is None:
        return None
    # A CONNECT, or SOCKS, logs in for all requests of its connection.
    login = flow.metadata.get("proxyauth") or addon.authenticated.get(flow.client_conn)
    if login is not None:
        name: str = login[0]
        return name
    field = flow.request.headers.get(http_auth_header(is_http_proxy(flow)), "")
    try:
        _, user, password = parse_http_basic_auth(field)
        return user if addon.validator(user, password) else None
    except Exception:  # as in the addon: it is not a login, or the directory server does not answer
        return None
