"""The opening handshake: what is one, and what answers it. RFC 6455, section 4."""

import base64
import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from string import punctuation
from typing import Any
from urllib.parse import quote, urlsplit

from wirewright.model.origin import Origin
from wirewright.model.urls import normalize_url

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SCHEMES = {"http": "ws", "https": "wss"}
_UPSTREAM_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_SEPARATORS = {"cookie": "; ", "set-cookie": "\n"}
"""Between the values of a name that occurs more than once (RFC 6265, 5.4 and 3). All others: ", "."""

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_HANDSHAKE_FIELDS = frozenset(
    {"content-length", "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol"}
)
"""Fields of a 101 that answer those of the request (RFC 6455, 4.2.2), and the length, which a 101 must not
have (RFC 9110, 8.6)."""
_FIELD_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_UNSAFE_CHARACTERS = re.compile(r"[\r\n\0]")
_LONGEST_CACHED_NAME = 64
"""Characters."""
_AUTHORITY = re.compile(r"[^/?#@\\\s]+")
_SURROGATE = re.compile("[\ud800-\udfff]")

HeaderFields = Mapping[str, str] | Iterable[tuple[str, str] | Mapping[str, str]]
"""Header fields that a user gives: a mapping, or a list of (name, value) pairs or of
`{"name": ..., "value": ...}`, in which a name may occur again."""
HeaderChanges = Mapping[str, str | None] | Iterable[tuple[str, str | None] | Mapping[str, str | None]]
"""The same, but a value of None takes all fields of that name out."""


class Headers(Mapping[str, str]):
    """The header fields of one HTTP message, immutable: in wire order, with names as they were written.

    As a mapping it has lower-case names. The values of a name that occurs more than once are joined: by ", "
    (RFC 9110, 5.3), those of `cookie` by "; " (RFC 6265, 5.4), and those of `set-cookie`, which cannot be
    joined by a comma, by a newline, as in Playwright. Bytes that are not UTF-8 are surrogates (PEP 383), as
    in mitmproxy.
    """

    __slots__ = ("_joined", "pairs")

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        """Raises TypeError for a name or a value that is not a str."""
        self._joined: dict[str, str] | None = None
        self.pairs: tuple[tuple[str, str], ...]
        if isinstance(fields, Headers):
            self.pairs = fields.pairs
        else:
            given = fields.items() if isinstance(fields, Mapping) else fields
            self.pairs = tuple(pair for name, value in given for pair in _pairs(name, value))

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"

    def __getitem__(self, name: str) -> str:
        return self._mapping()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self._mapping())

    def _mapping(self) -> dict[str, str]:
        """The joined values by lower-case name. Made once: a request may have 100,000 fields."""
        if self._joined is None:
            values: dict[str, list[str]] = {}
            for name, value in self.pairs:
                values.setdefault(_deduplicated(name.lower()), []).append(value)
            self._joined = {name: _SEPARATORS.get(name, ", ").join(each) for name, each in values.items()}
        return self._joined

    def __eq__(self, other: object) -> bool:
        """The same fields in the same order; compared with another mapping, the same joined values."""
        return self.pairs == other.pairs if isinstance(other, Headers) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # it equals a dict, which has none

    def get_all(self, name: str) -> list[str]:
        """The values of a name, in wire order."""
        name = name.lower()
        return [value for other, value in self.pairs if other.lower() == name]

    def as_dict(self) -> dict[str, str]:
        """The joined values, as Playwright's `Request.headers`."""
        return dict(self._mapping())

    def as_array(self) -> list[dict[str, str]]:
        """Each field as `{"name": ..., "value": ...}`, as Playwright's `Request.headers_array()`."""
        return [{"name": name, "value": value} for name, value in self.pairs]

    def octets(self) -> list[tuple[str, str]]:
        """The fields with a character for each byte of the wire (ISO 8859-1; RFC 9110, 5.5)."""
        return [(to_octets(name), to_octets(value)) for name, value in self.pairs]

    def readable(self) -> "Headers":
        """Without surrogates: a field that is not UTF-8 is read as ISO 8859-1, as in a browser."""
        if all(name.isascii() and value.isascii() for name, value in self.pairs):
            return self
        return Headers((_readable(name), _readable(value)) for name, value in self.pairs)

    def end_to_end(self) -> "Headers":
        """The fields that are not about one connection alone (RFC 9110, 7.6.1)."""
        named = {token.lower() for token in split_tokens(self.get("connection", ""))}
        return self.without(_HOP_BY_HOP | named)

    def of_acceptance(self) -> "Headers":
        """The fields of a 101 that do not belong to its handshake, its connection or its framing."""
        return self.end_to_end().without(_HANDSHAKE_FIELDS)

    def without(self, names: Container[str]) -> "Headers":
        """The fields of all other names. `names` are in lower case."""
        return Headers(pair for pair in self.pairs if pair[0].lower() not in names)


