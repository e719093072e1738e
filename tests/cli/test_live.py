"""A running proxy on the command line."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from support.forked_programs import WIREWRIGHT
from support.processes import Running, running
from support.servers import serving


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

    async def feed(self, stdin: bytes, *command: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            WIREWRIGHT,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment | {"PATH": "/usr/bin:/bin"},
        )
        said, _ = await process.communicate(stdin)
        return process.returncode, said.decode().rstrip("\n")


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
        (socket,) = json.loads((await shell.run("list", "--json", "--url", "**/live"))[1])
        assert (socket["url"], socket["status"]) == (f"{url}/live", 101)
        assert "number" not in socket
        code, said = await shell.run("list")
        assert (code, f"{socket['id'][:8]}  {url}/live" in said, "101" in said) == (0, True, True)
        assert await shell.run("list", "--json", "--url", "**/other") == (0, "[]")
        nothing = f"No socket is open whose URL matches; open: {url}/live."
        assert await shell.run("list", "--url", "**/other") == (0, nothing)


async def test_urls_are_any_of_those_given_with_or_without_their_query(shell: Shell) -> None:
    urls = ("--url", "**/nothing", "--url", "**/live", "--url", "**/other")
    async with serving() as url, websockets.connect(f"{url}/live?x=1", proxy=shell.proxy) as client:
        (socket,) = json.loads((await shell.run("list", "--json", *urls))[1])
        assert socket["url"] == f"{url}/live?x=1"
        assert await shell.run("send", *urls, "hello") == (0, "")
        assert await client.recv() == "hello"
        assert await shell.run("wait", "--history", *urls, "--grep", "hello") == (0, "hello")


async def test_long_urls_are_listed_whole(shell: Shell) -> None:
    async with serving() as url:
        long = f"{url}/{'long' * 100}"
        async with websockets.connect(long, proxy=shell.proxy):
            assert long in (await shell.run("list"))[1]


async def test_wait_prints_what_it_has_waited_for(shell: Shell) -> None:
    async with (
        serving() as url,
        websockets.connect(f"{url}/live", proxy=shell.proxy) as client,
        websockets.connect(f"{url}/live", proxy=shell.proxy),
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


async def test_wait_tells_when_the_time_is_up(shell: Shell) -> None:
    nothing = "wirewright: no framereceived came within 0.1 s: no socket was there"
    assert await shell.run("wait", "--timeout", "0.1") == (1, nothing)
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy):
        code, said = await shell.run("wait", "--timeout", "0.1", "--grep", "[x]", "--event", "framesent")
        assert (code, said) == (
            1,
            f"wirewright: no framesent with '[x]' came within 0.1 s: {url}/live",
        )
        code, said = await shell.run("wait", "--timeout", "0.1", "--url", "**/other")
        assert (code, said.endswith(f": no socket was there whose URL matches; open: {url}/live")) == (
            1,
            True,
        )


def opening(key: str) -> dict[str, object]:
    return {"type": "opening", "socket": {"key": key, "url": f"ws://host/{key}", "request_headers": []}}


def frame(key: str, payload: str) -> dict[str, object]:
    values = {"event": "framereceived", "number": 0, "payloads": [payload], "at": 0}
    return {"type": "frames", "key": key, **values}


def failed(key: str, message: str) -> dict[str, object]:
    return {"type": "failed", "key": key, "message": message}


def closed(
    key: str, code: int | None = 1000, reason: str | None = "", by: str = "server"
) -> dict[str, object]:
    return {"type": "closed", "key": key, "code": code, "reason": reason, "by": by}


GONE: dict[str, object] = {}
"""The end of a proxy that tells."""


async def wait_for_what_is_told(
    folder: Path, told: Sequence[dict[str, object]], *options: str
) -> tuple[int | None, str]:
    """What `wait` says, and its exit code, where a proxy tells it all of this at once."""

    async def tell(client: ServerConnection) -> None:
        await client.recv()
        for message in (WELCOME, *told):
            if message is GONE:
                await client.close()
            else:
                await client.send(json.dumps(message))
        await client.wait_closed()

    async with serving(tell, subprotocols=[websockets.Subprotocol("wirewright.v2.json")]) as url:
        endpoint = folder / "endpoint.json"
        endpoint.write_text(json.dumps({"address": url, "token": "t", "pid": 0}))
        async with running(WIREWRIGHT, "wait", "--endpoint", endpoint, *options) as waiting:
            said = await waiting.rest()
            return waiting.process.returncode, said


WELCOME = {
    "type": "welcome",
    "program": "wirewright",
    "port": 8080,
    "ca_certificate": "/ca.pem",
    "history_messages": 10,
    "history_bytes": 1000,
    "sockets": [],
}


@pytest.mark.parametrize(
    ("told", "options", "said"),
    [
        ([opening("a"), frame("a", "first")], [], "first"),
        ([opening("a"), opening("b"), frame("a", "of the older")], [], "of the older"),
        ([opening("a"), opening("b"), frame("b", "no"), frame("a", "yes")], ["--grep", "YES"], "yes"),
        ([opening("a"), opening("b"), closed("b"), frame("a", "still")], [], "still"),
        ([opening("a"), opening("b"), failed("b", "x"), closed("b"), frame("a", "still")], [], "still"),
        ([opening("a"), closed("a", 4000, "broken")], ["--event", "close"], "4000 broken"),
        ([opening("a"), closed("a", 4000, "x")], ["--event", "framesent", "--event", "close"], "4000 x"),
        (
            [opening("a"), frame("a", "said"), closed("a", 4000, "x")],
            ["--event", "close", "--event", "framereceived"],
            "said",
        ),
        ([opening("a"), frame("a", "one"), frame("a", "two")], ["--grep", "TWO", "--grep", "three"], "two"),
        (
            [opening("a"), opening("b"), closed("b"), closed("a", 4000, "Broken")],
            ["--event", "close", "--grep", "4000 broken"],
            "4000 Broken",
        ),
        ([opening("a"), failed("a", "bad"), closed("a", 1002)], ["--event", "close"], "1002"),
        ([opening("a"), closed("a", 1006, "", "proxy")], ["--event", "close"], "1006"),
        (
            [opening("a"), opening("b"), failed("a", "no"), closed("a"), failed("b", "net::YES")],
            ["--event", "socketerror", "--grep", "yes"],
            "net::YES",
        ),
    ],
)
async def test_wait_follows_all_sockets(
    tmp_path: Path, told: list[dict[str, object]], options: list[str], said: str
) -> None:
    assert await wait_for_what_is_told(tmp_path, told, *options) == (0, said)


@pytest.mark.parametrize(
    ("told", "options", "said"),
    [
        ([closed("a")], [], "a framereceived came: ws://host/a"),
        ([closed("a")], ["--grep", "x"], "a framereceived with 'x' came: ws://host/a"),
        ([closed("a")], ["--event", "close", "--grep", "4000"], "a close with '4000' came: ws://host/a"),
        ([failed("a", "bad"), closed("a", None, None)], [], "a framereceived came: ws://host/a"),
        ([closed("a")], ["--event", "socketerror"], "a socketerror came: ws://host/a"),
        ([closed("a", 1006, "", "proxy")], [], "a framereceived came: ws://host/a"),
        (
            [*map(opening, ("b", "\x1b", "d", "e")), *map(closed, ("a", "b", "\x1b", "d", "e"))],
            [],
            r"a framereceived came: ws://host/a, ws://host/b, ws://host/\x1b and 2 more",
        ),
    ],
)
async def test_wait_ends_once_all_sockets_have_closed(
    tmp_path: Path, told: list[dict[str, object]], options: list[str], said: str
) -> None:
    assert await wait_for_what_is_told(tmp_path, [opening("a"), *told], *options) == (
        4,
        f"wirewright: all sockets closed before {said}",
    )


@pytest.mark.parametrize("event", ["framereceived", "close"])
@pytest.mark.parametrize(
    "told", [[GONE], [opening("a"), GONE], [opening("a"), closed("a", 1006, "", "proxy"), GONE]]
)
async def test_wait_ends_with_its_proxy(tmp_path: Path, told: list[dict[str, object]], event: str) -> None:
    assert await wait_for_what_is_told(tmp_path, told, "--event", event) == (3, "wirewright: Proxy closed")


async def test_message_is_sent(shell: Shell) -> None:
    code, said = await shell.run("send", "hello")
    assert (code, said) == (1, "wirewright: no socket is open")
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy) as client:
        assert await shell.run("send", "--url", "**/live", "hello é") == (0, "")
        assert await client.recv() == "hello é"
        assert await shell.run("send", "--to", "server", "echo") == (0, "")
        assert await client.recv() == "echo"
        assert await shell.run("send", "--binary", "é") == (0, "")
        assert await client.recv() == "é".encode()


async def test_message_is_read_from_stdin(shell: Shell) -> None:
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy) as client:
        assert await shell.feed("é\n".encode(), "send", "-") == (0, "")
        assert await client.recv() == "é\n"
        assert await shell.feed(b"\xff\x00", "send", "--binary", "-") == (0, "")
        assert await client.recv() == b"\xff\x00"
        assert await shell.feed(b"\xff\x00", "send", "-") == (
            1,
            "wirewright: stdin is not UTF-8: send it with --binary",
        )


async def test_attached_session_has_the_proxy(shell: Shell) -> None:
    async with serving() as url, websockets.connect(f"{url}/live", proxy=shell.proxy):
        code, said = await shell.feed(b"print('port', proxy.port)\n", "attach")
    port = shell.proxy.rpartition(":")[2]
    assert f"proxy is <Proxy port={port}>, of the sync API, with 1 open socket: " in said
    assert f"port {port}" in said
    assert code == 0


async def test_error_in_an_attached_session_is_its_own(shell: Shell) -> None:
    _, said = await shell.feed(b"1 / 0\n", "attach")
    assert "with 0 open sockets: " in said
    assert "ZeroDivisionError" in said
    assert "During handling" not in said


async def test_names_are_completed_in_an_attached_session(shell: Shell) -> None:
    pytest.importorskip("readline")
    completing = b"import readline\nprint('it is', readline.get_completer()('proxy.web_s', 0))\n"
    _, said = await shell.feed(completing, "attach")
    assert "it is proxy.web_sockets" in said


async def mistake(folder: Path, *command: str) -> tuple[int | None, str]:
    """How a command ends where no proxy runs, and what it says."""
    async with running(WIREWRIGHT, *command, COLUMNS="200", XDG_RUNTIME_DIR=str(folder)) as run:
        said = await run.rest()
        return run.process.returncode, said


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("list", 1, "no proxy with ws_remote runs here"),
        ("wait", 3, "no proxy with ws_remote runs here"),
        ("list --endpoint ws://127.0.0.1:1", 1, "ws://127.0.0.1:1 wants a token"),
        ("send --url { x", 2, "invalid glob '{'"),
        ("send --to nobody x", 2, "--to must be client or server, not 'nobody'"),
        ("list --url {", 2, "invalid glob '{'"),
        ("wait --url {", 2, "invalid glob '{'"),
        ("wait --event message", 2, "--event must be one of framereceived, framesent"),
        ("wait --event close --event message", 2, "--event must be one of framereceived, framesent"),
        ("attach --endpoint http://h", 2, "an endpoint is ws://host:port"),
        ("wait --endpoint http://h", 2, "an endpoint is ws://host:port"),
    ],
)
async def test_mistakes_are_one_sentence(tmp_path: Path, command: str, code: int, said: str) -> None:
    ended, text = await mistake(tmp_path, *command.split())
    assert said in text
    assert (ended, text.count("\n")) == (code, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--nonsense", "No such option:? ['\"]?--nonsense"),
        ("--timeout soon", "Invalid value for '--timeout'"),
        ("too much", "unexpected extra argument"),
    ],
)
async def test_mistakes_are_no_closed_sockets_to_wait(tmp_path: Path, options: str, said: str) -> None:
    code, text = await mistake(tmp_path, "wait", *options.split())
    assert re.search(said, text)
    assert code == 2
