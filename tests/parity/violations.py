"""What happens to a page's socket when the server breaks the protocol: RFC 6455, 4.1 and 5 to 7."""

from unittest.mock import ANY

from parity.row import BAD_GATEWAY, CLOSED, OPENED, Event, Part, Row, error, received, sent

VIOLATION = (
    "ws_lane=hooks: mitmproxy passes on nothing that it cannot read; the app gets a close frame instead"
)


def _answer(name: str, path: str, text: str, *, protocols: tuple[str, ...] = (), opened: bool = True) -> Row:
    """A 101 that a browser refuses."""
    return Row(
        name,
        path,
        (OPENED, error(f"Error during WebSocket handshake: {text}"), CLOSED),
        (1006, "", "client") if opened else (None, None, "server"),
        1006,
        protocols=protocols,
    )


ANSWERS = (
    _answer("wrong Sec-WebSocket-Accept", "/wrong-accept", "Incorrect 'Sec-WebSocket-Accept' header value"),
    _answer("no Sec-WebSocket-Accept", "/no-accept", "'Sec-WebSocket-Accept' header is missing"),
    _answer("no Upgrade header", "/no-upgrade", "'Upgrade' header is missing", opened=False),
    _answer(
        "other Upgrade header",
        "/other-upgrade",
        "'Upgrade' header value is not 'WebSocket': h2c",
        opened=False,
    ),
    _answer("no Connection header", "/no-connection", "'Connection' header is missing"),
    _answer(
        "subprotocol that was not asked for",
        "/other-subprotocol",
        "Response must not include 'Sec-WebSocket-Protocol' header if not present in request: v9",
    ),
    _answer(
        "subprotocol that is not among those asked for",
        "/other-subprotocol",
        "'Sec-WebSocket-Protocol' header value 'v9' in response does not match any of sent values",
        protocols=("v1", "v2"),
    ),
    _answer(
        "no subprotocol though some were asked for",
        "/silent",
        "Sent non-empty 'Sec-WebSocket-Protocol' header but no response was received",
        protocols=("v1", "v2"),
    ),
    _answer(
        "extension that was not offered",
        "/extension",
        "Found an unsupported extension 'x-none' in 'Sec-WebSocket-Extensions' header",
    ),
    Row(
        "answer that is no HTTP",
        "/no-http",
        (OPENED, error("Error during WebSocket handshake: net::ERR_INVALID_HTTP_RESPONSE"), CLOSED),
        (None, None, None),
        1006,
        proxied=BAD_GATEWAY,
    ),
)


def _frame(
    name: str,
    path: str,
    text: str,
    reason: str,
    code: int = 1002,
    *,
    replies: bool = False,
    **fails: str,
) -> Row:
    """A frame that a browser refuses after "m"; with `replies`, the server waits for the page's answer first.

    On the wire its end is the browser's own close frame, in the browser's own words. `code` and `reason` are
    what mitmproxy makes of it.

    `fails` adds to what cannot hold on the hooks lane anyhow.
    """
    reply: tuple[Event, ...] = (sent("go"),) if replies else ()
    parts: dict[Part, str] = {"browser": VIOLATION, "page": VIOLATION}
    parts |= fails  # type: ignore[arg-type]
    return Row(
        name,
        path,
        (OPENED, received("m"), *reply, error(text), CLOSED),
        (1002, ANY, "client"),
        1006,
        'ws.onmessage = () => ws.send("go")' if replies else "",
        hooked_end=(code, reason, "proxy"),
        fails=parts,
    )


FRAMES = (
    _frame("unknown opcode 3", "/opcode-3", "Unrecognized frame opcode: 3", "Invalid opcode 0x3"),
    _frame(
        "unknown opcode 11",
        "/opcode-11",
        "Unrecognized frame opcode: 11",
        "Invalid opcode 0xb",
    ),
    _frame(
        "bad UTF-8 in a text message",
        "/bad-utf-8",
        "Could not decode a text frame as UTF-8.",
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        1007,
    ),
    _frame(
        "server masks a frame",
        "/masked",
        "A server must not mask any frames that it sends to the client.",
        "client received unexpected masked frame",
    ),
    _frame(
        "reserved bit",
        "/reserved-bit",
        "One or more reserved bits are on: reserved1 = 0, reserved2 = 1, reserved3 = 0",
        "Reserved bit set unexpectedly",
        wirewright="ws_lane=hooks: wsproto does not say which of the bits are on",
    ),
    _frame(
        "continuation of nothing",
        "/lone-continuation",
        "Received unexpected continuation frame.",
        "unexpected CONTINUATION",
    ),
    _frame(
        "new message before the last one ended",
        "/unfinished-message",
        "Received start of new message but previous message is unfinished.",
        "expected CONTINUATION, got <Opcode.TEXT: 1>",
    ),
    _frame(
        "fragmented ping",
        "/fragmented-ping",
        "Invalid frame header",
        "Invalid attempt to fragment control frame",
        replies=True,
    ),
    _frame(
        "ping of 126 bytes",
        "/long-ping",
        "Invalid frame header",
        "Control frame with payload len > 125",
        replies=True,
    ),
    _frame(
        "length in more bytes than it needs",
        "/long-length",
        "Invalid frame header",
        "Payload length used 2 bytes when 1 would have sufficed",
        replies=True,
    ),
    _frame(
        "compressed message that cannot be inflated",
        "/bad-deflate",
        "Invalid frame header",
        "error in extension",
        1007,
        replies=True,
    ),
)

CLOSES = (
    _frame(
        "close frame of one byte",
        "/close-of-one-byte",
        "Received a broken close frame with an invalid size of 1 byte.",
        "CLOSE with 1 byte payload",
    ),
    _frame(
        "close frame with 1005",
        "/close-1005",
        "Received a broken close frame containing a reserved status code.",
        "remote CLOSE with local-only reason",
    ),
    _frame(
        "close frame with bad UTF-8",
        "/close-with-bad-utf-8",
        "Received a broken close frame containing invalid UTF-8.",
        "Error decoding CLOSE reason: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        1007,
    ),
    Row(
        "message after the close frame",
        "/message-after-close",
        (OPENED, received("m"), error("Data frame received after close"), CLOSED),
        (1000, "done", "server"),
        1006,
        fails=dict.fromkeys(
            ("wirewright", "browser", "page"), "ws_lane=hooks: mitmproxy reads nothing after a close frame"
        ),
    ),
    Row(
        "server closes with 2999",
        "/close-2999",
        (OPENED, received("m"), CLOSED),
        (2999, "", "server"),
        2999,
        fails=dict.fromkeys(
            ("end", "page"),
            "ws_lane=hooks: wsproto takes a close code that no RFC has defined for a violation",
        ),
    ),
)
