"""The sentences are Chromium's; what they are made from is mitmproxy's and wsproto's own words."""

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection
from wsproto.extensions import PerMessageDeflate

from wirewright.model.chromium_errors import (
    CLIENT_DISCONNECTED,
    no_answer_text,
    reason_of_mitmproxy,
    refusal_text,
    violation_text,
)


@pytest.mark.parametrize("status", [200, 302, 403, 404, 500])
def test_refusal_names_the_status(status: int) -> None:
    expected = f"Error during WebSocket handshake: Unexpected response code: {status}"
    assert refusal_text(status, {"upgrade": "websocket"}) == expected


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (401, {}, "HTTP Authentication failed; no valid credentials available"),
        (101, {}, "Error during WebSocket handshake: 'Upgrade' header is missing"),
        (
            101,
            {"upgrade": "h2c"},
            "Error during WebSocket handshake: 'Upgrade' header value is not 'WebSocket': h2c",
        ),
    ],
)
def test_refusal_of_another_kind(status: int, headers: dict[str, str], expected: str) -> None:
    assert refusal_text(status, headers) == expected


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("[Errno 111] Connect call failed ('127.0.0.1', 9)", "ERR_CONNECTION_REFUSED"),
        ("[Errno 61] Connect call failed ('::1', 9, 0, 0)", "ERR_CONNECTION_REFUSED"),
        ("Multiple exceptions: Connection Refused, x", "ERR_CONNECTION_REFUSED"),
        ("[Errno -2] Name or service not known", "ERR_NAME_NOT_RESOLVED"),
        ("[Errno 8] nodename nor servname provided, or not known", "ERR_NAME_NOT_RESOLVED"),
        ("[Errno 11001] getaddrinfo failed", "ERR_NAME_NOT_RESOLVED"),
        ("[Errno -5] No address associated with hostname", "ERR_NAME_NOT_RESOLVED"),
        ("Certificate verify failed: self-signed certificate", "ERR_CERT_AUTHORITY_INVALID"),
        ("Certificate verify failed: Hostname mismatch", "ERR_CERT_COMMON_NAME_INVALID"),
        ("Certificate verify failed: IP address mismatch", "ERR_CERT_COMMON_NAME_INVALID"),
        ("Certificate verify failed: certificate has expired", "ERR_CERT_DATE_INVALID"),
        (
            "OpenSSL Error([('SSL routines', '', 'tlsv13 alert certificate required')])",
            "ERR_BAD_SSL_CLIENT_AUTH_CERT",
        ),
        ("OpenSSL Error([('SSL routines', '', 'tlsv1 alert unknown ca')])", "ERR_BAD_SSL_CLIENT_AUTH_CERT"),
        (
            "OpenSSL Error([('SSL routines', '', 'tls alert handshake failure')])",
            "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
        ),
        (
            "The remote server and mitmproxy cannot agree on a TLS version to use.",
            "ERR_SSL_VERSION_OR_CIPHER_MISMATCH",
        ),
        (
            "OpenSSL Error([('SSL routines', '', 'tlsv1 unrecognized name')])",
            "ERR_SSL_UNRECOGNIZED_NAME_ALERT",
        ),
        ("The remote server does not speak TLS.", "ERR_SSL_PROTOCOL_ERROR"),
        ("OpenSSL Error([('SSL routines', '', 'tlsv1 alert internal error')])", "ERR_SSL_PROTOCOL_ERROR"),
        ("connection closed", "ERR_CONNECTION_CLOSED"),
        ("[Errno 104] Connection reset by peer", "ERR_CONNECTION_RESET"),
        ("[Errno 113] No route: host unreachable", "ERR_ADDRESS_UNREACHABLE"),
        ("[Errno 101] Network is unreachable", "ERR_ADDRESS_UNREACHABLE"),
        ("connection timed out", "ERR_CONNECTION_TIMED_OUT"),
        ("Timeout", "ERR_CONNECTION_TIMED_OUT"),
    ],
)
def test_connection_that_was_never_made_has_a_network_error(error: str, name: str) -> None:
    assert no_answer_text(error, connected=False) == f"Error in connection establishment: net::{name}"


