"""The async API: a proxy inside this program, or (`connect`) one that runs elsewhere.

    async with connect() as proxy:
        async with proxy.expect_websocket("**/live") as opened:
            phone.open_app()
        ws = await opened.value

Both have the same methods. Calls such as `route_web_socket` and `start_capture` may be awaited. A proxy that
runs elsewhere has then carried out the command, or the await raises its Error.
"""

import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

from wirewright.launcher import launch
from wirewright.model import public_names, running_proxies
from wirewright.model.assertions import expect
from wirewright.model.context_filter import ContextFilter
from wirewright.model.event_wait import to_milliseconds
from wirewright.model.matching import UrlMatch as UrlMatch  # mypy does not follow `__all__ +=`
from wirewright.model.misuse import AsyncBlock
from wirewright.model.proxy import Proxy as Proxy
from wirewright.model.proxy_context import ProxyContext as ProxyContext
from wirewright.model.proxy_loop import RunningProxy
from wirewright.model.public_names import *  # noqa: F403
from wirewright.remote import discovery

__all__ = []
__all__ += public_names.__all__
__all__ += ["connect", "expect", "launch"]

ROUTE_TIMEOUT = 5_000.0
"""Milliseconds."""


class connect(AsyncBlock):  # noqa: N801  used like a function, as in Playwright
    """Use a proxy that runs in another process, with `ws_remote` set.

    `endpoint` is the address of the proxy (`ws://127.0.0.1:9000`, `unix:///path`), or its endpoint file. The
    default is the environment variable WIREWRIGHT_ENDPOINT, or else the only proxy of this user on this
    machine. The file also has the `token`, and the certificate of a `wss://` proxy. Without the file, `tls`
    is an SSLContext, or the PEM file of an authority or of the certificate. A `ws://` address of another
    machine is refused, unless `allow_cleartext` is True: the token would be sent unencrypted. Redirects are
    not followed.

    The proxy reports only sockets whose URL matches `url`, a glob or a regex, and of their messages only
    `events`. A route's handler has `route_timeout` milliseconds for each answer. If it takes longer, or this
    program ends, `route_fallback` applies to its socket: `"pass"`, as if there were no route, or `"drop"`.

    Raises Error if no proxy can be reached. The end of the block removes its routes and listeners.
    """

    _expression, _value, _without_effect = "connect(...)", "proxy", "nothing is connected"

    def __init__(
        self,
        endpoint: str | Path | None = None,
        *,
        token: str | None = None,
        url: UrlMatch | None = None,
        events: Sequence[Literal["framesent", "framereceived"]] = ("framesent", "framereceived"),
        route_timeout: float = ROUTE_TIMEOUT,
        route_fallback: Literal["pass", "drop"] = "pass",
        tls: ssl.SSLContext | str | Path | None = None,
        allow_cleartext: bool = False,
    ) -> None:
        if isinstance(events, str) or not set(events) <= {"framesent", "framereceived"}:
            raise ValueError(f'events must be a list of "framesent" and "framereceived", not {events!r}')
        if route_fallback not in ("pass", "drop"):
            raise ValueError(f"route_fallback must be 'pass' or 'drop', not {route_fallback!r}")
        self._endpoint, self._tls, self._allow_cleartext = endpoint, tls, allow_cleartext
        self._token = None if token is None else discovery.Token(token)
        self._url, self._events = url, events
        self._route_timeout = to_milliseconds(route_timeout)
        self._route_fallback: Literal["pass", "drop"] = route_fallback
        self._context: ContextFilter | None = None
        self._must_be_entered()

    def context(
        self, *, client: str | None = None, port: int | None = None, user: str | None = None
    ) -> AbstractAsyncContextManager[ProxyContext]:
        """The same connection for the sockets of one device, port or user alone.

            async with connect().context(user="phone-2") as phone:
                await phone.wait_for_websocket("**/live")

        The value is a context, as of `Proxy.context`. Of other sockets the proxy reports only the URL and the
        device, for the errors of waits.
        Raises ValueError and TypeError for a wrong argument, or none.
        """
        self._misused()  # there is no other report if this raises
        self._context = ContextFilter(client, port, user)
        self._must_be_entered()
        return self  # type: ignore[return-value]  # its value is a context now

    async def __aenter__(self) -> Proxy:
        self._entered()
        from wirewright.remote.client import Client
        from wirewright.remote.transport import reach

        connection = await reach(
            discovery.find(self._endpoint, self._token),
            tls=self._tls,
            allow_cleartext=self._allow_cleartext,
        )
        self._client = Client(
            connection,
            route_timeout=self._route_timeout,
            route_fallback=self._route_fallback,
        )
        try:
            await self._client.start(self._url, self._events, self._context)
            proxy: Proxy = self._client.proxy
            if (device := self._context) is not None:
                context = proxy.context(client=device.client, port=device.port, user=device.user)
                proxy = await context.__aenter__()
            self._registered = RunningProxy(proxy, self._client.control)
            await running_proxies.begin(self._registered)
        except BaseException:
            await self._client.stop()
            raise
        return proxy

    async def __aexit__(self, *_: object) -> None:
        try:
            await running_proxies.end(self._registered)
        finally:
            await self._client.stop()
