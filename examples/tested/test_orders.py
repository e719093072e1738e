"""Three real apps under test, behind the proxy of the pytest plugin: Python, Node, and a page in Chromium.

pip install 'wirewright[pytest]' playwright && pytest examples/tested

An app whose runtime is missing is skipped; Node's is also the npm package ws, to which NODE_PATH leads.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from wirewright.sync_api import Proxy, WebSocketRoute

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")

Buy = Callable[[], str]
"""Have the app buy three; what it says then."""


@pytest.fixture
def service() -> Iterator[str]:
    """The real service: fills every order."""

    def fill(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(json.dumps({"filled": json.loads(message)["buy"]}))

    with serve(fill, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/orders"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["python", "node", "chromium"])
def buy(request: pytest.FixtureRequest, ws_proxy: Proxy, service: str) -> Iterator[Buy]:
    """The app, about to be used."""
    if request.param == "chromium":
        yield from in_chromium(ws_proxy, service)
        return
    command = {"python": [sys.executable, HERE / "order.py"], "node": ["node", HERE / "order.mjs"]}[
        request.param
    ]
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    if request.param == "node" and not has_ws():
        pytest.skip("the npm package ws is not installed where NODE_PATH leads")
    environment = {**os.environ, "HTTP_PROXY": f"http://127.0.0.1:{ws_proxy.port}"}

    def run() -> str:
        done = subprocess.run(  # noqa: S603  it is the app
            [*map(str, command), service, "3"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.strip()

    yield run  # noqa: PT022  the other apps end after it


def has_ws() -> bool:
    found = subprocess.run(
        ["node", "-e", "require('ws')"],  # noqa: S607  of PATH, as any user's
        cwd=HERE,
        stderr=subprocess.DEVNULL,
    )
    return found.returncode == 0


def in_chromium(ws_proxy: Proxy, service: str) -> Iterator[Buy]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox"],
            proxy={"server": f"http://127.0.0.1:{ws_proxy.port}", "bypass": "<-loopback>"},
        )
        page = browser.new_page()

        def click() -> str:
            page.goto(f"{(HERE / 'order.html').as_uri()}#{service}")
            page.get_by_role("button", name="Buy").click()
            output = page.locator("output")
            playwright.expect(output).not_to_be_empty()
            return str(output.inner_text())

        yield click
        browser.close()


def test_order_is_sent_and_filled(ws_proxy: Proxy, buy: Buy) -> None:
    with ws_proxy.expect_websocket("**/orders") as opened:
        assert buy() == "filled 3"
    sent = opened.value.wait_for_event("framesent", history=True)
    assert json.loads(sent) == {"buy": 3}


def test_app_says_what_the_service_filled_and_not_what_it_ordered(ws_proxy: Proxy, buy: Buy) -> None:
    def fill_less(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(message.replace("3", "2")))

    ws_proxy.route_web_socket("**/orders", fill_less)
    assert buy() == "filled 2"


def test_app_needs_no_service_to_be_tested(ws_proxy: Proxy, buy: Buy) -> None:
    orders: list[object] = []

    def mock(route: WebSocketRoute) -> None:
        def order(message: str | bytes) -> None:
            orders.append(json.loads(message))
            route.send('{"filled": 0}')

        route.on_message(order)

    ws_proxy.route_web_socket("**/orders", mock)
    assert buy() == "filled 0"
    assert orders == [{"buy": 3}]
