import pytest

from wirewright.model.handshake import (
    accept_key,
    accepts,
    fold_headers,
    is_handshake,
    upstream_url,
    websocket_url,
)

SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
SAMPLE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of RFC 6455, 1.3."""


@pytest.mark.parametrize(
    ("method", "upgrade", "connection"),
    [
        ("GET", "websocket", "Upgrade"),
        ("GET", "WebSocket", "upgrade"),
        ("GET", " websocket ", "keep-alive, Upgrade"),
        ("GET", "websocket", "UPGRADE,keep-alive"),
    ],
)
def test_request_for_a_websocket(method: str, upgrade: str, connection: str) -> None:
    assert is_handshake(method, {"upgrade": upgrade, "connection": connection})


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"upgrade": "websocket", "connection": "Upgrade"}),
        ("GET", {"upgrade": "h2c", "connection": "Upgrade"}),
        ("GET", {"upgrade": "websocket", "connection": "keep-alive"}),
        ("GET", {"upgrade": "websocket", "connection": "no-upgrade"}),
        ("GET", {"upgrade": "websocket"}),
        ("GET", {"connection": "Upgrade"}),
        ("GET", {}),
    ],
)
def test_any_other_request(method: str, headers: dict[str, str]) -> None:
    assert not is_handshake(method, headers)


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


def test_headers_that_occur_again_are_joined() -> None:
    fields = [("Cookie", "a"), ("X-One", "1"), ("cookie", "b"), ("COOKIE", "")]
    assert fold_headers(fields) == {"cookie": "a, b, ", "x-one": "1"}
    assert fold_headers([]) == {}


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
