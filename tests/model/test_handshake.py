import tracemalloc
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from wirewright.model.handshake import (
    Headers,
    accept_key,
    accepts,
    asked_url,
    header_changes,
    is_handshake,
    sendable_headers,
    upstream_url,
    websocket_url,
)

SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of RFC 6455, 1.3."""


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")],
        [(b"Host", b"app.test"), (b"UPGRADE", b"WebSocket")],
        [(b"upgrade", b"h2c, websocket/13"), (b"connection", b"close")],
        [(b"Upgrade", b"h2c"), (b"upgrade", b" websocket ")],
    ],
)
def test_request_for_a_websocket(fields: list[tuple[bytes, bytes]]) -> None:
    assert is_handshake(fields)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"Connection", b"Upgrade"), (b"Sec-WebSocket-Version", b"13")],
        [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade"), (b"X", b"websocket")],
    ],
)
def test_any_other_request(fields: list[tuple[bytes, bytes]]) -> None:
    assert not is_handshake(fields)


@pytest.mark.parametrize(
    ("host_header", "path", "expected"),
    [
        ("App.test:80", "/live", "ws://app.test/live"),
        (None, "/live", "ws://10.0.0.1:81/live"),
        ("1.2.3.4.5", "/live", "ws://1.2.3.4.5/live"),
        ("ä..b", "/live", "ws://ä..b/live"),
        ("ä" * 64, "/live", f"ws://{'ä' * 64}/live"),
        ("\udce4.test", "/\udcff", "ws://%e4.test/%FF"),
        *((host, "/live", "ws://10.0.0.1:81/live") for host in ("a#", "a?", "a/b", "me@a", "a, b", "")),
        *((host, "/live", "ws://10.0.0.1:81/live") for host in ("[::1", "a]", "[::zz]", "a:b", "a:99999")),
        ("a℀b", "/live", "ws://10.0.0.1:81/live"),  # NFKC makes it "aa/cb"
        ("app.test", "live", "ws://app.test/live"),
    ],
)
def test_url_that_an_app_asks_for_is_text_with_its_path(
    host_header: str | None, path: str, expected: str
) -> None:
    url = asked_url("http", host_header, "10.0.0.1", 81, path)
    assert url == expected
    url.encode()
    urlsplit(url)


def test_host_that_no_browser_accepts_is_a_value_error() -> None:
    for host in ("1.2.3.4.5", "ä..b", "ä" * 64):
        with pytest.raises(ValueError, match=r"."):
            websocket_url(f"http://{host}/")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.test/live", "ws://example.test/live"),
        ("https://example.test/live", "wss://example.test/live"),
        ("HTTPS://Example.TEST/Live", "wss://example.test/Live"),
        ("http://example.test:80/", "ws://example.test/"),
        ("https://example.test:443/", "wss://example.test/"),
        ("http://example.test:443/", "ws://example.test:443/"),
        ("https://example.test:80/", "wss://example.test:80/"),
        ("http://example.test:8080/", "ws://example.test:8080/"),
        ("http://example.test", "ws://example.test/"),
        ("http://example.test?token=A", "ws://example.test/?token=A"),
        ("http://example.test/live?token=A#top", "ws://example.test/live?token=A"),
        ("http://example.test#top", "ws://example.test/"),
        ("http://[::1]:80/live", "ws://[::1]/live"),
        ("http://[::1]:9000/live", "ws://[::1]:9000/live"),
        ("http://[::80]/live", "ws://[::80]/live"),
        ("http://example.test/?next=http://Other:80/", "ws://example.test/?next=http://Other:80/"),
        ("ws://example.test:80/live", "ws://example.test/live"),
        ("wss://example.test:443/live", "wss://example.test/live"),
    ],
)
def test_url_of_a_socket(url: str, expected: str) -> None:
    assert websocket_url(url) == expected


def test_headers_that_occur_again_are_joined_as_playwright_and_the_rfcs_say() -> None:
    fields = [
        *(("Cookie", "a=1"), ("X-One", "1"), ("cookie", "b=2"), ("X-ONE", "")),
        *(("Set-Cookie", "c=3; Expires=Wed, 21 Oct 2026 07:28:00 GMT"), ("set-cookie", "d=4")),
    ]
    headers = Headers(fields)
    assert dict(headers) == {
        "cookie": "a=1; b=2",
        "x-one": "1, ",
        "set-cookie": "c=3; Expires=Wed, 21 Oct 2026 07:28:00 GMT\nd=4",
    }
    assert len(headers) == 3
    assert headers["COOKIE"] == "a=1; b=2"
    assert "x-two" not in headers
    assert headers.get_all("Set-Cookie")[1] == "d=4"
    assert headers.pairs == tuple(fields)
    assert headers.as_array()[0] == {"name": "Cookie", "value": "a=1"}
    assert dict(Headers()) == {}


def test_joined_mapping_becomes_the_same_fields_again() -> None:
    headers = Headers([("set-cookie", "a=1, 2"), ("x", "1"), ("set-cookie", "b")])
    assert Headers(headers.as_dict()).get_all("set-cookie") == ["a=1, 2", "b"]
    assert Headers(headers) == headers
    assert Headers([("X", "1")]) == {"x": "1"}
    assert Headers([("X", "1")]) != Headers([("x", "1")])


def test_field_that_is_not_utf_8_is_read_as_in_a_browser() -> None:
    headers = Headers([("X", "caf\udce9"), ("Y", "café \u2603"), ("Z", "a")])
    assert headers.readable().pairs == (("X", "café"), ("Y", "café \u2603"), ("Z", "a"))


def test_fields_of_one_connection_are_no_end_to_end_fields() -> None:
    headers = Headers(
        [
            *(("Connection", "keep-alive, X-Hop"), ("connection", "Close"), ("Keep-Alive", "timeout=5")),
            *(("x-hop", "1"), ("Transfer-Encoding", "chunked"), ("TE", "trailers"), ("Trailer", "X")),
            *(("Proxy-Authenticate", "Basic"), ("Upgrade", "h2c"), ("Close", "named by Connection")),
            *(("Retry-After", "5"), ("Content-Length", "3"), ("Sec-WebSocket-Accept", "x")),
        ]
    )
    assert list(headers.end_to_end()) == ["retry-after", "content-length", "sec-websocket-accept"]
    assert list(headers.of_acceptance()) == ["retry-after"]


@pytest.mark.parametrize(
    ("given", "pairs"),
    [
        (None, ()),
        ({"A": "1"}, (("A", "1"),)),
        ([("A", "1"), ("a", "2")], (("A", "1"), ("a", "2"))),
        ([["A", "1"]], (("A", "1"),)),
        (Headers([("A", "1"), ("A", "2")]).as_array(), (("A", "1"), ("A", "2"))),
        ({"Set-Cookie": "a=1\nb=2"}, (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))),
    ],
)
def test_headers_are_given_in_any_shape(given: Any, pairs: tuple[tuple[str, str], ...]) -> None:
    assert sendable_headers(given).pairs == pairs
    assert header_changes(given) == pairs


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("A: 1", TypeError, r"^headers must be a mapping or \(name, value\) pairs, not 'A: 1'$"),
        ([("A", "1", "2")], TypeError, "^headers must be a mapping"),
        ([7], TypeError, "^headers must be a mapping"),
        ([{"name": "A"}], TypeError, "^headers must be a mapping"),
        ({"Retry-After": 5}, TypeError, "name and value must be str, not 'Retry-After' and 5$"),
        (
            {"A": "1\r\nB: 2"},
            ValueError,
            r"^the value of the header A must have no line end or NUL \(RFC 9110, 5.5\)$",
        ),
        ({"A b": "1"}, ValueError, "name must be a token"),
        ({"": "1"}, ValueError, "name must be a token"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(given: Any, error: type[Exception], said: str) -> None:
    for read in (sendable_headers, header_changes):
        with pytest.raises(error, match=said):
            read(given)


def test_change_takes_out_all_fields_of_a_name() -> None:
    assert header_changes([("A", "1"), ("B", None), ("a", "2")]) == (("B", None), ("A", "1"), ("a", "2"))


def test_accept_key_is_the_rfc_s() -> None:
    assert accept_key(SAMPLE_KEY) == SAMPLE_ACCEPT
    assert accept_key(f" {SAMPLE_KEY} ") == SAMPLE_ACCEPT


@pytest.mark.parametrize(
    ("request_headers", "response_headers", "accepted"),
    [
        ({"sec-websocket-key": SAMPLE_KEY}, {"sec-websocket-accept": SAMPLE_ACCEPT}, True),
        ({"sec-websocket-key": SAMPLE_KEY}, {"sec-websocket-accept": SAMPLE_ACCEPT.lower()}, False),
        ({"sec-websocket-key": SAMPLE_KEY}, {}, False),
        ({}, {"sec-websocket-accept": SAMPLE_ACCEPT}, False),
    ],
)
def test_answer_must_fit_the_key(
    request_headers: dict[str, str], response_headers: dict[str, str], accepted: bool
) -> None:
    assert accepts(request_headers, response_headers) is accepted


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://Staging.test/live?a=B", "http://staging.test/live?a=B"),
        ("WSS://staging.test:8443", "https://staging.test:8443/"),
        ("http://[::1]:9000/", "http://[::1]:9000/"),
        (
            "ws://bücher.test/größe x?q=%20é&a=[1]",
            "http://xn--bcher-kva.test/gr%C3%B6%C3%9Fe%20x?q=%20%C3%A9&a=[1]",
        ),
    ],
)
def test_url_of_a_handshake_with_another_server(url: str, expected: str) -> None:
    assert upstream_url(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("staging.test/live", "url must be ws://host/path or wss://host/path, not 'staging.test/live'"),
        ("ftp://staging.test/", "url must be ws://host/path"),
        ("ws:///live", "url must be ws://host/path"),
        ("ws://staging.test/#top", "url must have no fragment and no user"),
        ("ws://me:secret@staging.test/", "url must have no fragment and no user"),
        ("ws://staging.test:0/", "url must have a port other than 0"),
        ("ws://staging.test:99999/", "Port out of range"),
    ],
)
def test_url_that_no_server_has(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        upstream_url(url)


# Many fields

MANY = 2_000


class CountedName(str):
    """A name that counts how often one of its kind is read."""

    reads = 0

    def lower(self) -> str:
        CountedName.reads += 1
        return super().lower()


@pytest.mark.parametrize("name", [lambda number: f"X-Count-{number}", lambda _: "X-Count"])
def test_lookups_do_not_read_all_fields_again(name: Callable[[int], str]) -> None:
    headers = Headers([(CountedName(name(number)), "1") for number in range(MANY)])
    CountedName.reads = 0
    for _ in range(3):
        assert len(headers.as_dict()) == len(dict(headers)) == len(headers) == len(list(headers))
        assert headers.get("x-none") is None
        assert headers == headers.as_dict()
    assert CountedName.reads <= MANY


def test_names_of_fields_are_not_kept() -> None:
    make_headers("Warm-Up")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for batch in range(10):
            make_headers(f"X-Batch-{batch}")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000


def make_headers(prefix: str) -> None:
    Headers((f"{prefix}-{number}-of-a-flood-of-names", "1") for number in range(MANY)).as_dict()


def test_same_names_of_many_sockets_are_shared() -> None:
    one, two = (Headers([("".join(["X-", "Shared"]), "1")]) for _ in range(2))
    assert one.pairs[0][0] is two.pairs[0][0]
    long = "X" * 10_000
    assert Headers([(long, "1")]).pairs == ((long, "1"),)
