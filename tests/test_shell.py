"""A running proxy on the command line."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from support.processes import BIN, Running, running
from support.servers import serving

WIREWRIGHT = BIN / "wirewright"


class Shell:
    """Commands beside a proxy that `wirewright run --remote` serves."""

    def __init__(self, environment: dict[str, Any], port: int) -> None:
        self._environment = environment
        self.proxy = f"http://127.0.0.1:{port}"

    def start(self, *command: str | Path) -> contextlib.AbstractAsyncContextManager[Running]:
        return running(WIREWRIGHT, *command, COLUMNS="200", **self._environment)

    async def run(self, *command: str) -> tuple[int | None, str]:
        async with self.start(*command) as process:
            said = await process.rest()
            return process.process.returncode, said


@pytest.fixture
async def shell(confdir: Path, tmp_path: Path) -> AsyncIterator[Shell]:
    environment: dict[str, Any] = {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = (WIREWRIGHT, "run", "-p", "0", "--set", f"confdir={confdir}", "--remote", "127.0.0.1:0")
    async with running(*command, **environment) as run:
        port = int((await run.line(r"listening on \S*:(\d+)"))[1])
        await run.line("Stop")
        while not list(tmp_path.glob("wirewright/*.json")):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0)
        yield Shell(environment, port)


async def test_sockets_are_listed(shell: Shell) -> None:
    assert await shell.run("list") == (0, "No socket is open.")
    assert await shell.run("list", "--json") == (0, "[]")
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy):
        code, said = await shell.run("list")
        assert (code, f"#1  {url}/live" in said, "101" in said) == (0, True, True)
        (socket,) = json.loads((await shell.run("list", "--json", "--url", "**/live"))[1])
        assert (socket["url"], socket["status"]) == (f"{url}/live", 101)
        assert await shell.run("list", "--json", "--url", "**/other") == (0, "[]")


async def test_wait_prints_what_it_has_waited_for(shell: Shell) -> None:
    async with (
        serving() as url,
        websockets.connect(f"{url}/live", proxy=shell.proxy) as client,
        shell.start("wait", "--url", "**/live", "--grep", "WELCOME") as waiting,
    ):
        # Since when it waits nobody knows; so it is said again and again.
        saying = asyncio.ensure_future(_say(client, "no", "welcome é"))
        assert await waiting.rest() == "welcome é"
        assert waiting.process.returncode == 0
        saying.cancel()
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy) as client:
        await client.send(b"\xff\x00last")
        await client.recv()
        code, said = await shell.run("wait", "--history", "--grep", "last", "--event", "framesent")
        assert (code, said.endswith("last")) == (0, True)


async def _say(client: websockets.ClientConnection, *messages: str) -> None:
    while True:
        for message in messages:
            await client.send(message)
            await client.recv()


async def test_wait_tells_by_its_exit_code_why_nothing_came(shell: Shell) -> None:
    assert await shell.run("wait", "--timeout", "0.1") == (1, "")
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy) as client:
        assert await shell.run("wait", "--timeout", "0.1", "--grep", "x") == (1, "")
        await client.close()
        async with shell.start("wait", "--grep", "never said") as waiting:
            coming_and_going = asyncio.ensure_future(_come_and_go(f"{url}/live", shell.proxy))
            assert await waiting.rest() == "Socket closed"
            assert waiting.process.returncode == 2
            coming_and_going.cancel()


async def _come_and_go(url: str, proxy: str) -> None:
    while True:
        async with websockets.connect(url, proxy=proxy) as client:
            for _ in range(50):
                await client.send("no")
                await client.recv()


async def test_message_is_sent(shell: Shell) -> None:
    code, said = await shell.run("send", "hello")
    assert (code, said) == (1, "wirewright: no socket is open")
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy) as client:
        assert await shell.run("send", "--url", "**/live", "hello é") == (0, "")
        assert await client.recv() == "hello é"
        assert await shell.run("send", "--to", "server", "echo") == (0, "")
        assert await client.recv() == "echo"


async def test_attached_session_has_the_proxy(shell: Shell) -> None:
    process = await asyncio.create_subprocess_exec(
        WIREWRIGHT,
        "attach",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=shell._environment | {"PATH": "/usr/bin:/bin"},
    )
    said, _ = await process.communicate(b"print('port', proxy.port)\n")
    assert f"port {shell.proxy.rpartition(':')[2]}" in said.decode()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["list"], "no proxy with ws_remote runs here"),
        (["wait", "--event", "message"], "--event must be one of framereceived, framesent"),
        (["send", "--to", "nobody", "x"], "--to must be client or server, not 'nobody'"),
        (["attach", "--endpoint", "http://h"], "an endpoint is ws://host:port"),
        (["list", "--endpoint", "ws://127.0.0.1:1"], "ws://127.0.0.1:1 wants a token"),
    ],
)
async def test_mistakes_are_one_sentence(tmp_path: Path, command: list[str], said: str) -> None:
    async with running(WIREWRIGHT, *command, COLUMNS="200", XDG_RUNTIME_DIR=str(tmp_path)) as run:
        text = await run.rest()
    assert said in text
    assert text.count("\n") == 0
    assert run.process.returncode == 1
