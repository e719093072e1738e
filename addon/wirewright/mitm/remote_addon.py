"""Serves the API to other processes, if `ws_remote` asks for it."""

from pathlib import Path

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
        self._served: _Served | None = None

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
        return None if self._served is None else f"{self._served.address} ({self._served.file})"

    async def running(self) -> None:
        self._is_running = True
        options = ctx.options
        if not options.ws_remote:
            return
        served = _Served()
        try:
            await served.start(options.ws_remote, options.ws_remote_insecure_bind, options.ws_remote_cert)
        except (Error, RequirementError) as error:
            logger.error("%s", error)
            return
        self._served = served
        logger.info("The API is served at %s", served.address)

    def done(self) -> None:
        # mitmproxy awaits no `done` where it loads a script anew.
        self._is_running = False
        served, self._served = self._served, None
        if served is not None:
            served.stop()


class _Served:
    """A server and its listener; what they import is paid for by those alone who ask for them."""

    async def start(self, address: str, may_be_far: bool, certificate: str) -> None:
        require(["msgspec", "websockets"])
        from wirewright.remote.server import RemoteServer
        from wirewright.remote.transport import Listener

        path = Path(certificate).expanduser() if certificate else None  # noqa: ASYNC240
        self._server = RemoteServer(control)
        self._listener = Listener(self._server.serve, may_be_far=may_be_far, certificate=path)
        try:
            await self._listener.start(address)
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        return self._listener.endpoint.address

    @property
    def file(self) -> Path | None:
        return self._listener.file

    def stop(self) -> None:
        self._server.stop()
        self._listener.stop()
        control.proxy._scope.start(self._listener.stopped(), None, self)
