"""The messages between a running proxy and its clients, which docs/remote.md describes.

Pure: no sockets, no loop. Each message is a subclass of `FromProxy` or of `FromClient`, and its `type` is the
name of its class in lower case. `codec` encodes them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Literal

import msgspec

from wirewright.model.close_codes import CloseTarget
from wirewright.model.handshake import Headers, from_octets, to_octets
from wirewright.values import ClosedBy, Direction

LONGEST_TIMEOUT = 86_400_000

Fields = Sequence[tuple[str, str]]
"""Header fields in wire order, as `Headers.octets()`: a character is a byte (ISO 8859-1; RFC 9110, 5.5)."""
Event = Literal["framesent", "framereceived"]
EVENTS: tuple[Event, ...] = ("framesent", "framereceived")
Fallback = Literal["pass", "drop"]
CutBy = Literal["fin", "rst"]
Address = tuple[str, int]


class _Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, forbid_unknown_fields=True):
    pass


class FromProxy(_Message, frozen=True):
    """A message of the proxy to a client."""


class FromClient(_Message, frozen=True):
    """A message of a client to the proxy."""


class Command(FromClient, frozen=True):
    """A message with an `id`, which `Succeeded` or `Refused` answers."""


def messages_of(sender: type[FromProxy] | type[FromClient]) -> Any:
    """The union of all messages of a sender, for a decoder."""
    return reduce(or_, _leaves(sender))


def _leaves(kind: type[Any]) -> list[type[Any]]:
    return [leaf for each in kind.__subclasses__() for leaf in _leaves(each)] or [kind]


class _WithPayload(_Message, frozen=True):
    payload: Any
    """A Payload: str for text, bytes for binary."""

    def __post_init__(self) -> None:
        check_payload(self.payload)


def check_payload(payload: object) -> None:
    """Raise TypeError for what is no payload. (msgspec takes no type that is str or bytes.)"""
    if not isinstance(payload, (str, bytes)):
        raise TypeError(f"a payload must be text or bytes, not {type(payload).__name__}")


# Patterns of URLs, for rules. The handler of a rule stays in the client.


class Glob(_Message, frozen=True):
    """Playwright's glob; "" is every URL."""

    glob: str


class Globs(_Message, frozen=True):
    """Globs of a command line: one of them matches a URL, whole or up to its query."""

    globs: Sequence[str]


class Regex(_Message, frozen=True):
    """Found by `search`."""

    pattern: str
    flags: int = 0


class Function(_Message, frozen=True):
    """A function of the client's: it is asked at each handshake."""


UrlPattern = Glob | Globs | Regex
UrlRule = UrlPattern | Function

# Descriptions of sockets


class Remembered(_WithPayload, frozen=True):
    """A message of before."""

    event: Event
    at: float
    """Seconds since the epoch."""


class Snapshot(_Message, frozen=True):
    """A socket at this moment."""

    key: str
    url: str
    request_headers: Fields
    response_headers: Fields | None = None
    status: int | None = None
    client_address: Address | None = None
    server_address: Address | None = None
    opened_at: float | None = None
    history: Sequence[Remembered] = ()
    """The messages that the proxy remembers."""
    forgotten: int = 0
    """How many messages came before those."""
    left_out: int = 0
    """Bytes of the URL and of header fields that are left out, as they are too large for a client."""
    proxy_port: int | None = None
    """The port of the proxy that the app connected to."""
    proxy_user: str | None = None
    """The name with which the app logged in at the proxy."""


# From the proxy


class Welcome(FromProxy, frozen=True):
    """The answer to `Subscribe`."""

    program: str
    port: int | None
    ca_certificate: str
    """The path of its PEM file on the proxy's machine."""
    history_messages: int
    history_bytes: int
    sockets: Sequence[Snapshot]
    """The sockets of a subscribed URL that are open, or opening."""


class Opening(FromProxy, frozen=True):
    """An app asks for a socket."""

    socket: Snapshot


class Outside(FromProxy, frozen=True):
    """An app asks for a socket that the client's `device` leaves out. Nothing more of it is reported."""

    url: str
    client_address: Address | None = None
    proxy_port: int | None = None
    proxy_user: str | None = None


class Changed(FromProxy, frozen=True):
    """The handshake of a socket has gone on. The message has its present state."""

    key: str
    request_headers: Fields
    response_headers: Fields | None
    status: int | None
    opened_at: float | None
    server_address: Address | None
    left_out: int = 0
    """Bytes of header fields that are left out, as they are too large for a client."""


