"""Our layer inside mitmdump and mitmweb: what they print, save and show."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from mitmproxy import http, io

from support.mitmproxy_scripts import edit_messages
from support.model_sockets import begin_socket
from support.ports import free_port
from support.processes import ADDON, BIN, Running, running
from support.raw_peers import RawSocket, raw_socket
from wirewright import Proxy
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.recorder import Recorder
from wirewright.model.proxy_control import Control
from wirewright.values import Direction
from wirewright.wire.frames import Opcode


@asynccontextmanager
async def mitmdump_with(confdir: Path, *arguments: str | Path) -> AsyncIterator[tuple[Running, int]]:
    """A mitmdump, with our addon only if it is asked for."""
    options = ("--set", f"confdir={confdir}", "--listen-host", "127.0.0.1", "-p", "0")
    async with running(BIN / "mitmdump", *options, *arguments) as run:
        yield run, int((await run.line(r"listening at .*?:(\d+)"))[1])


async def talk(socket: RawSocket) -> list[str]:
    """Messages of many kinds, in one order only; what was said."""
    app, server = socket.app, socket.server
    await app.send("hello")
    assert await server.message() == "hello"
    await server.send(b"\x00\xff")
    assert await app.message() == b"\x00\xff"
    await app.write(app.encode(Opcode.TEXT, b"in two", fin=False), app.encode(Opcode.CONTINUATION, b" parts"))
    assert await server.message() == "in two parts"
    await server.send("x" * 5000)
    assert await app.message() == "x" * 5000
    await app.send("")
    assert await server.message() == ""
    await app.send_close(1000, "bye")
    assert await server.ending() == (1000, "bye")
    await server.send_close(1000, "bye")
    server.hang_up()
    await app.rest()
    return ["hello", "\x00\xff", "in two parts", "x" * 5000, ""]


async def printed(confdir: Path, *arguments: str | Path) -> list[str]:
    """What mitmdump prints of a talk, from the app's connection on, without times and ports."""
    async with mitmdump_with(confdir, *arguments) as (run, port):
        async with raw_socket(port) as socket:
            await run.line("client connect")
            await talk(socket)
        await run.line("WebSocket connection closed")
    lines = [re.sub(r"^\[[\d:.]+\]|\d+\.\d+s", "", line) for line in run.lines]
    lines = [re.sub(r"(127\.0\.0\.1|localhost):\d+", r"\1", line) for line in lines]
    start = next(number for number, line in enumerate(lines) if "client connect" in line)
    return [line for line in lines[start:] if "disconnect" not in line]


async def test_mitmdump_prints_what_it_prints_without_us(confdir: Path) -> None:
    ours, held, stock = await asyncio.gather(
        printed(confdir, "-s", ADDON),
        printed(confdir, "-s", ADDON, "-s", edit_messages.__file__),
        printed(confdir),
    )
    assert sum("WebSocket text message" in line or "WebSocket binary" in line for line in stock) == 5
    assert ours == stock
    assert held == stock


