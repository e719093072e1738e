"""The opening handshake: what is one, and what answers it. RFC 6455, section 4."""

import base64
import hashlib
import sys
from collections.abc import Iterable, Mapping
from string import punctuation
from urllib.parse import quote, urlsplit

from wirewright.model.urls import normalize_url

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SCHEMES = {"http": "ws", "https": "wss"}
_UPSTREAM_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


def is_handshake(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455, 4.1). `headers` have lower-case names."""
    return (
        method == "GET"
        and headers.get("upgrade", "").strip().lower() == "websocket"
        and "upgrade" in (token.lower() for token in split_tokens(headers.get("connection", "")))
    )


def split_tokens(value: str) -> list[str]:
    """The elements of a comma-separated header value."""
    return [token for token in (part.strip() for part in value.split(",")) if token]


def websocket_url(url: str) -> str:
    """The `ws` or `wss` URL of an `http` or `https` one, without a fragment, its origin normalized."""
    scheme, separator, rest = url.partition("#")[0].partition("://")
    return normalize_url(_SCHEMES.get(scheme.lower(), scheme) + separator + rest)


def asked_url(scheme: str, host_header: str | None, host: str, port: int, path: str) -> str:
    """The URL that an app asked for: by the name in its Host header, whatever address the proxy was told."""
    if host_header:
        return websocket_url(f"{scheme}://{host_header}{path}")
    host = f"[{host}]" if ":" in host else host
    return websocket_url(f"{scheme}://{host}:{port}{path}")


def upstream_url(url: str) -> str:
    """The `http` or `https` URL of a handshake with a `ws` or `wss` one. Raises ValueError for any other."""
    scheme, separator, rest = url.partition("://")
    parts = urlsplit(url)
    if not separator or scheme.lower() not in _UPSTREAM_SCHEMES or not parts.hostname:
        raise ValueError(f"url must be ws://host/path or wss://host/path, not {url!r}")
    if parts.fragment or parts.username is not None:
        raise ValueError(f"url must have no fragment and no user (RFC 6455, 3): {url!r}")
    if parts.port == 0:
        raise ValueError(f"url must have a port other than 0: {url!r}")
    # Its origin is ASCII then; in a path or a query, nothing else may be sent either (RFC 3986, 2.1).
    return quote(normalize_url(f"{_UPSTREAM_SCHEMES[scheme.lower()]}://{rest}"), safe=punctuation)


def fold_headers(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields as a dict with lower-case names; a name that occurs again adds to it, after ", "."""
    folded: dict[str, str] = {}
    for name, value in fields:
        name = sys.intern(name.lower())  # the same few, for each of thousands of sockets
        folded[name] = f"{folded[name]}, {value}" if name in folded else value
    return folded


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.strip().encode() + _GUID).digest()).decode()  # noqa: S324


def accepts(request: Mapping[str, str], response: Mapping[str, str]) -> bool:
    """Whether a browser would take the server's answer for its own key's."""
    return response.get("sec-websocket-accept", "") == accept_key(request.get("sec-websocket-key", ""))
