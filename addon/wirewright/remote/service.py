"""The API of a running proxy, served at one address until it is stopped."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from wirewright.model.proxy_control import Control
from wirewright.remote.discovery import Endpoint
from wirewright.remote.server import RemoteServer
from wirewright.remote.transport import Listener


class RemoteService:
    """Serves remote clients of a proxy, in the proxy's event loop."""

    def __init__(
        self, control: Control, *, allow_other_machines: bool = False, certificate: Path | None = None
    ) -> None:
        """`allow_other_machines` and `certificate` are those of `Listener`."""
        self._server = RemoteServer(control)
        self._listener = Listener(
            self._server.serve, allow_other_machines=allow_other_machines, certificate=certificate
        )

    async def start(self, address: str, *, is_published: bool = True) -> None:
        """Listen, as `Listener.start`. Raises Error where that cannot be; `stop` must follow then, too."""
        await self._listener.start(address, is_published=is_published)

    @property
    def endpoint(self) -> Endpoint:
        """The address and the token, after `start`."""
        return self._listener.endpoint

    @property
    def file(self) -> Path | None:
        """The file in which clients find the endpoint; None if it is not published."""
        return self._listener.file

    def stop(self) -> Coroutine[Any, Any, None]:
        """Listen no more, and close all connections. Awaiting the result returns when they are closed."""
        self._server.stop()
        self._listener.stop()
        return self._listener.stopped()
