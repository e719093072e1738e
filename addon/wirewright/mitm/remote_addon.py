"""Serves the API to other processes, if `ws_remote` asks for it."""

from pathlib import Path
from typing import Any

from mitmproxy import addonmanager, ctx, exceptions

from wirewright.model.errors import Error
from wirewright.printable import get_logger
from wirewright.requirements import RequirementError, require
from wirewright.state import control

logger = get_logger(__name__)


class RemoteAddon:
    """Listens from the moment that the proxy runs until it ends."""

    name = "wirewright-remote"

    def __init__(self) -> None:
        self._is_running = False
        self._server: Any = None
        self._listener: Any = None

    def load(self, loader: addonmanager.Loader) -> None:
        loader.add_option(
            "ws_remote",
            str,
            "",
            "Serve the API to other processes of this user's at this address: 127.0.0.1:0 (any free port) or "
            "unix:/path. Nothing is served without it.",
        )
        loader.add_option(
            "ws_remote_insecure_bind",
            bool,
            False,
            "Allow a ws_remote that other machines can reach; it needs a ws_remote_cert.",
        )
        loader.add_option(
            "ws_remote_cert", str, "", "The PEM file with the certificate, and the key, of ws_remote."
        )

    def configure(self, updated: set[str]) -> None:
        if self._is_running and any(option.startswith("ws_remote") for option in updated):
            raise exceptions.OptionsError("ws_remote can be set only before the proxy starts.")

    @property
    def shown(self) -> str | None:
        """Where the API is served, for a person; None where it is not."""
        listener = self._listener
        is_served = listener is not None and listener.file is not None
        return f"{listener.endpoint.address} ({listener.file})" if is_served else None

    async def running(self) -> None:
        self._is_running = True
        if not ctx.options.ws_remote:
            return
        try:
            await self._serve()
        except (Error, RequirementError) as error:
            logger.error("%s", error)
        else:
            logger.info("The API is served at %s", self._listener.endpoint.address)

    async def _serve(self) -> None:
        require(["msgspec", "websockets"])
        # Imported here, so that a proxy without ws_remote starts faster.
        from wirewright.remote.server import RemoteServer
        from wirewright.remote.transport import Listener

        options = ctx.options
        path = options.ws_remote_cert
        certificate = Path(path).expanduser() if path else None  # noqa: ASYNC240
        self._server = RemoteServer(control)
        self._listener = Listener(
            self._server.serve, allow_other_machines=options.ws_remote_insecure_bind, certificate=certificate
        )
        try:
            await self._listener.start(options.ws_remote)
        except BaseException:
            self._stop()
            raise

    def done(self) -> None:
        # mitmproxy awaits no `done` where it loads a script anew.
        self._is_running = False
        self._stop()

    def _stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._server.stop()
            listener.stop()
            control.proxy._scope.start(listener.stopped(), None, self)
