"""Each client stack of docs/clients.md, through a real mitmdump: untouched, changed by a route, and mocked.

The programs are in `clients/`. They send a text, then a binary when the text is answered, and close with a
code when the binary is.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from support.certificates import Certificates
from support.client_stacks import BROWSERS, CLIENTS, STACKS, Place, Stack, prepare, started
from support.processes import Running, mitmdump
from support.scripts import write_script
from support.time_limits import STEP_SECONDS

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.once("test_clients.py tries the Python ones with each version"),
]

SCRIPT = """
import json
from wirewright import proxy

@proxy.on("websocket")
def watch(ws):
    def say(*values):
        print("EVENT", json.dumps([ws.url, *values]), flush=True)
    ws.on("framesent", lambda payload: say("sent", shown(payload)))
    ws.on("framereceived", lambda payload: say("received", shown(payload)))
    ws.on("socketerror", lambda error: say("socketerror", error))
    ws.on("close", lambda ws: say("close", ws.close_code, ws.close_reason, ws.closed_by))

def shown(payload):
    return payload if isinstance(payload, str) else payload.hex()

def changed(payload, buy, sell):
    return payload.replace(buy, sell) if isinstance(payload, str) else payload[::-1]

def hold(ws):
    server = ws.connect_to_server()
    ws.on_message(lambda message: server.send(changed(message, "buy", "sell")))
    server.on_message(lambda message: ws.send(changed(message, "sell", "sold")))

def mock(ws):
    ws.on_message(lambda message: ws.send(changed(message, "buy", "bought")))

proxy.route_web_socket("**/hold/*", hold)
proxy.route_web_socket("**/mock/*", mock)

def server_connect(data):  # a browser talks to its maker's hosts by itself
    if data.server.address[0] not in ("localhost", "127.0.0.1", "::1"):
        data.server.error = "only this machine"
"""

TEXT = "{} é 🎉"
BINARY, REVERSED = "0001feff", "fffe0100"


@dataclass(frozen=True)
class Conversation:
    """The messages that the addon reports and that the client receives: a text and a binary each."""

    sent: tuple[str, str]
    received: tuple[str, str]
    at_client: tuple[str, str]


CONVERSATIONS = {
    "pass": Conversation(("buy", BINARY), ("buy", BINARY), ("buy", BINARY)),
    "hold": Conversation(("sell", REVERSED), ("sell", REVERSED), ("sold", BINARY)),
    "mock": Conversation(("buy", BINARY), ("bought", REVERSED), ("bought", REVERSED)),
}


@dataclass
class Site:
    """A server without and with TLS, and the proxy between it and the clients."""

    run: Running
    proxy_port: int
    ca: Path
    ports: dict[str, int]
    said: asyncio.Queue[str]
    """The messages that pages have received."""

    def origin(self, scheme: str) -> str:
        # localhost, since some clients bypass the proxy for it if they are not told otherwise
        return f"{scheme}://localhost:{self.ports[scheme]}"

    def url(self, scheme: str, route: str, stack: Stack) -> str:
        return f"{self.origin(scheme)}/{route}/{stack.name}"

    async def events(self, url: str) -> list[list[object]]:
        """The events that the addon reported of a socket, once it is closed."""
        closed = rf'^EVENT \["{url}", "close"'
        if not any(re.search(closed, line) for line in self.run.lines):
            async with asyncio.timeout(STEP_SECONDS):
                await self.run.line(closed)
        lines = [json.loads(line[6:]) for line in self.run.lines if line.startswith("EVENT ")]
        return [event for where, *event in lines if where == url]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    confdir: Path, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    script = write_script(tmp_path_factory.mktemp("script") / "stacks.py", SCRIPT)
    trusted = f"ssl_verify_upstream_trusted_ca={certificates.ca_file}"
    options = ("--set", trusted, "--set", "connection_strategy=lazy")
    said: asyncio.Queue[str] = asyncio.Queue()

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        if path == "/said":
            said.put_nowait(unquote(query))
        if "Upgrade" in request.headers:
            return None
        response = connection.respond(HTTPStatus.OK, (CLIENTS / "page.html").read_text())
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        return response

    async with AsyncExitStack() as stack:
        ports = {}
        for scheme, tls in (("ws", None), ("wss", certificates.server_context)):
            served = await stack.enter_async_context(
                websockets.serve(echo, "127.0.0.1", 0, ssl=tls, process_request=answer)
            )
            ports[scheme] = next(iter(served.sockets)).getsockname()[1]
        run, port = await stack.enter_async_context(mitmdump(*options, "-s", script, confdir=confdir))
        yield Site(run, port, confdir / "mitmproxy-ca-cert.pem", ports, said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what the stacks build."""
    return tmp_path_factory.mktemp("stacks")


async def echo(connection: ServerConnection) -> None:
    with suppress(ConnectionClosed):  # with a code of its own
        async for message in connection:
            await connection.send(message)


def expected_events(conversation: Conversation, binary: bool) -> list[list[object]]:
    events: list[list[object]] = [
        ["sent", TEXT.format(conversation.sent[0])],
        ["received", TEXT.format(conversation.received[0])],
    ]
    if binary:
        events += [["sent", conversation.sent[1]], ["received", conversation.received[1]]]
    return [*events, ["close", 4001, "bye", "client"]]


def expected_output(conversation: Conversation, binary: bool) -> list[str]:
    text = f"text {TEXT.format(conversation.at_client[0])}"
    return [text, f"binary {conversation.at_client[1]}"] if binary else [text]


@pytest.mark.parametrize(
    ("stack", "scheme", "route"),
    [
        pytest.param(stack, scheme, route, id=f"{stack.name}-{scheme}-{route}")
        for stack in STACKS
        for scheme, route in stack.conversations
    ],
)
async def test_client_holds_its_conversation_through_the_proxy(
    site: Site, folder: Path, stack: Stack, scheme: str, route: str
) -> None:
    url = site.url(scheme, route, stack)
    place = Place(url, site.proxy_port, site.ca, folder / stack.name)
    prepare(stack, place)
    async with started(stack, place) as process, asyncio.timeout(STEP_SECONDS):
        await process.wait()
    output = place.output.read_text().splitlines()
    expected = expected_output(CONVERSATIONS[route], stack.binary)
    assert output[: len(expected)] == expected
    assert output[len(expected) :] in ([], ["closed 4001 bye"])  # not every stack tells how it closed
    assert process.returncode == 0
    assert await site.events(url) == expected_events(CONVERSATIONS[route], stack.binary)


@pytest.mark.browser
@pytest.mark.parametrize("browser", BROWSERS, ids=lambda browser: browser.name)
async def test_page_holds_its_conversations_through_the_proxy(
    site: Site, folder: Path, browser: Stack
) -> None:
    urls = {route: site.url(scheme, route, browser) for scheme, route in browser.conversations}
    paths = ",".join(f"/{url.split('/', 3)[3]}" for url in urls.values())
    place = Place(f"{site.origin('wss')}/page.html?{paths}", site.proxy_port, site.ca, folder / browser.name)
    prepare(browser, place)
    said: dict[str, list[str]] = {}
    async with started(browser, place), asyncio.timeout(STEP_SECONDS):
        while len(said) < len(urls):
            path, *output = (await site.said.get()).splitlines()
            said[path.split("/")[1]] = output
    for route, url in urls.items():
        conversation = CONVERSATIONS[route]
        assert said[route] == [*expected_output(conversation, browser.binary), "closed 4001 bye"]
        assert await site.events(url) == expected_events(conversation, browser.binary)
