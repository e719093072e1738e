"""How a socket's failure is worded: in the sentences of Chromium, as Playwright reports them."""

import re
from collections.abc import Mapping

from wirewright.model.handshake import accepts, split_tokens

_HANDSHAKE = "Error during WebSocket handshake: "

_SERVER_TLS_FAILURES = {
    "(?i)certificate has expired|certificate is not yet valid": "ERR_CERT_DATE_INVALID",
    "(?i)(hostname|IP address) mismatch": "ERR_CERT_COMMON_NAME_INVALID",
    "(?i)certificate revoked": "ERR_CERT_REVOKED",
    "(?i)certificate|CERTIFICATE_VERIFY_FAILED": "ERR_CERT_AUTHORITY_INVALID",
    "(?i)does not speak TLS": "ERR_SSL_PROTOCOL_ERROR",
    "(?i)agree on a TLS version|alert handshake failure": "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
    "OpenSSL Error": "ERR_SSL_PROTOCOL_ERROR",
    "connection closed$": "ERR_CONNECTION_CLOSED",
}
"""Chromium's names by regexes of mitmproxy's errors. The first one that is found counts."""
SERVER_TLS_ERRORS = tuple(f"net::{name}" for name in _SERVER_TLS_FAILURES.values())
"""Endings of the `socketerror` messages of sockets whose TLS handshake with the server failed."""

_CONNECTING = "Error in connection establishment: "
NO_ANSWER = "Connection closed before receiving a handshake response"
DISCONNECTED = f"{_CONNECTING}net::ERR_INTERNET_DISCONNECTED"
"""A handshake without a network."""
CLIENT_DISCONNECTED = "Client disconnected."
"""mitmproxy's error for an app that disconnected before the answer."""

_CONNECT_FAILURES = {
    "(?i)Errno 111|Errno 61|WinError 1225|Connect call failed|refused": "ERR_CONNECTION_REFUSED",
    "(?i)Name or service not known|nodename nor servname|getaddrinfo|No address": "ERR_NAME_NOT_RESOLVED",
    # The server's own complaints, which are alerts (RFC 8446, 6.2), come before those about its certificate.
    "alert (bad |unsupported )?certificate|alert unknown ca": "ERR_BAD_SSL_CLIENT_AUTH_CERT",
    "certificate required": "ERR_BAD_SSL_CLIENT_AUTH_CERT",
    "alert handshake failure|alert protocol version": "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
    "unrecognized name": "ERR_SSL_UNRECOGNIZED_NAME_ALERT",
    **_SERVER_TLS_FAILURES,
    "^connection closed": "ERR_CONNECTION_CLOSED",
    "(?i)Errno 104|Errno 54|WinError 10054|reset by peer": "ERR_CONNECTION_RESET",
    "(?i)unreachable": "ERR_ADDRESS_UNREACHABLE",
    "(?i)timed? ?out": "ERR_CONNECTION_TIMED_OUT",
}

_UPSTREAM_PROXY_REFUSED = re.compile(r"Upstream proxy .* refused")
_REASONS_OF_MITMPROXY = (
    re.compile(r"validate_inbound_headers"),
    re.compile(r"mitmproxy's body_size_limit"),
    re.compile(r"Connection killed"),
    _UPSTREAM_PROXY_REFUSED,
    # A status line is there, but mitmproxy cannot parse the header after it.
    re.compile(r"Cannot parse HTTP response: (?!Bad HTTP response line)"),
    re.compile(r"Bad HTTP response line: b['\"]HTTP/"),
)
"""mitmproxy's errors for answers that it refuses, although a browser may accept them."""
_FIRST_BYTES = re.compile(r"b['\"](\\x..|\\.|[^\\]){0,8}")
"""The first eight bytes of an answer, which may be cut off."""
_UNEXPECTED_ANSWER = re.compile(r"unexpected server response: (?P<bytes>b['\"].*)", re.DOTALL)

_VIOLATIONS = {
    "Invalid opcode 0x(?P<opcode>[0-9a-f]+)": "Unrecognized frame opcode: {opcode}",
    "'utf-8' codec can't decode": "Could not decode a text frame as UTF-8.",
    "client received unexpected masked": "A server must not mask any frames that it sends to the client.",
    "server received unexpected unmasked": "A client must mask all frames that it sends to the server.",
    "Reserved bit set unexpectedly": "One or more reserved bits are on",
    "unexpected CONTINUATION": "Received unexpected continuation frame.",
    "expected CONTINUATION, got": "Received start of new message but previous message is unfinished.",
    "Invalid attempt to fragment control frame|Control frame with payload len": "Invalid frame header",
    "Payload length used|8-byte payload length|error in extension": "Invalid frame header",
    "CLOSE with 1 byte payload": "Received a broken close frame with an invalid size of 1 byte.",
    "remote CLOSE with local-only reason": (
        "Received a broken close frame containing a reserved status code."
    ),
    "Error decoding CLOSE reason": "Received a broken close frame containing invalid UTF-8.",
}
"""Chromium's sentences by regexes at the beginning of wsproto's."""


def accepts_websocket(status: int, headers: Mapping[str, str]) -> bool:
    """True if an answer switches to a WebSocket (RFC 6455, 4.1). Header names are in lower case."""
    return status == 101 and headers.get("upgrade", "").lower() == "websocket"