async def test_mitmdump_saves_all_messages_of_a_socket_that_is_open_when_it_ends(
    confdir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "flows"
    few = ("--set", "ws_history=5", "-w", file)
    async with mitmdump_with(confdir, "-s", ADDON, *few) as (run, port), raw_socket(port) as socket:
        for number in range(50):
            source, destination = socket.legs()[number % 2]
            await source.send(str(number))
            assert await destination.message() == str(number)
        run.process.send_signal(signal.SIGINT)
        await run.rest()
    with file.open("rb") as saved:
        (flow,) = io.FlowReader(saved).stream()
    assert isinstance(flow, http.HTTPFlow)
    assert flow.websocket is not None
    assert [message.text for message in flow.websocket.messages] == [str(number) for number in range(50)]


class Mitmweb:
    """mitmweb's interface, as its page in a browser uses it."""

    def __init__(self, session: aiohttp.ClientSession, updates: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._updates = updates

    async def flow_with(self, messages: int) -> dict[str, Any]:
        """The flow, once the page has been told that it has so many messages."""
        while True:
            said = await self._updates.receive_json()
            flow = said.get("data") or (said.get("payload") or {}).get("flow") or {}
            if (
                isinstance(flow, dict)
                and (flow.get("websocket") or {}).get("messages_meta", {}).get("count") == messages
            ):
                return flow

    async def flows(self) -> list[dict[str, Any]]:
        """All that there are."""
        async with self._session.get("/flows") as answer:
            found: list[dict[str, Any]] = await answer.json()
            return found

    async def messages(self, flow: dict[str, Any]) -> list[tuple[bool, str]]:
        """Who sent each message, and its text."""
        async with self._session.get(f"/flows/{flow['id']}/messages/content/raw.json") as answer:
            return [(message["from_client"], _text(message)) for message in await answer.json()]

    async def inject(self, text: str, *, direction: Direction) -> None:
        arguments = ["@all", str(direction is Direction.RECEIVED).lower(), text, "true"]
        async with self._session.post("/commands/inject.websocket", json={"arguments": arguments}) as answer:
            assert await answer.json() == {"value": None}


def _text(message: dict[str, Any]) -> str:
    if "text" in message:
        return str(message["text"])
    return "\n".join("".join(text for _, text in line) for line in message["lines"])  # mitmproxy 11


@asynccontextmanager
async def mitmweb(confdir: Path, *arguments: str | Path) -> AsyncIterator[tuple[Mitmweb, int]]:
    """One with our addon, and its proxy's port."""
    web = f"127.0.0.1:{free_port()}"
    options = ("--set", f"confdir={confdir}", "--listen-host", "127.0.0.1", "-p", "0", "-s", ADDON)
    page = ("--no-web-open-browser", "--web-host", "127.0.0.1", "--web-port", web.split(":")[1])
    async with running(BIN / "mitmweb", *options, *page, *arguments) as run:
        port = int((await run.line(r"proxy listening at .*?:(\d+)"))[1])
        found = await run.line(rf"Web server listening at http://{web}/(?:\?token=(\w+))?")
        # It wants a cookie and a header that agree (Tornado's protection against forged requests).
        headers = {
            "Authorization": f"Bearer {found[1]}",
            "Cookie": "_xsrf=same; _mitmproxy_xsrf=same",
            "X-XSRFToken": "same",
        }
        async with (
            aiohttp.ClientSession(f"http://{web}", headers=headers) as session,
            session.ws_connect("/updates") as updates,
        ):
            yield Mitmweb(session, updates), port


async def test_mitmweb_shows_messages_while_the_socket_is_open_and_injects(confdir: Path) -> None:
    async with mitmweb(confdir) as (page, port), raw_socket(port) as socket:
        for number in range(3):
            await socket.server.send(f"message {number}")
            assert await socket.app.message() == f"message {number}"
        flow = await page.flow_with(3)
        shown = [(False, f"message {number}") for number in range(3)]
        assert await page.messages(flow) == shown
        assert flow["websocket"]["timestamp_end"] is None

        await socket.app.send("more")
        assert await page.messages(await page.flow_with(4)) == [*shown, (True, "more")]

        await page.inject("to the app", direction=Direction.RECEIVED)
        assert await socket.app.message() == "to the app"
        await page.flow_with(5)
        await page.inject("to the server", direction=Direction.SENT)
        assert [await socket.server.message(), await socket.server.message()] == ["more", "to the server"]
        injected = [(False, "to the app"), (True, "to the server")]
        assert await page.messages(await page.flow_with(6)) == [*shown, (True, "more"), *injected]

        await socket.server.send_close(3000, "bye")
        await socket.app.send_close(3000, "bye")
        ended = (await page.flow_with(6))["websocket"]
        while ended["close_code"] is None:
            ended = (await page.flow_with(6))["websocket"]
        assert (ended["close_code"], ended["close_reason"], ended["closed_by_client"]) == (3000, "bye", False)


async def test_mitmweb_shows_an_exported_capture(confdir: Path, tmp_path: Path) -> None:
    recorder, control = Recorder(tmp_path / "session.db", "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "wss://h/live?a=1", headers={"host": "h"})
    feed.answered(101, {"server": "a server"})
    feed.opened(("10.0.0.1", 443))
    assert feed.tape is not None
    said = [(number % 3 == 0, f"message {number} é") for number in range(300)]
    for from_client, text in said:
        feed.tape.messages(
            [text], len(text.encode()), direction=Direction.SENT if from_client else Direction.RECEIVED
        )
    control.close("1", 3000, "bye", "client")
    recorder.stop()
    file = tmp_path / "session.mitm"
    with open_capture(tmp_path / "session.db") as capture:
        export(capture, file, Filter())
    async with mitmweb(confdir, "--rfile", file) as (page, _):
        (flow,) = await page.flows()  # they are read before mitmweb says that it listens
        assert await page.messages(flow) == said
        assert (flow["request"]["pretty_host"], flow["request"]["path"]) == ("h", "/live?a=1")
        ended = flow["websocket"]
        assert (ended["close_code"], ended["close_reason"], ended["closed_by_client"]) == (3000, "bye", True)