def test_unknown_network_error_is_told_as_it_is() -> None:
    assert no_answer_text("out of sockets", connected=False) == (
        "Error in connection establishment: out of sockets"
    )


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ("Cannot parse HTTP response: Bad HTTP response line: b'220 ready'", "ERR_INVALID_HTTP_RESPONSE"),
        ("unexpected server response: b'x'", "ERR_INVALID_HTTP_RESPONSE"),
        ("unexpected server response: b'\\x15\\x03\\x01'", "ERR_INVALID_HTTP_RESPONSE"),
        ("unexpected server response: b'HTTP/1.1 101 Sw'", "ERR_CONNECTION_CLOSED"),
        ('unexpected server response: b"HTTP/1.1 101 \'"', "ERR_CONNECTION_CLOSED"),
        ("unexpected server response: b'\\x00\\n\\\\\\'hTTp/1.1'", "ERR_CONNECTION_CLOSED"),
        ("unexpected server response: b'\\x00\\n\\\\\\'\"HTTP/1.1'", "ERR_INVALID_HTTP_RESPONSE"),
        ("unexpected server response: b'HTTP", "ERR_CONNECTION_CLOSED"),  # cut off
        ("unexpected server response: b'220 re", "ERR_INVALID_HTTP_RESPONSE"),
        ("unexpected server response: b''", "ERR_INVALID_HTTP_RESPONSE"),
    ],
)
def test_answer_that_is_no_http(error: str, name: str) -> None:
    expected = f"Error during WebSocket handshake: net::{name}"
    assert no_answer_text(error, connected=True) == expected


@pytest.mark.parametrize("error", ["server closed connection", "", "connection timed out"])
def test_connection_that_ended_before_the_answer(error: str) -> None:
    expected = "Connection closed before receiving a handshake response"
    assert no_answer_text(error, connected=True) == expected


@pytest.mark.parametrize(
    ("error", "connected", "expected"),
    [
        ("server closed connection", True, "Error during WebSocket handshake: net::ERR_CONNECTION_RESET"),
        (
            "unexpected server response: b'HTTP/1.1'",
            True,
            "Error during WebSocket handshake: net::ERR_CONNECTION_RESET",
        ),
        (
            "unexpected server response: b'220'",
            True,
            "Error during WebSocket handshake: net::ERR_INVALID_HTTP_RESPONSE",
        ),
        ("connection closed", False, "Error in connection establishment: net::ERR_CONNECTION_RESET"),
    ],
)
def test_reset_is_told_from_an_end(error: str, connected: bool, expected: str) -> None:
    assert no_answer_text(error, connected=connected, was_reset=True) == expected


REFUSALS = [
    "Received multiple content-length headers: [b'0', b'0'] from server, refusing to prevent request "
    "smuggling attacks. Disable the validate_inbound_headers option to skip this security check.",
    "Response body exceeds mitmproxy's body_size_limit.",
    "Cannot parse HTTP response: Invalid header: b'no colon'",
    "Cannot parse HTTP response: Bad HTTP response line: b'HTTP/2 101 X'",
]


@pytest.mark.parametrize("error", REFUSALS)
def test_what_mitmproxy_refuses_is_told_in_its_words(error: str) -> None:
    assert reason_of_mitmproxy(error) == error
    expected = f"Error during WebSocket handshake: refused by mitmproxy: {error}"
    assert no_answer_text(error, connected=True) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            "Upstream proxy 127.0.0.1:1 refused HTTP CONNECT request: 403 Forbidden",
            "Establishing a tunnel via proxy server failed.",
        ),
        ("Connection killed: no", "Error in connection establishment: Connection killed: no"),
    ],
)
def test_connection_that_a_proxy_refuses_has_its_reason(error: str, expected: str) -> None:
    assert reason_of_mitmproxy(error) == error
    assert no_answer_text(error, connected=False) == expected


