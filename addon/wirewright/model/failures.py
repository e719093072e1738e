"""How a socket's failure is worded: in the sentences of Chromium, as Playwright reports them."""

import re
from collections.abc import Mapping

WRONG_ACCEPT = "Error during WebSocket handshake: Incorrect 'Sec-WebSocket-Accept' header value"

_CONNECT_FAILURES = (
    (
        re.compile(r"Errno 111|Errno 61|WinError 1225|Connect call failed|refused", re.I),
        "ERR_CONNECTION_REFUSED",
    ),
    (
        re.compile(r"Name or service not known|nodename nor servname|getaddrinfo|No address", re.I),
        "ERR_NAME_NOT_RESOLVED",
    ),
    (re.compile(r"certificate|CERTIFICATE_VERIFY_FAILED", re.I), "ERR_CERT_AUTHORITY_INVALID"),
    (re.compile(r"unreachable", re.I), "ERR_ADDRESS_UNREACHABLE"),
    (re.compile(r"timed? ?out", re.I), "ERR_CONNECTION_TIMED_OUT"),
)

_VIOLATIONS = (
    (re.compile(r"Invalid opcode 0x(?P<opcode>[0-9a-f]+)"), "Unrecognized frame opcode: {opcode}"),
    (re.compile(r"'utf-8' codec can't decode"), "Could not decode a text frame as UTF-8."),
    (
        re.compile("client received unexpected masked frame"),
        "A server must not mask any frames that it sends to the client.",
    ),
    (
        re.compile("server received unexpected unmasked frame"),
        "A client must mask all frames that it sends to the server.",
    ),
    (re.compile("Invalid attempt to fragment control frame"), "Received a fragmented control frame."),
    (re.compile("Control frame with payload len"), "Received control frame having too long payload"),
    (re.compile("Reserved bit set unexpectedly"), "One or more reserved bits are on"),
    (re.compile("unexpected CONTINUATION"), "Received unexpected continuation frame."),
    (
        re.compile("expected CONTINUATION, got"),
        "Received start of new message but previous message is unfinished.",
    ),
    (
        re.compile(
            "Error decoding CLOSE reason|CLOSE with 1 byte payload|CLOSE with invalid code"
            "|remote CLOSE with local-only reason|CLOSE with unknown reserved code"
            "|Payload length used|8-byte payload length|error in extension"
        ),
        "Received a broken frame: {text}",
    ),
)


def refusal_text(status: int, headers: Mapping[str, str]) -> str:
    """How a browser says that a handshake was answered, but not with a WebSocket."""
    if status == 401:
        return "HTTP Authentication failed; no valid credentials available"
    if status == 101 and "upgrade" not in headers:
        return "Error during WebSocket handshake: 'Upgrade' header is missing"
    if status == 101:
        upgrade = headers["upgrade"]
        return f"Error during WebSocket handshake: 'Upgrade' header value is not 'WebSocket': {upgrade}"
    return f"Error during WebSocket handshake: Unexpected response code: {status}"


def no_answer_text(error: str, *, connected: bool) -> str:
    """How a browser says that a handshake was not answered. `error` is mitmproxy's word for it.

    `connected` tells whether there was a connection to the server at all.
    """
    if connected:
        return "Connection closed before receiving a handshake response"
    for pattern, name in _CONNECT_FAILURES:
        if pattern.search(error):
            return f"Error in connection establishment: net::{name}"
    return f"Error in connection establishment: {error}"


def violation_text(code: int | None, reason: str | None) -> str | None:
    """How a browser words the protocol violation that a close code and reason stand for, or None.

    On the hooks lane a violation shows only in the close that wsproto made of it: code 1002 or 1007 and
    wsproto's own sentence.
    """
    if code not in (1002, 1007) or not reason:
        return None
    for pattern, text in _VIOLATIONS:
        if found := pattern.match(reason):
            groups = found.groupdict()
            if "opcode" in groups:
                groups["opcode"] = str(int(groups["opcode"], 16))
            return text.format(text=reason, **groups)
    return None
