"""A mitmproxy inside this program."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from wirewright.model import running_proxies
from wirewright.model.code_places import caller_text
from wirewright.model.errors import Error
from wirewright.model.misuse import AsyncBlock
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_loop import RunningProxy
from wirewright.state import control, proxy

if TYPE_CHECKING:
    from mitmproxy.master import Master

__tracebackhide__ = True  # pytest shows the line that calls

DEFAULT_CONFDIR = Path("~/.mitmproxy")
"""mitmproxy's own folder: an app that already trusts its CA goes on trusting it."""


class launch(AsyncBlock):  # noqa: N801  used like a function, as in Playwright
    """Run mitmproxy with Wirewright inside this program, in the event loop of the caller.

        async with launch(port=0) as proxy:
            print(proxy.port, proxy.ca_certificate)

    `port` 0 takes a free one. `mode` is a list of mitmproxy's modes (`["regular"]`, `["reverse:http://host"]`,
    ...). `options` are any of mitmproxy's options by name, such as `{"ssl_insecure": True}`. `confdir` is the
    folder with the CA. Connections to servers are made when they are needed (`connection_strategy` is
    `lazy` unless `options` say otherwise), so that one that fails is seen as the socket's failure.

    What a listener or a handler raises is logged, on stderr if the program has set up no logging.

    The value is `wirewright.proxy`. At the end of the block its sockets are closed, its waits fail with
    Error("Proxy closed"), and listeners and routes that were registered inside the block are removed.

    Raises Error, in one sentence, for a port in use, a bad mode or option, a script that is missing or fails,
    and when a proxy runs in this process already.
    """

    _expression, _value, _without_effect = "launch(...)", "proxy", "no proxy runs"

    def __init__(
        self,
        port: int = 8080,
        *,
        host: str = "127.0.0.1",
        mode: Sequence[str] = ("regular",),
        options: Mapping[str, Any] | None = None,
        confdir: str | Path | None = None,
    ) -> None:
        if isinstance(mode, str):
            raise TypeError(f"mode must be a list of modes, such as [{mode!r}]")
        self._options: dict[str, Any] = {
            "listen_host": host,
            "listen_port": port,
            "mode": list(mode),
            "confdir": str(confdir or DEFAULT_CONFDIR),
            "connection_strategy": "lazy",
            **(options or {}),
        }
        self._master: Master | None = None
        self._error_handler: logging.Handler | None = None
        self._before = control.settings()
        self._launched = caller_text()
        """The code that launches it."""
        self._must_be_entered()

    async def __aenter__(self) -> Proxy:
        self._entered()
        global _running
        if _running is not None:
            raise Error(
                f"a proxy runs in this process already, launched {_running}: use that one, or leave its "
                "block before you launch another"
            )
        _running = self._launched
        # The import takes most of a second: whoever only connects to a proxy elsewhere never pays for it.
        from wirewright.mitm.master import start, stop

        self._before = control.settings()
        had_handlers = logging.getLogger().hasHandlers()
        try:
            self._master = await start(self._options)
            self._registered = RunningProxy(proxy, control)
            await running_proxies.begin(self._registered)
        except BaseException:
            if self._master is not None:
                await stop(self._master)
            await self._end()
            raise
        self._error_handler = _show_errors(had_handlers)
        return proxy

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        from wirewright.mitm.master import stop

        assert self._master is not None
        try:
            await running_proxies.end(self._registered)
            await stop(self._master)
        finally:
            await self._end()

    async def _end(self) -> None:
        global _running
        try:
            await control.end(self._before)
        finally:
            if self._error_handler is not None:
                logging.getLogger().removeHandler(self._error_handler)
            _running = None


_running: str | None = None
"""The code that launched the proxy that runs."""


def _show_errors(had_handlers: bool) -> logging.Handler | None:
    """Print warnings and errors on stderr if the program has not set up logging.

    Python would do that by itself, but mitmproxy adds a handler, which prints nothing.
    """
    if had_handlers or logging.lastResort is None:
        return None
    logging.getLogger().addHandler(logging.lastResort)
    return logging.lastResort