@pytest.mark.parametrize("error", ["server closed connection", "connection closed", CLIENT_DISCONNECTED, ""])
def test_end_by_others_is_not_the_proxys(error: str) -> None:
    assert reason_of_mitmproxy(error) is None


@pytest.mark.parametrize("connected", [True, False])
def test_app_that_leaves_has_closed_its_socket(connected: bool) -> None:
    expected = "WebSocket is closed before the connection is established."
    assert no_answer_text(CLIENT_DISCONNECTED, connected=connected) == expected


INVALID = "Invalid frame header"

VIOLATIONS = {
    "opcode 3": (b"\x83\x00", "Unrecognized frame opcode: 3"),
    "opcode 11": (b"\x8b\x00", "Unrecognized frame opcode: 11"),
    "bad UTF-8": (b"\x81\x02\xff\xff", "Could not decode a text frame as UTF-8."),
    "half a character": (b"\x81\x01\xc3", "Could not decode a text frame as UTF-8."),
    "masked": (b"\x81\x80\0\0\0\0", "A server must not mask any frames that it sends to the client."),
    "fragmented ping": (b"\x09\x00", INVALID),
    "long ping": (b"\x89\x7e\x00\x7e", INVALID),
    "reserved bit": (b"\xa1\x00", "One or more reserved bits are on"),
    "continuation of nothing": (b"\x80\x00", "Received unexpected continuation frame."),
    "two beginnings": (
        b"\x01\x01a\x81\x01b",
        "Received start of new message but previous message is unfinished.",
    ),
    "close of one byte": (
        b"\x88\x01\x03",
        "Received a broken close frame with an invalid size of 1 byte.",
    ),
    "close code 1006": (
        b"\x88\x02\x03\xee",
        "Received a broken close frame containing a reserved status code.",
    ),
    "close reason of bad UTF-8": (
        b"\x88\x03\x03\xe8\xff",
        "Received a broken close frame containing invalid UTF-8.",
    ),
    "long form of a short length": (b"\x81\x7e\x00\x01a", INVALID),
    "top bit of a length": (b"\x81\x7f" + b"\xff" * 8, INVALID),
}


def close_of(connection: Connection, data: bytes) -> CloseConnection:
    """What wsproto makes of a protocol violation, and mitmproxy passes on."""
    connection.receive_data(data)
    *_, last = connection.events()
    assert isinstance(last, CloseConnection)
    return last


@pytest.mark.parametrize(("data", "expected"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violation_by_a_server_is_worded_as_chromium_does(data: bytes, expected: str) -> None:
    close = close_of(Connection(ConnectionType.CLIENT), data)
    assert violation_text(close.code, close.reason) == expected


def test_unmasked_frame_of_a_client() -> None:
    close = close_of(Connection(ConnectionType.SERVER), b"\x81\x00")
    expected = "A client must mask all frames that it sends to the server."
    assert violation_text(close.code, close.reason) == expected


def test_message_that_does_not_inflate() -> None:
    deflate = PerMessageDeflate()
    deflate.finalize("permessage-deflate")
    close = close_of(Connection(ConnectionType.CLIENT, [deflate]), b"\xc1\x04\xff\xff\xff\xff")
    assert violation_text(close.code, close.reason) == INVALID


@pytest.mark.parametrize("code", [0, 5, 999, 1016, 2000, 5000])
def test_close_code_that_a_browser_delivers_is_no_violation(code: int) -> None:
    close = close_of(Connection(ConnectionType.CLIENT), b"\x88\x02" + code.to_bytes(2, "big"))
    assert violation_text(close.code, close.reason) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, None),
        (1000, "Invalid opcode 0x3"),
        (1006, None),
        (1002, None),
        (1002, ""),
        (1002, "bad subprotocol message"),
        (1007, "no JSON"),
        (1002, "we saw: Invalid opcode 0x3"),
        (3000, "CLOSE with invalid code"),
    ],
)
def test_peer_s_own_close_is_no_violation(code: int | None, reason: str | None) -> None:
    assert violation_text(code, reason) is None
