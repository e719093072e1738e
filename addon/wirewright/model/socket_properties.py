"""The properties of a socket: its URL, both sides of its handshake, its addresses and its end."""

from wirewright.model.handshake import HandshakeRequest, Headers
from wirewright.model.origin import Origin
from wirewright.model.socket_state import SocketState
from wirewright.values import ClosedBy


class SocketProperties:
    """A part of `WebSocket`. Nothing here can be changed."""

    _handshake: HandshakeRequest
    _origin: Origin
    _state: SocketState

    @property
    def url(self) -> str:
        """The `ws://` or `wss://` URL that the app asked for, with no fragment."""
        return self._handshake.url

    def is_closed(self) -> bool:
        """True once the socket is over: already in `close` listeners, but not yet in `socketerror` ones."""
        return self._state.closed_at is not None

    @property
    def request_headers(self) -> dict[str, str]:
        """The header fields of the handshake's request, by names in lower case.

        They are the app's own until the request is sent, and then those that the server was sent. Values of a
        name that occurs again are joined by ", ", those of `cookie` by "; ".
        """
        return self._state.request_headers.as_dict()

    @property
    def response_headers(self) -> dict[str, str] | None:
        """The header fields of the handshake's answer, by names in lower case; None until there is one.

        Values of a name that occurs again are joined by ", ", those of `set-cookie` by a newline.
        """
        return None if self._state.response_headers is None else self._state.response_headers.as_dict()

    def request_headers_array(self) -> list[dict[str, str]]:
        """Each field of the request as `{"name": ..., "value": ...}`: in wire order, names as written.

        https://playwright.dev/python/docs/api/class-request#request-headers-array
        """
        return self._state.request_headers.as_array()

    def response_headers_array(self) -> list[dict[str, str]] | None:
        """Each field of the answer as `{"name": ..., "value": ...}`; None until there is one."""
        return None if self._state.response_headers is None else self._state.response_headers.as_array()

    @property
    def status(self) -> int | None:
        """The HTTP status of the handshake's answer: 101 for an open socket, None before an answer."""
        return self._state.status

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose, or None."""
        return (self._state.response_headers or Headers()).get("sec-websocket-protocol")

    @property
    def client_address(self) -> tuple[str, int] | None:
        """The app's host and port, as the proxy sees them."""
        return self._origin.client_address

    @property
    def proxy_port(self) -> int | None:
        """The port of the proxy that the app connected to; None where its mode has none (local capture)."""
        return self._origin.proxy_port

    @property
    def proxy_user(self) -> str | None:
        """The name with which the app logged in at the proxy; None without mitmproxy's `proxyauth`."""
        return self._origin.proxy_user

    @property
    def server_address(self) -> tuple[str, int] | None:
        """The server's host and port, once the socket is open; None for a mocked one."""
        return self._state.server_address

    @property
    def opened_at(self) -> float | None:
        """Seconds since the epoch; None for a socket that is not open yet, or never was."""
        return self._state.opened_at

    @property
    def closed_at(self) -> float | None:
        """Seconds since the epoch; None while the socket is open."""
        return self._state.closed_at

    @property
    def close_code(self) -> int | None:
        """RFC 6455, 7.4: 1005 for a close frame without a code, 1006 where the TCP connection just ended.

        None while the socket is open, and where the handshake's answer was no 101.
        """
        return self._state.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason of the close frame, "" where it had none. If the proxy ended the socket without one,
        this is what did it, such as "answered by block_list".

        None while the socket is open, and where the handshake failed without the proxy.
        """
        return self._state.close_reason

    @property
    def error(self) -> str | None:
        """The sentence of `socketerror`, such as `net::ERR_CONNECTION_REFUSED`; None if there was none."""
        return self._state.error

    @property
    def closed_by(self) -> ClosedBy | None:
        """The end that closed the socket; None while it is open, and if that is not known.

        "proxy" stands for mitmproxy, its addons, and your own calls; `close_reason` says which.
        """
        return self._state.closed_by

    @property
    def route_errors(self) -> int:
        """How often a handler of this socket's route has raised. Each time is logged."""
        return self._state.route_errors
