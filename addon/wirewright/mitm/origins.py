"""The origins of mitmproxy's connections and flows. Its addon `proxyauth` knows the users."""

from mitmproxy import connection, ctx, http
from mitmproxy.addons.proxyauth import ProxyAuth, http_auth_header, is_http_proxy, parse_http_basic_auth

from wirewright.mitm.flow_socket import proxyserver
from wirewright.model.origin import Origin


def connection_origin(client: connection.Client) -> Origin:
    """The origin of a connection that is not a WebSocket yet."""
    return _origin(client, connection_user(client))


def flow_origin(flow: http.HTTPFlow) -> Origin:
    """The origin of a request."""
    return _origin(flow.client_conn, proxy_user(flow))


def _origin(client: connection.Client, user: str | None) -> Origin:
    return Origin(client.peername[:2] if client.peername else None, listening_port(client), user)


def listening_port(client: connection.Client) -> int | None:
    """The port of the proxy that an app has connected to; None where its mode has none (local capture).

    In some modes, such as WireGuard's, the address that the app has connected to is that of the server.
    """
    server = next((each for each in proxyserver().servers if each.mode == client.proxy_mode), None)
    connected_to: int | None = client.sockname[1] if client.sockname else None
    if server is None:  # the mode was taken out of the options
        return connected_to
    ports = [address[1] for address in server.listen_addrs]
    return connected_to if connected_to in ports else next(iter(ports), None)


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