def refusal_text(status: int, headers: Mapping[str, str]) -> str:
    """How a browser says that a handshake was answered, but not with a WebSocket."""
    if status == 401:
        return "HTTP Authentication failed; no valid credentials available"
    if status == 101 and "upgrade" not in headers:
        return f"{_HANDSHAKE}'Upgrade' header is missing"
    if status == 101:
        upgrade = headers["upgrade"]
        return f"{_HANDSHAKE}'Upgrade' header value is not 'WebSocket': {upgrade}"
    return f"{_HANDSHAKE}Unexpected response code: {status}"


def wrong_answer_text(request: Mapping[str, str], response: Mapping[str, str]) -> str | None:
    """How a browser says that a 101 does not fit its request (RFC 6455, 4.1), or None if it fits.

    Header names are in lower case. The order of the checks is Chromium's.
    """
    problem = (
        _wrong_accept(request, response)
        or _wrong_subprotocol(request, response)
        or _wrong_extension(request, response)
    )
    return problem and _HANDSHAKE + problem


def _wrong_accept(request: Mapping[str, str], response: Mapping[str, str]) -> str | None:
    if "sec-websocket-accept" not in response:
        return "'Sec-WebSocket-Accept' header is missing"
    if not accepts(request, response):
        return "Incorrect 'Sec-WebSocket-Accept' header value"
    if "connection" not in response:
        return "'Connection' header is missing"
    if "upgrade" not in (token.lower() for token in split_tokens(response["connection"])):
        return "'Connection' header value must contain 'Upgrade'"
    return None


def _wrong_subprotocol(request: Mapping[str, str], response: Mapping[str, str]) -> str | None:
    asked = split_tokens(request.get("sec-websocket-protocol", ""))
    chosen = response.get("sec-websocket-protocol")
    if chosen is None:
        return (
            "Sent non-empty 'Sec-WebSocket-Protocol' header but no response was received" if asked else None
        )
    if not asked:
        return (
            f"Response must not include 'Sec-WebSocket-Protocol' header if not present in request: {chosen}"
        )
    if chosen not in asked:
        return (
            f"'Sec-WebSocket-Protocol' header value '{chosen}' in response does not match any of sent values"
        )
    return None


def _wrong_extension(request: Mapping[str, str], response: Mapping[str, str]) -> str | None:
    offered, chosen = (
        dict.fromkeys(
            token.partition(";")[0].strip()
            for token in split_tokens(headers.get("sec-websocket-extensions", ""))
        )
        for headers in (request, response)
    )
    for name in chosen:
        if name not in offered:
            return f"Found an unsupported extension '{name}' in 'Sec-WebSocket-Extensions' header"
    return None


def no_answer_text(error: str, *, connected: bool, was_reset: bool = False) -> str:
    """How a browser says that a handshake was not answered. `error` is mitmproxy's word for it.

    `connected` is True if the proxy was connected to the server, TLS handshake included. `was_reset` is True
    if the server reset this connection. For an answer that mitmproxy refuses, the text has mitmproxy's error.
    """
    if error == CLIENT_DISCONNECTED:
        return "WebSocket is closed before the connection is established."
    if _UPSTREAM_PROXY_REFUSED.match(error):
        return "Establishing a tunnel via proxy server failed."
    if not connected:
        return _CONNECTING + _connect_failure(error, was_reset=was_reset)
    if error.startswith("Connection killed"):
        return NO_ANSWER
    if (refusal := reason_of_mitmproxy(error)) is not None:
        return f"{_HANDSHAKE}refused by mitmproxy: {refusal}"
    if error.startswith("Cannot parse HTTP response"):
        return f"{_HANDSHAKE}net::ERR_INVALID_HTTP_RESPONSE"
    if unexpected := _UNEXPECTED_ANSWER.match(error):
        if not _begins_like_http(unexpected["bytes"]):
            return f"{_HANDSHAKE}net::ERR_INVALID_HTTP_RESPONSE"
        return f"{_HANDSHAKE}net::{'ERR_CONNECTION_RESET' if was_reset else 'ERR_CONNECTION_CLOSED'}"
    return f"{_HANDSHAKE}net::ERR_CONNECTION_RESET" if was_reset else NO_ANSWER


def reason_of_mitmproxy(error: str) -> str | None:
    """mitmproxy's own reason for ending a handshake; None if an app or a server ended it."""
    return error if any(pattern.search(error) for pattern in _REASONS_OF_MITMPROXY) else None


def _connect_failure(error: str, *, was_reset: bool) -> str:
    for pattern, name in _CONNECT_FAILURES.items():
        if re.search(pattern, error):
            is_reset = was_reset and name == "ERR_CONNECTION_CLOSED"
            return f"net::{'ERR_CONNECTION_RESET' if is_reset else name}"
    return error


def _begins_like_http(shown: str) -> bool:
    """True if bytes, as Python shows them, begin with a status line, after at most four other bytes. Chromium
    has the same rule."""
    beginning = _FIRST_BYTES.match(shown)
    return beginning is not None and "http" in beginning[0].lower()


def violation_text(code: int | None, reason: str | None) -> str | None:
    """How a browser words the protocol violation that a close code and reason stand for, or None.

    On the hooks lane a violation shows only in the close that wsproto made of it: code 1002 or 1007 and
    wsproto's own sentence.
    """
    if code not in (1002, 1007) or not reason:
        return None
    for pattern, text in _VIOLATIONS.items():
        if found := re.match(pattern, reason):
            groups = found.groupdict()
            if "opcode" in groups:
                groups["opcode"] = str(int(groups["opcode"], 16))
            return text.format(text=reason, **groups)
    return None
