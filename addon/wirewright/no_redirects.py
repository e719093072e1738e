"""WebSocket connections that follow no redirect."""

from websockets.asyncio.client import connect


class ConnectWithoutRedirects(connect):
    """A connection attempt that follows no redirect: tokens and cookies are for one server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc
