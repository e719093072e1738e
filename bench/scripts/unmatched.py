"""A Wirewright script with a route that no socket matches."""

from wirewright import WebSocketRoute, proxy


def mock(ws: WebSocketRoute) -> None:
    """It would be the server."""


proxy.route_web_socket("**/never-asked-for", mock)
