"""The app as a page in Chromium: Playwright drives the page, Wirewright has its traffic."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import expect as expect_of_page

from wirewright.sync_api import Proxy, expect

CHROMIUM = shutil.which("chromium")
PAGE = Path(__file__).with_name("trader.html").as_uri()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def page(ws_proxy: Proxy) -> Iterator[Page]:
    """A page whose browser goes through the proxy of the test."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox"],
            proxy={"server": f"http://127.0.0.1:{ws_proxy.port}", "bypass": "<-loopback>"},
        )
        yield browser.new_page()
        browser.close()


def test_click_buys(ws_proxy: Proxy, page: Page, service: str) -> None:
    with ws_proxy.expect_websocket("**/orders", opened=True) as opened, page.expect_websocket() as told:
        page.goto(f"{PAGE}#{service}")
    page.get_by_role("button", name="Buy").click()
    expect(opened.value).to_have_received(json={"type": "filled", "amount": 3})
    expect_of_page(page.locator("output")).to_have_text("filled 3 at 1.5")
    assert opened.value.url == told.value.url


def test_page_says_that_the_market_is_closed(ws_proxy: Proxy, page: Page) -> None:
    ws_proxy.mock_web_socket("**/orders").on(json={"type": "order"}).close(1013, "closed")
    page.goto(f"{PAGE}#ws://nowhere.invalid/orders")
    page.get_by_role("button", name="Buy").click()
    expect_of_page(page.locator("output")).to_have_text("offline 1013")