def _pairs(name: str, value: str) -> Iterable[tuple[str, str]]:
    if not (isinstance(name, str) and isinstance(value, str)):
        raise TypeError(f"a header's name and value must be str, not {name!r} and {value!r}")
    name = _deduplicated(name)
    if "\n" in value and name.lower() == "set-cookie":  # joined by a mapping, as above
        return [(name, each) for each in value.split("\n")]
    return ((name, value),)


def _deduplicated(name: str) -> str:
    """An equal string, for a short name usually the same: thousands of sockets have the same few names."""
    return _cached_name(name) if len(name) <= _LONGEST_CACHED_NAME else name


@lru_cache(maxsize=256)
def _cached_name(name: str) -> str:
    return name  # not `sys.intern`: some Pythons keep an interned string for ever


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """The request of an app that opens a socket."""

    url: str
    headers: Mapping[str, str] = field(default_factory=Headers)
    origin: Origin = field(default_factory=Origin)
    flow: Any = None
    """mitmproxy's flow, in the proxy's own process."""


def is_handshake(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if the header fields of a request ask for a WebSocket: an `Upgrade` field names it.

    A client must also send GET and `Connection: Upgrade` (RFC 6455, 4.1). Some servers answer requests
    without them with a 101, and mitmproxy then opens a WebSocket. So the method and the other fields do not
    count.
    """
    return any(name.lower() == b"upgrade" and b"websocket" in value.lower() for name, value in fields)


def split_tokens(value: str) -> list[str]:
    """The elements of a comma-separated header value."""
    return [token for token in (part.strip() for part in value.split(",")) if token]


def websocket_url(url: str) -> str:
    """The `ws` or `wss` URL of an `http` or `https` one, without a fragment, its origin normalized."""
    scheme, separator, rest = url.partition("#")[0].partition("://")
    return normalize_url(_SCHEMES.get(scheme.lower(), scheme) + separator + rest)


def asked_url(scheme: str, host_header: str | None, host: str, port: int, path: str) -> str:
    """The URL that an app asked for: by the name in its Host header, whatever address the proxy was told.

    Never raises: routes must see a request whose host no browser accepts, too. Such a host stays as it was
    written. Bytes that are not UTF-8 are percent-encoded. A Host header that is not a host and a port is
    ignored.
    """
    if not (host_header and _is_authority(host_header)):
        host_header = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = _without_surrogates(f"{scheme}://{host_header}{path if path.startswith('/') else f'/{path}'}")
    try:
        return websocket_url(url)
    except ValueError:
        scheme, _, rest = url.partition("#")[0].partition("://")
        return f"{_SCHEMES.get(scheme.lower(), scheme)}://{rest}"


def _is_authority(host_header: str) -> bool:
    """True for a host and perhaps a port, as all readers of URLs take them (RFC 9110, 7.2)."""
    try:
        urlsplit(f"//{host_header}").port  # noqa: B018  raises ValueError
    except ValueError:
        return False
    return _AUTHORITY.fullmatch(host_header) is not None


def _without_surrogates(text: str) -> str:
    """Text in which each byte that is not UTF-8 (PEP 383) is percent-encoded (RFC 3986, 2.1)."""
    return _SURROGATE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


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
    # This makes the origin ASCII. The path and the query must be ASCII, too (RFC 3986, 2.1).
    return quote(normalize_url(f"{_UPSTREAM_SCHEMES[scheme.lower()]}://{rest}"), safe=punctuation)


def to_octets(text: str) -> str:
    """The bytes of a header's name or value, each as a character."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def from_octets(octets: str) -> str:
    """A header's name or value. Raises ValueError for a character that is not a byte."""
    return octets if octets.isascii() else octets.encode("latin-1").decode("utf-8", "surrogateescape")


def _readable(text: str) -> str:
    octets = text.encode("utf-8", "surrogateescape")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def field_fault(name: str, value: str) -> str | None:
    """Why a header field of a file must not be sent; None if it may.

    A CR, LF or NUL would end it, and begin another one (RFC 9110, 5.5). Its name is a token (5.1 and 5.6.2).
    """
    if _UNSAFE_CHARACTERS.search(name) or _UNSAFE_CHARACTERS.search(value):
        return "a header has a line end or a NUL"
    if name.startswith(":"):
        return "a pseudo-header field is not a header field"  # RFC 9113, 8.3
    return None if _FIELD_NAME.fullmatch(name) else "the name of a header is not a token"


def received_headers(fields: Iterable[tuple[str, str]]) -> Headers:
    """Fields that came from an app or a server, each CR, LF and NUL in a value as a space (RFC 9110, 5.5)."""
    return Headers(
        (name, value if value.isprintable() else _UNSAFE_CHARACTERS.sub(" ", value)) for name, value in fields
    )


def sendable_headers(given: HeaderFields | None) -> Headers:
    """The fields that a user gives. Raises TypeError and ValueError for those that cannot be sent."""
    headers = Headers(_given_pairs(given or ()))
    for name, value in headers.pairs:
        if not _FIELD_NAME.fullmatch(name):
            raise ValueError(f"a header's name must be a token (RFC 9110, 5.6.2), not {name!r}")
        if _UNSAFE_CHARACTERS.search(value):  # the value may be a secret, and is not shown
            raise ValueError(f"the value of the header {name} must have no line end or NUL (RFC 9110, 5.5)")
        try:
            to_octets(value)
        except UnicodeEncodeError:
            raise ValueError(f"a header's value must be text, not {value!r}") from None
    return headers


def header_changes(given: HeaderChanges | None) -> tuple[tuple[str, str | None], ...]:
    """The changes that a user gives, first those that take fields out. Raises TypeError and ValueError."""
    pairs = _given_pairs(given or ())
    taken_out = sendable_headers((name, "") for name, value in pairs if value is None)
    set_anew = sendable_headers((name, value) for name, value in pairs if value is not None)
    return (*((name, None) for name, _ in taken_out.pairs), *set_anew.pairs)


def _given_pairs(given: Any) -> list[tuple[Any, Any]]:
    try:
        fields = given.items() if isinstance(given, Mapping) else list(given)
        pairs = [
            (each["name"], each["value"]) if isinstance(each, Mapping) else tuple(each) for each in fields
        ]
    except (TypeError, KeyError):
        pairs = [()]
    if isinstance(given, (str, bytes)) or any(len(pair) != 2 for pair in pairs):
        raise TypeError(f"headers must be a mapping or (name, value) pairs, not {given!r}")
    return pairs


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.strip().encode() + _GUID).digest()).decode()  # noqa: S324


def accepts(request: Mapping[str, str], response: Mapping[str, str]) -> bool:
    """True if the server's answer belongs to the key of the request."""
    return response.get("sec-websocket-accept", "") == accept_key(request.get("sec-websocket-key", ""))
