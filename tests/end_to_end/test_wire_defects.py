"""What mitmproxy's own WebSocket layer does wrong, and ours does not. The table holds both.

Each row is tried on a mitmdump with Wirewright and on one without: a row that mitmproxy has mended fails
here, and so does one that could not tell the difference.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from mitmproxy.certs import CertStore

from support.mitmproxy_scripts import edit_messages, print_events
from support.processes import ADDON, BIN, Running, running
from support.raw_peers import Frame, RawServer, asking, raw_app, raw_socket
from support.time_limits import STEP_SECONDS
from wirewright.wire.frames import Opcode, encode_frame

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 1500
"""Messages; more than a socket remembers."""
REMEMBERED = 1000
"""Messages that a socket remembers here."""


@dataclass
class Mitmdump:
    """One that runs, and what it prints."""

    run: Running
    port: int

    async def ask(self, path: str) -> str:
        """Have the script do something; its answer."""
        request = f"GET http://{print_events.SCRIPT_HOST}{path} HTTP/1.1\r\nConnection: close\r\n\r\n"
        answer = await self.tell(request.encode())
        return answer.partition("\r\n\r\n")[2]

    async def tell(self, data: bytes) -> str:
        """Send bytes; all that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer.decode()


async def app_of_a_mocked_socket_closes(proxy: Mitmdump) -> object:
    async with raw_app(proxy.port, f"ws://{print_events.MOCKED_HOST}/") as app:
        await proxy.run.line("^STARTED")
        await app.send_close(3000, "bye")
        ended = await proxy.run.line("^ENDED (3000)|has (crashed)")
        return ended[1] and (await app.ending(), await app.rest())


async def server_drops_its_connection(proxy: Mitmdump) -> object:
    async with raw_socket(proxy.port) as socket:
        await socket.server.send("last words")
        assert await socket.app.message() == "last words"
        socket.server.hang_up()
        return await socket.app.ending()


async def message_is_injected_between_two_fragments(proxy: Mitmdump) -> object:
    async with raw_socket(proxy.port) as socket:
        app, server = socket.app, socket.server
        data: list[Frame] = []
        await server.write(server.encode(Opcode.TEXT, b"the", fin=False), server.encode(Opcode.PING))
        while (frame := await app.frame()).opcode != Opcode.PING:
            data.append(frame)
        await proxy.ask("/inject")
        for fragment in (server.encode(Opcode.CONTINUATION, b"irs"), server.encode(Opcode.TEXT, b"end")):
            await server.write(fragment)
            while not data or data[-1].payload not in fragment:
                data.append(await app.frame())
        joined = "".join(frame.payload.decode() + "|" * frame.fin for frame in data)
        return joined.split("|")[:-1]


async def message_is_edited_into_a_large_one(proxy: Mitmdump) -> object:
    async with raw_socket(proxy.port, path="/edited") as socket:
        await socket.app.send("small")
        frames = [await socket.server.frame()]
        while not frames[-1].fin:
            frames.append(await socket.server.frame())
        return [len(frame.payload) for frame in frames]


async def app_asks_for_a_ws_target(proxy: Mitmdump) -> object:
    async with RawServer() as server:
        target = asking(f"{server.url}/live", server.url.removeprefix("ws://"))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(target)
        status = (await reader.readline()).split()[1]
        writer.close()
        return int(status)


async def server_begins_with_a_line_feed(proxy: Mitmdump) -> object:
    early = encode_frame(Opcode.PONG, b"half", fin=False)
    assert early.startswith(b"\n")
    async with RawServer(early=early) as server, raw_app(proxy.port, server.url) as app:
        try:
            return await app.read(len(early)) == early
        except EOFError:
            return False


async def many_messages_pass(proxy: Mitmdump) -> object:
    async with raw_socket(proxy.port) as socket:
        text = socket.server.encode(Opcode.TEXT, b"small")
        await socket.server.write(text * MANY)
        await socket.app.read(len(text) * MANY)
        return int(await proxy.ask("/count"))


Try = Callable[[Mitmdump], Awaitable[object]]
DEFECTS: dict[Try, tuple[object, object]] = {
    # What is tried: what Wirewright makes of it, and what mitmproxy does.
    app_of_a_mocked_socket_closes: (((3000, "bye"), b""), None),
    server_drops_its_connection: ((1006, ""), (1000, "")),
    message_is_injected_between_two_fragments: (["theirs", "ours", "end"], ["theours", "irs", "end"]),
    message_is_edited_into_a_large_one: ([10_000], [4000, 4000, 2000]),
    app_asks_for_a_ws_target: (101, 400),
    server_begins_with_a_line_feed: (True, False),
    many_messages_pass: (REMEMBERED, MANY),
}


ALONE = [print_events.__file__, edit_messages.__file__]
KINDS: dict[str, list[str | Path]] = {
    "mitmproxy alone": [*ALONE],
    "wirewright": [ADDON, print_events.__file__],
    "wirewright, others edit": [ADDON, *ALONE],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mitmdumps(confdir: Path) -> AsyncIterator[dict[str, Mitmdump]]:
    """One of each kind."""

    async def start(scripts: list[str | Path]) -> Mitmdump:
        options = ["--set", f"confdir={confdir}", "--set", "connection_strategy=lazy", "-p", "0"]
        loaded = (argument for script in scripts for argument in ("-s", script))
        if ADDON in scripts:
            options += ["--set", f"ws_history={REMEMBERED}"]  # without it a script with hooks keeps them all
        command = running(BIN / "mitmdump", "--listen-host", "127.0.0.1", *options, *loaded)
        run = await stack.enter_async_context(command)
        return Mitmdump(run, int((await run.line(r"listening at .*?:(\d+)"))[1]))

    CertStore.from_store(confdir, "mitmproxy", 2048)  # else each would make a CA
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(*map(start, KINDS.values()))
        yield dict(zip(KINDS, started, strict=True))


@pytest.mark.parametrize("tried", DEFECTS, ids=lambda tried: tried.__name__)
@pytest.mark.parametrize("kind", ["wirewright", "mitmproxy alone"])
async def test_defect_of_mitmproxy(mitmdumps: dict[str, Mitmdump], tried: Try, kind: str) -> None:
    ours, stock = DEFECTS[tried]
    expected = ours if kind == "wirewright" else stock
    if kind == "wirewright" and tried is message_is_edited_into_a_large_one:
        kind = "wirewright, others edit"
    async with asyncio.timeout(STEP_SECONDS):
        assert await tried(mitmdumps[kind]) == expected
