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
        self._service: Any = None

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
        service = self._service
        is_served = service is not None and service.file is not None
        return f"{service.endpoint.address} ({service.file})" if is_served else None

    async def running(self) -> None:
        self._is_running = True
        if not ctx.options.ws_remote:
            return
        try:
            await self._serve()
        except (Error, RequirementError) as error:
            logger.error("%s", error)
        else:
            logger.info("The API is served at %s", self._service.endpoint.address)

    async def _serve(self) -> None:
        require(["msgspec", "websockets"])
        # Imported here, so that a proxy without ws_remote starts faster.
        from wirewright.remote.service import RemoteService

        options = ctx.options
        path = options.ws_remote_cert
        certificate = Path(path).expanduser() if path else None  # noqa: ASYNC240
        self._service = RemoteService(
            control, allow_other_machines=options.ws_remote_insecure_bind, certificate=certificate
        )
        try:
            await self._service.start(options.ws_remote)
        except BaseException:
            self._stop()
            raise

    def done(self) -> None:
        # mitmproxy awaits no `done` where it loads a script anew.
        self._is_running = False
        self._stop()

    def _stop(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            control.proxy._scope.start(service.stop(), None, self)
