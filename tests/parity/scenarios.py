"""What happens to a page's socket when nobody breaks the protocol."""

from parity.row import BAD_GATEWAY, CLOSED, OPENED, Row, Server, error, received, sent

UNENCRYPTED: tuple[tuple[str, str, Server], ...] = (
    ("wss, the server closes on the TLS handshake", "ERR_CONNECTION_CLOSED", "closing"),
    ("wss, the server resets on the TLS handshake", "ERR_CONNECTION_RESET", "resetting"),
    ("wss, the server does not speak TLS", "ERR_SSL_PROTOCOL_ERROR", "speaking"),
)
_CLOSE_ON_MESSAGE = "ws.onmessage = () => ws.close()"

ECHO = (
    Row(
        "echo, then the client closes with 1000",
        "/echo-two",
        (
            OPENED,
            sent("hello"),
            sent(b"\x00\x01\xfe\xff"),
            received("hello"),
            received(b"\x00\x01\xfe\xff"),
            CLOSED,
        ),
        (1000, "bye", "client"),
        1000,
        """
        ws.onopen = () => { ws.send("hello"); ws.send(new Uint8Array([0, 1, 254, 255])) };
        ws.onmessage = ({ data }) => { if (data instanceof ArrayBuffer) ws.close(1000, "bye") };
        """,
    ),
    Row(
        "20 MB both ways",
        "/echo",
        (OPENED, sent(b"\xa5" * (20 << 20)), received(b"\xa5" * (20 << 20)), CLOSED),
        (1005, "", "client"),
        1005,
        "ws.onopen = () => ws.send(new Uint8Array(20 << 20).fill(0xa5));" + _CLOSE_ON_MESSAGE,
    ),
    Row(
        "three fragments with a ping between",
        "/fragments",
        (OPENED, received("aabbcc"), CLOSED),
        (1005, "", "client"),
        1005,
        _CLOSE_ON_MESSAGE,
    ),
    Row(
        "empty text and empty binary",
        "/echo-two",
        (OPENED, CLOSED),
        (1005, "", "client"),
        1005,
        """
        ws.onopen = () => { ws.send(""); ws.send(new ArrayBuffer(0)) };
        ws.onmessage = ({ data }) => { if (data instanceof ArrayBuffer) ws.close() };
        """,
        wirewright=(OPENED, sent(""), sent(b""), received(""), received(b""), CLOSED),
    ),
    Row(
        "ping and pong",
        "/ping",
        (OPENED, received("after"), CLOSED),
        (1005, "", "client"),
        1005,
        _CLOSE_ON_MESSAGE,
    ),
    Row(
        "permessage-deflate",
        "/deflate",
        (
            OPENED,
            received("welcome " * 22 + "back"),
            sent("0123456789" * 50),
            received("understood"),
            CLOSED,
        ),
        (1005, "", "client"),
        1005,
        """
        ws.onmessage = ({ data }) => {
            if (data.startsWith("welcome")) ws.send("0123456789".repeat(50)); else ws.close();
        };
        """,
    ),
    Row(
        "subprotocol",
        "/subprotocol",
        (OPENED, received("m"), sent("v2"), CLOSED),
        (1005, "", "client"),
        1005,
        "ws.onmessage = () => { ws.send(ws.protocol); ws.close() };",
        ("v1", "v2"),
    ),
    Row(
        "wss, the proxy's certificate accepted",
        "/echo",
        (OPENED, sent("hello"), received("hello"), CLOSED),
        (1005, "", "client"),
        1005,
        'ws.onopen = () => ws.send("hello");' + _CLOSE_ON_MESSAGE,
        server="tls",
    ),
)

