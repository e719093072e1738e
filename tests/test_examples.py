"""Each example, run as its first lines say."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from support.forked_programs import WIREWRIGHT
from support.ports import free_port
from support.processes import ROOT, mitmdump, running
from support.servers import serving, serving_raw

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that says it is ready, and then echoes."""

    async def handler(connection: ServerConnection) -> None:
        await connection.send("wait")
        await connection.send("now ready")
        async for message in connection:
            await connection.send(message)

    async with serving(handler) as served:
        yield served


async def test_watch_prints_the_frames_of_a_client(confdir: Path, url: str) -> None:
    async with mitmdump("-s", EXAMPLES / "watch.py", confdir=confdir) as (run, port):
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client:
            await run.line(f"^open  {url}/live$")
            await run.line("^< now ready$")
            await client.send("hello")
            await run.line("^> hello$")
            await run.line("^< hello$")
        await run.line(f"^close {url}/live 1000 $")


async def test_wait_for_frame_tells_when_the_frame_came(confdir: Path, url: str) -> None:
    async with (
        mitmdump("-s", EXAMPLES / "wait_for_frame.py", confdir=confdir) as (run, port),
        websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}"),
    ):
        await run.line(rf"^{url}/live: ready after \d+\.\d{{3}} s: now ready$")


async def test_wait_for_frame_tells_when_the_socket_closed_first(confdir: Path, url: str) -> None:
    example = EXAMPLES / "wait_for_frame.py"
    async with mitmdump("-s", example, confdir=confdir, WORD="never said") as (run, port):
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}"):
            pass
        await run.line(f"^{url}/live: not ready: Socket closed: 1000$")


async def test_failures_tells_what_goes_wrong(confdir: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def broken(connection: ServerConnection) -> None:
        await connection.close(4000, "broken")

    async with mitmdump("-s", EXAMPLES / "failures.py", confdir=confdir) as (run, port):
        proxy = f"http://127.0.0.1:{port}"
        async with serving_raw(refuse) as refusing:
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(refusing, proxy=proxy)
            await run.line(
                f"^FAILED {refusing}/: Error during WebSocket handshake: Unexpected response code: 403"
            )
        async with serving(broken) as breaking:
            async with websockets.connect(breaking, proxy=proxy) as client:
                await client.wait_closed()
            await run.line(f"^BROKEN {breaking}/: closed with 4000 'broken' by server$")


async def test_inject_tells_the_app_something_once(confdir: Path, url: str) -> None:
    async with mitmdump("-s", EXAMPLES / "inject.py", confdir=confdir, MESSAGE="psst") as (run, port):
        async with websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client:
            received = {await client.recv(), await client.recv(), await client.recv()}
            await client.send("last")
            assert await client.recv() == "last"
        assert received == {"wait", "now ready", "psst"}
        await run.line(f"^{url}/: told the app 'psst'$")


async def test_mock_ticker_quotes_and_closes(confdir: Path) -> None:
    lazily = ("--set", "connection_strategy=lazy")
    async with (
        mitmdump("-s", EXAMPLES / "mock_ticker.py", *lazily, confdir=confdir) as (_, port),
        websockets.connect("ws://nowhere.invalid/ticker", proxy=f"http://127.0.0.1:{port}") as client,
    ):
        await client.send('{"subscribe": "WIRE"}')
        quotes = [json.loads(message) async for message in client]
    assert quotes == [{"symbol": "WIRE", "price": price} for price in (100.5, 101.25, 99.75)]
    assert (client.close_code, client.close_reason) == (1000, "market closed")


async def test_rewrite_order_changes_both_ways(confdir: Path) -> None:
    got: list[str | bytes] = []

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            got.append(message)
            await connection.send(message)

    async with (
        mitmdump("-s", EXAMPLES / "rewrite_order.py", confdir=confdir) as (_, port),
        serving(handler) as url,
        websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client,
    ):
        for message in ('{"side": "buy"}', b"\x00buy"):
            await client.send(message)
            assert await client.recv() == message
    assert got == ['{"side": "sell"}', b"\x00sell"]


async def test_drop_every_third_drops_just_that(confdir: Path, url: str) -> None:
    async with (
        mitmdump("-s", EXAMPLES / "drop_every_third.py", confdir=confdir) as (run, port),
        websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client,
    ):
        for number in range(3, 8):
            await client.send(str(number))
        assert [await client.recv() for _ in range(5)] == ["wait", "now ready", "4", "5", "7"]
        await run.line(f"^{url}/: dropped '3'$")
        await run.line(f"^{url}/: dropped '6'$")


async def test_flaky_lift_keeps_what_is_said_in_it(confdir: Path, url: str) -> None:
    async with (
        mitmdump("-s", EXAMPLES / "flaky_lift.py", confdir=confdir, ENTERS="0.5", LEAVES="1") as (run, port),
        websockets.connect(url, proxy=f"http://127.0.0.1:{port}") as client,
    ):
        assert [await client.recv() for _ in range(2)] == ["wait", "now ready"]
        await run.line(f"^{url}/: in the lift$")
        await client.send("in the lift")
        pong = await client.ping()
        await run.line(f"^{url}/: out of it again$")
        await pong
        assert await client.recv() == "in the lift"


async def test_refuse_without_token_lets_in_who_has_it(confdir: Path, url: str) -> None:
    example = EXAMPLES / "refuse_without_token.py"
    async with mitmdump("-s", example, confdir=confdir, TOKEN="sesame") as (run, port):
        proxy = f"http://127.0.0.1:{port}"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(url, proxy=proxy)
        assert (refused.value.response.status_code, refused.value.response.body) == (403, b"no token\n")
        await run.line(f"^{url}/: refused$")
        headers = {"Authorization": "Bearer sesame"}
        async with websockets.connect(url, proxy=proxy, additional_headers=headers) as client:
            assert await client.recv() == "wait"


async def test_in_a_program_waits_for_a_socket_and_a_frame(url: str, tmp_path: Path) -> None:
    port = free_port()
    example = EXAMPLES / "in_a_program.py"
    async with running(sys.executable, example, PORT=str(port), HOME=str(tmp_path)) as run:
        await run.line(f"http://127.0.0.1:{port} as an app's proxy")
        await run.line("mitmproxy-ca-cert.pem$")
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}"):
            await run.line(f"{url}/live was opened")
            await run.line("the server's first frame: 'wait'")
        await run.rest()
        assert run.process.returncode == 0


