"""Request targets in absolute form with a WebSocket's scheme: RFC 9112, 3.2.2."""

import contextlib
from collections.abc import Iterator

import pytest
from mitmproxy.http import Request
from mitmproxy.net.http.http1 import read

from support import mitmproxy_patches
from wirewright.mitm.patches import installation, request_target


@pytest.fixture
def installed() -> Iterator[None]:
    with mitmproxy_patches.installed(request_target):
        yield


def parse(target: str, method: str = "GET") -> Request:
    return read.read_request_head([f"{method} {target} HTTP/1.1".encode(), b"Host: example.test"])


def origin(request: Request) -> tuple[str, str, int, str]:
    return request.scheme, request.host, request.port, request.path


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ws://example.test/live", ("http", "example.test", 80, "/live")),
        ("wss://example.test/live", ("https", "example.test", 443, "/live")),
        ("ws://example.test:8080/live?a=b&c=d", ("http", "example.test", 8080, "/live?a=b&c=d")),
        ("wss://example.test:8443/", ("https", "example.test", 8443, "/")),
        ("ws://127.0.0.1:1/x", ("http", "127.0.0.1", 1, "/x")),
        ("ws://[::1]:8080/x", ("http", "::1", 8080, "/x")),
        ("ws://example.test", ("http", "example.test", 80, "/")),
        ("WS://example.test/live", ("http", "example.test", 80, "/live")),
        ("Wss://example.test/live", ("https", "example.test", 443, "/live")),
        ("ws://example.test/?next=ws://other.test/", ("http", "example.test", 80, "/?next=ws://other.test/")),
    ],
)
def test_target_means_what_it_means_with_http(target: str, expected: tuple[str, str, int, str]) -> None:
    assert origin(parse(target)) == expected


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/live"),
        ("GET", "/?next=ws://other.test/"),
        ("GET", "http://example.test/ws://x"),
        ("GET", "https://example.test/live"),
        ("CONNECT", "example.test:443"),
        ("OPTIONS", "*"),
    ],
)
def test_other_targets_are_read_as_before(method: str, target: str) -> None:
    ours = parse(target, method).get_state()
    installation.uninstall()
    stock = parse(target, method).get_state()
    assert {**ours, "timestamp_start": 0} == {**stock, "timestamp_start": 0}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("target", ["ftp://example.test/", "wsx://example.test/", "ws:/example.test/"])
def test_other_schemes_are_refused_as_before(target: str) -> None:
    with pytest.raises(ValueError, match="Bad HTTP request line"):
        parse(target)


@pytest.mark.parametrize("times", [1, 2])
def test_mitmproxy_refuses_such_targets_without_us_and_again_after_us(times: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(times):
            stack.enter_context(mitmproxy_patches.installed(request_target))
        parse("ws://example.test/live")
    with pytest.raises(ValueError, match="Bad HTTP request line"):
        parse("ws://example.test/live")
