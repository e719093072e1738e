"""mitmproxy's page for a failed request."""

from collections.abc import Iterator

import pytest
from mitmproxy.proxy.layers.http import _http1

from support import mitmproxy_patches
from wirewright.mitm.patches import error_page


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with mitmproxy_patches.installed(error_page):
        yield


def test_long_message_is_cut() -> None:
    response = _http1.make_error_response(502, "unexpected server response: " + "a" * 1_000_000)
    assert b"unexpected server response: aaa" in response
    assert "aaa…".encode() in response
    assert len(response) < 2 * error_page.MAX_MESSAGE


def test_short_message_is_shown_whole() -> None:
    message = "a" * error_page.MAX_MESSAGE
    assert message.encode() in _http1.make_error_response(400, message)