async def test_in_a_program_says_when_its_port_is_taken(url: str, tmp_path: Path) -> None:
    taken = url.rpartition(":")[2]
    async with running(sys.executable, EXAMPLES / "in_a_program.py", PORT=taken, HOME=str(tmp_path)) as run:
        assert await run.rest() == f"port {taken} is already in use: give another one, or 0 for a free one"
        assert run.process.returncode == 1


async def test_captures_are_recorded_played_and_looked_into(confdir: Path, url: str, tmp_path: Path) -> None:
    capture = tmp_path / "session.db"
    async with (
        mitmdump("-s", EXAMPLES / "record.py", confdir=confdir, CAPTURE=str(capture)) as (_, port),
        websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client,
    ):
        await client.send('{"id":1,"phone":"555"}')
        assert [await client.recv() for _ in range(3)][-1] == '{"id":1,"phone":"555"}'

    async with running(sys.executable, EXAMPLES / "longest_silences.py", capture) as run:
        await run.line(rf"^ +\d+\.\d ms  {url}/live  '{{\"id\":1,\"phone\":\"REDACTED\"}}'$")
    async with running(sys.executable, EXAMPLES / "longest_silences.py", tmp_path / "gone.db") as run:
        await run.line(r"^usage: python examples/longest_silences\.py FILE \(.*there is no such file\)$")

    play = ("run", "-p", "0", "--set", f"confdir={confdir}", "-s", EXAMPLES / "recorded_server.py")
    async with running(WIREWRIGHT, *play, CAPTURE=str(capture)) as run:
        proxy = f"http://127.0.0.1:{(await run.line('listening on .*?:([0-9]+)'))[1]}"
        async with websockets.connect(f"{url}/live", proxy=proxy) as client:
            await client.send("something else")
            await client.send('{"id":2,"phone":"777"}')
            assert [await client.recv() for _ in range(3)][:2] == ["wait", "now ready"]
        await run.line("^1 messages were not as recorded$")


@pytest.mark.once("the apps are the same, and tests/pytest_plugin tries the plugin")
async def test_apps_are_tested(tmp_path: Path) -> None:
    """With workers, which have all that a plain run has."""
    plugins = ("-p", "no:cacheprovider", "-p", "no:timeout")
    command = (sys.executable, "-m", "pytest", "-q", *plugins, "-n", "2", "examples/tested")
    cassette = EXAMPLES / "tested" / "cassettes" / "orders.jsonl"
    recorded = cassette.read_bytes()
    async with running(*command, cwd=ROOT, HOME=str(tmp_path)) as run:
        said = await run.rest()
        assert run.process.returncode == 0, said
    assert re.search(r"\b2\d passed", said)
    assert "skipped" not in said or shutil.which("chromium") is None
    assert cassette.read_bytes() == recorded