class Frames(FromProxy, frozen=True):
    """Messages of one direction, in their order; between directions, the order is that of these messages."""

    key: str
    event: Event
    number: int
    """The number of the first one, from 0 for each socket and event. Skipped numbers were `Missed`."""
    payloads: Sequence[Any]
    at: float

    def __post_init__(self) -> None:
        for payload in self.payloads:
            check_payload(payload)


class Missed(FromProxy, frozen=True):
    """Messages that are left out, because the client did not keep up."""

    key: str
    event: Event
    frames: int
    bytes: int


class Failed(FromProxy, frozen=True):
    """A socket's `socketerror`."""

    key: str
    message: str


class Closed(FromProxy, frozen=True):
    """A socket is over."""

    key: str
    code: int | None
    reason: str | None
    by: ClosedBy | None
    at: float | None = None
    """Seconds since the epoch."""


class Asked(FromProxy, frozen=True):
    """Asks if a rule that is a function matches a URL. `Verdict` answers; False if the rule is unknown."""

    question: int
    rule: int
    url: str


class Routed(FromProxy, frozen=True):
    """A socket opens that a rule of the client's matches: `Decided` answers."""

    rule: int
    socket: Snapshot


class RouteMessage(_WithPayload, FromProxy, frozen=True):
    """A message for the route's handler: "sent" is one of the app's. `Handled` answers."""

    key: str
    number: int
    """The next one of this direction comes after the answer."""
    direction: Direction


class RouteEnd(FromProxy, frozen=True):
    """The end of one side for the route's handler: "sent" is that of the app. `Handled` answers."""

    key: str
    number: int
    direction: Direction
    code: int
    reason: str


class RouteOver(FromProxy, frozen=True):
    """A routed socket is over, and nothing more of it is asked."""

    key: str


class RouteLost(FromProxy, frozen=True):
    """The client has taken too long: its fallback holds for this socket from now on."""

    key: str


class TlsFailed(_Message, frozen=True):
    """A TLS handshake of the proxy's with an app or a server that failed."""

    at: float
    """Seconds since the epoch."""
    side: Literal["client", "server"]
    server_name: str
    reason: str


class AppsCounted(FromProxy, frozen=True):
    """Counts of apps' connections and requests since the start of the proxy. It is sent before the
    `Succeeded` of `CountApps`."""

    connections: int
    requests: int
    """HTTP requests that are not WebSocket handshakes."""
    at: float
    """Now, in seconds since the epoch."""
    tls_failures: Sequence[TlsFailed]
    """The newest ones, oldest first."""


class Succeeded(FromProxy, frozen=True):
    """A command was carried out."""

    id: int


class Refused(FromProxy, frozen=True):
    """A command could not be carried out."""

    id: int
    kind: Literal["Error", "ValueError", "TypeError"]
    message: str


# From a client


class Device(_Message, frozen=True):
    """The apps that a context is for. A socket must have all that are given."""

    client: str | None = None
    """The IP address of the app."""
    port: int | None = None
    """The port of the proxy that it connects to."""
    user: str | None = None
    """The name with which it logs in at the proxy."""


class Subscribe(FromClient, frozen=True):
    """The first message of a client, and sent once only: the sockets and events that it subscribes to."""

    url: UrlPattern
    events: Sequence[Event] = EVENTS
    device: Device | None = None
    """None for the sockets of all apps."""


class Send(_WithPayload, Command, frozen=True):
    """Send a message in one direction of a socket: "received" goes to the app."""

    id: int
    key: str
    direction: Direction


class Close(Command, frozen=True):
    """Close a socket towards both sides, or towards one of them first."""

    id: int
    key: str
    code: int
    reason: str
    to: CloseTarget = "both"


class Abort(Command, frozen=True):
    """Cut a socket's connections."""

    id: int
    key: str
    how: CutBy = "fin"


class Conditions(Command, frozen=True):
    """Put one direction of an app's network under conditions. They end with the client."""

    id: int
    key: str
    direction: Direction
    values: Mapping[str, float | int | None]

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a number, not {value!r}")


class Offline(Command, frozen=True):
    """Take the network away from the apps of a context, or from all, until `Online`, or until the client is
    gone."""

    id: int
    context: int | None = None


class Online(Command, frozen=True):
    """End the outages of the apps of a context, or all; with `own` those that this client has begun."""

    id: int
    context: int | None = None
    own: bool = False


class OpenContext(Command, frozen=True):
    """Begin a context: routes and captures may be limited to the sockets of one device, port or user."""

    id: int
    context: int
    """The client's own number for it."""
    device: Device
    parent: int | None = None
    """The context around this one."""


