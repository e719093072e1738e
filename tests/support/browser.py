"""A real Chromium, driven by Playwright, as an app."""

import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import playwright.async_api as playwright

from support.clients import Client, Message, Wish
from wirewright import Proxy

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    # It talks to its maker's hosts by itself.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

OPEN = """
([url, protocols]) => new Promise((resolve, reject) => {
    const happened = [], waiting = [];
    const happens = event => waiting.length ? waiting.shift()(event) : happened.push(event);
    window.next = () => happened.length ? happened.shift() : new Promise(resolve => waiting.push(resolve));
    const shown = data => typeof data === "string" ? { text: data }
        : { binary: btoa(Array.from(new Uint8Array(data), byte => String.fromCharCode(byte)).join("")) };
    window.bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
    window.ws = new WebSocket(url, protocols);
    ws.binaryType = "arraybuffer";
    ws.onopen = () => resolve(ws.protocol);
    ws.onmessage = ({ data }) => happens(shown(data));
    ws.onclose = ({ code, reason }) => { reject(new Error(`closed ${code}`)); happens({ code, reason }); };
})
"""
SEND = (
    "messages => messages.forEach(({ text, binary }) => ws.send(binary === undefined ? text : bytes(binary)))"
)
RECEIVE = "async count => { const all = []; while (all.length < count) all.push(await next()); return all; }"


@asynccontextmanager
async def browsing() -> AsyncIterator[playwright.Browser]:
    """A browser of this machine's own."""
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


def proxied_by(proxy: Proxy) -> playwright.ProxySettings:
    """How a page is told to go through a proxy, to this machine itself, too."""
    return playwright.ProxySettings(server=f"http://127.0.0.1:{proxy.port}", bypass="<-loopback>")


class PageClient(Client):
    """A page's socket."""

    def __init__(self, page: playwright.Page, subprotocol: str | None) -> None:
        self.page = page
        self.subprotocol = subprotocol
        self.port = 0

    async def send(self, message: Message) -> None:
        await self.send_all([message])

    async def send_all(self, messages: list[Message]) -> None:
        await self.page.evaluate(SEND, [_shown(message) for message in messages])

    async def receive(self) -> Message:
        (message,) = await self.receive_all(1)
        return message

    async def receive_all(self, count: int) -> list[Message]:
        happened = await self.page.evaluate(RECEIVE, count)
        return [each["text"] if "text" in each else base64.b64decode(each["binary"]) for each in happened]

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        await self.page.evaluate(
            "([code, reason]) => code ? ws.close(code, reason) : ws.close()", [code, reason]
        )
        await self.page.evaluate(
            "async () => { while (ws.readyState !== 3) await new Promise(next => setTimeout(next, 5)); }"
        )

    async def closed(self) -> tuple[int, str]:
        (happened,) = await self.page.evaluate(RECEIVE, 1)
        return happened["code"], happened["reason"]

    async def leave(self) -> None:
        await self.page.goto("about:blank")


@asynccontextmanager
async def connect_page(page: playwright.Page, url: str, wish: Wish) -> AsyncIterator[PageClient]:
    """Have a page that is told to use the proxy open a socket."""
    yield PageClient(page, await page.evaluate(OPEN, [url, list(wish.subprotocols)]) or None)
    await page.goto("about:blank")


def _shown(message: Message) -> dict[str, str]:
    return {"text": message} if isinstance(message, str) else {"binary": base64.b64encode(message).decode()}