ENDS = (
    Row(
        "client closes without a code",
        "/message",
        (OPENED, received("m"), CLOSED),
        (1005, "", "client"),
        1005,
        _CLOSE_ON_MESSAGE,
    ),
    Row(
        "server closes with 1000",
        "/close-1000",
        (OPENED, received("m"), CLOSED),
        (1000, "done", "server"),
        1000,
    ),
    Row(
        "server closes with 3000",
        "/close-3000",
        (OPENED, received("m"), CLOSED),
        (3000, "custom é", "server"),
        3000,
    ),
    Row(
        "server closes without a code",
        "/close-without-code",
        (OPENED, received("m"), CLOSED),
        (1005, "", "server"),
        1005,
    ),
    Row(
        "server's TCP ends with FIN",
        "/fin",
        (OPENED, received("m"), CLOSED),
        (1006, "", "server"),
        1006,
    ),
    Row(
        "server's TCP ends with RST",
        "/reset",
        (OPENED, received("m"), sent("reset"), CLOSED),
        (1006, "", "server"),
        1006,
        'ws.onmessage = () => ws.send("reset")',
    ),
    Row(
        "server's TCP ends mid-frame",
        "/fin-mid-frame",
        (OPENED, CLOSED),
        (1006, "", "server"),
        1006,
    ),
    Row(
        "page navigates away",
        "/message",
        (OPENED, received("m")),
        (1001, "", "client"),
        None,
        "ws.onmessage = () => resolve(null)",
        wirewright=(OPENED, received("m"), CLOSED),
    ),
)


def _unanswered(name: str, path: str, text: str, server: Server = "plain") -> Row:
    """The server ends before its answer is whole."""
    events = (OPENED, error(text), CLOSED)
    return Row(name, path, events, (None, None, None), 1006, server=server, proxied=BAD_GATEWAY)


def _refused(status: int, text: str = "") -> Row:
    text = text or f"Error during WebSocket handshake: Unexpected response code: {status}"
    return Row(
        f"handshake answered {status}",
        f"/status-{status}",
        (OPENED, error(text), CLOSED),
        (None, None, "server"),
        1006,
    )


HANDSHAKES = (
    *(_refused(status) for status in (404, 403, 500, 200, 302)),
    _refused(401, "HTTP Authentication failed; no valid credentials available"),
    _unanswered(
        "server answers nothing", "/no-answer", "Connection closed before receiving a handshake response"
    ),
    *(
        _unanswered(name, path, f"Error during WebSocket handshake: net::{error_name}")
        for name, path, error_name in (
            ("server resets before an answer", "/reset-unanswered", "ERR_CONNECTION_RESET"),
            ("server ends in the middle of its answer", "/fin-in-answer", "ERR_CONNECTION_CLOSED"),
            ("server resets in the middle of its answer", "/reset-in-answer", "ERR_CONNECTION_RESET"),
            ("server answers one byte", "/one-byte", "ERR_INVALID_HTTP_RESPONSE"),
            ("server answers HTML and no HTTP", "/html", "ERR_INVALID_HTTP_RESPONSE"),
            ("server answers as if it spoke TLS", "/tls-alert", "ERR_INVALID_HTTP_RESPONSE"),
        )
    ),
    *(
        _unanswered(name, "/", f"Error in connection establishment: net::{error_name}", server)
        for name, error_name, server in UNENCRYPTED
    ),
    Row(
        "connection refused",
        "/",
        (OPENED, error("Error in connection establishment: net::ERR_CONNECTION_REFUSED"), CLOSED),
        (None, None, None),
        1006,
        server="refusing",
        proxied=BAD_GATEWAY,
    ),
    Row(
        "wss, the server's certificate refused",
        "/message",
        (OPENED, error("Error in connection establishment: net::ERR_CERT_AUTHORITY_INVALID"), CLOSED),
        (None, None, None),
        1006,
        server="untrusted",
        proxied=BAD_GATEWAY,
    ),
    Row(
        "wss, the proxy's certificate refused",
        "/message",
        (OPENED, error("Error in connection establishment: net::ERR_CERT_AUTHORITY_INVALID"), CLOSED),
        (None, None, None),
        1006,
        server="tls",
        app_trusts=False,
        wirewright=(),
    ),
)