class CloseContext(Command, frozen=True):
    """Remove the routes of a context, and end its capture."""

    id: int
    context: int


class Route(Command, frozen=True):
    """From now on the client decides on sockets of this URL."""

    id: int
    rule: int
    """The client's own number for it."""
    url: UrlRule
    times: int | None
    timeout: float
    """Milliseconds that it may take for each answer."""
    fallback: Fallback
    """The treatment of sockets and messages for which the client takes longer, or is gone."""
    context: int | None = None
    """The context whose sockets it is for."""

    def __post_init__(self) -> None:
        if not 0 <= self.timeout <= LONGEST_TIMEOUT:
            raise ValueError(f"timeout must be 0 (no limit) to {LONGEST_TIMEOUT:,} ms, not {self.timeout!r}")


class Unroute(Command, frozen=True):
    """Remove a rule. Sockets that are open keep their route."""

    id: int
    rule: int


class Verdict(FromClient, frozen=True):
    """True if a rule that is a function matches a URL."""

    question: int
    is_meant: bool


class Mock(_Message, frozen=True):
    """The handshake is answered by the proxy."""

    protocol: str | None
    headers: Fields = ()


class Connect(_Message, frozen=True):
    """The handshake goes to the server, or to another one."""

    headers: Sequence[tuple[str, str | None]]
    """Changes: None takes all fields of that name out."""
    url: str | None
    is_stand_in: bool = False
    """The route answers in the server's place: what is reported is the app's side."""


class Reject(_Message, frozen=True):
    """The handshake is refused."""

    status: int
    headers: Fields
    body: bytes


class Cut(_Message, frozen=True):
    """The app's connection is cut."""

    how: CutBy = "fin"


class Fail(_Message, frozen=True):
    """The handler has raised: the handshake is refused with 502."""


class Decided(FromClient, frozen=True):
    """The decision on a handshake."""

    key: str
    answer: Mock | Connect | Reject | Cut | Fail


class Handlers(FromClient, frozen=True):
    """The messages and ends of a routed socket that the client handles."""

    key: str
    app_messages: bool
    app_end: bool
    server_messages: bool
    server_end: bool


class RouteSend(_WithPayload, FromClient, frozen=True):
    """Send a message in one direction of a routed socket: "received" goes to the app."""

    key: str
    direction: Direction


class RouteClose(FromClient, frozen=True):
    """Send a close frame in one direction of a routed socket. The code 1005 stands for one without a code."""

    key: str
    direction: Direction
    code: int
    reason: str


class RouteAbort(FromClient, frozen=True):
    """Cut a routed socket's connections."""

    key: str
    how: CutBy = "fin"


class Handled(FromClient, frozen=True):
    """The handler is done with a message or an end; what it has sent came before."""

    key: str
    number: int
    direction: Direction


class StartCapture(Command, frozen=True):
    """Record sockets in a file on the proxy's machine."""

    id: int
    path: str
    url: UrlPattern
    max_payload: int | None
    redact: Sequence[str] | None
    max_size: int | None
    rotate: int | None
    min_free: int | None = None
    context: int | None = None
    """The context whose sockets are recorded."""


class StopCapture(Command, frozen=True):
    """Record no more."""

    id: int
    context: int | None = None


class Annotate(Command, frozen=True):
    """Put a remark into the capture."""

    id: int
    text: str
    context: int | None = None


class CountApps(Command, frozen=True):
    """Ask what apps have done besides opening sockets."""

    id: int


def plain(text: str) -> str:
    """Text that can be written as UTF-8. Bytes of a URL or a reason that are not UTF-8 are surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def headers_of(fields: Fields) -> Headers:
    """Header fields that were received. Raises ValueError for a character that is not a byte."""
    return Headers((from_octets(name), from_octets(value)) for name, value in fields)


def fields_of_changes(changes: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Changes of header fields as they are sent; `changes_of` reads them."""
    return [(to_octets(name), None if value is None else to_octets(value)) for name, value in changes]


def changes_of(fields: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Changes of header fields that were received. Raises ValueError for a character that is not a byte."""
    return [(from_octets(name), None if value is None else from_octets(value)) for name, value in fields]


def checked(message: Any) -> Any:
    """Return the same message. Raises TypeError if the other side would refuse one of its values."""
    plain = msgspec.to_builtins(message, builtin_types=(bytes,), str_keys=False)
    try:
        msgspec.convert(plain, type(message), builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from None
    return message
