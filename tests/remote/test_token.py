"""Where the token is sent, and where it is not shown."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from support.forked_programs import PYTEST, WIREWRIGHT
from support.processes import running
from wirewright import Error, async_api, sync_api
from wirewright.model.errors import EndpointError
from wirewright.remote import discovery
from wirewright.remote.discovery import Endpoint, Token
from wirewright.remote.transport import reach

pytestmark = pytest.mark.slow

TOKEN = "5ecret" * 10
WAYS = ["async", "sync", "list", "wait", "send", "attach", "pytest"]
"""How a user reaches a running proxy."""


class Listener:
    """A server that notes requests, and answers each with the same bytes and its end."""

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.requests: list[str] = []
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self._answer.encode())
        writer.close()

    @asynccontextmanager
    async def listening(self, path: Path | None = None) -> AsyncIterator[None]:
        if path is not None:
            server: asyncio.Server = await asyncio.start_unix_server(self._serve, path)
        else:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield


def answer(status: str, *headers: str) -> str:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "Content-Length: 0", ""))


REFUSAL = answer("401 Unauthorized")


async def attempt(way: str, folder: Path, address: str, *, allow: bool = False) -> str:
    """Reach for a proxy at an address, and return all that is said about the failure."""
    file = folder / "endpoint.json"
    file.write_text(json.dumps(asdict(Endpoint(address, TOKEN, os.getpid()))))
    if way == "async":
        with pytest.raises(Error) as raised:
            await async_api.connect(file, allow_cleartext=allow).__aenter__()
        return raised.value.message
    if way == "sync":
        with pytest.raises(Error) as raised:
            await asyncio.to_thread(sync_api.connect(file, allow_cleartext=allow).__enter__)
        return raised.value.message
    if way == "pytest":
        (folder / "test_it.py").write_text("def test_it(ws_proxy):\n    pass\n")
        command = [str(PYTEST), "-p", "no:cacheprovider", "--showlocals"]
        command += [f"--ws-connect={file}", *(["--ws-allow-cleartext"] if allow else []), "test_it.py"]
    else:
        words = {"send": ["hello"]}.get(way, [])
        flags = ["--allow-cleartext"] if allow else []
        command = [str(WIREWRIGHT), way, "--endpoint", str(file), *flags, *words]
    async with running(*command, cwd=folder, COLUMNS="400") as process:
        return await process.rest()


@pytest.mark.parametrize("way", WAYS)
async def test_token_is_not_sent_in_clear_to_another_machine(way: str, tmp_path: Path) -> None:
    listener = Listener(REFUSAL)
    async with listener.listening():
        said = await attempt(way, tmp_path, f"ws://0.0.0.0:{listener.port}")
    assert "the token would be sent in clear to another machine. Use wss://" in said
    assert listener.requests == []
    assert TOKEN not in said


@pytest.mark.parametrize("way", WAYS)
async def test_token_is_sent_in_clear_where_the_user_allows_it(way: str, tmp_path: Path) -> None:
    listener = Listener(REFUSAL)
    async with listener.listening():
        said = await attempt(way, tmp_path, f"ws://0.0.0.0:{listener.port}", allow=True)
    assert "refuses: status 401" in said
    (request,) = listener.requests
    assert f"Authorization: Bearer {TOKEN}\r\n" in request
    assert TOKEN not in said


@pytest.mark.parametrize("status", ["300 Multiple Choices", "302 Found", "307 Temporary Redirect"])
@pytest.mark.parametrize("target", ["ws://127.0.0.1:{other}/", "/elsewhere", "wss://127.0.0.1:{other}/"])
async def test_no_redirect_is_followed(status: str, target: str) -> None:
    other = Listener(REFUSAL)
    async with other.listening():
        listener = Listener(answer(status, f"Location: {target.format(other=other.port)}"))
        async with listener.listening():
            with pytest.raises(Error, match=r"refuses: it redirects to '.*', and no redirect is followed$"):
                await async_api.connect(f"ws://127.0.0.1:{listener.port}", token=TOKEN).__aenter__()
    assert len(listener.requests) == 1
    assert other.requests == []


@pytest.mark.parametrize("way", WAYS)
async def test_no_way_to_a_proxy_follows_a_redirect(way: str, tmp_path: Path) -> None:
    other = Listener(REFUSAL)
    async with other.listening():
        listener = Listener(answer("302 Found", f"Location: ws://127.0.0.1:{other.port}/"))
        async with listener.listening():
            said = await attempt(way, tmp_path, f"ws://127.0.0.1:{listener.port}")
    assert "no redirect is followed" in said
    assert len(listener.requests) == 1
    assert other.requests == []


async def test_unix_socket_s_redirect_is_not_followed(tmp_path: Path) -> None:
    listener = Listener(answer("302 Found", "Location: /elsewhere"))
    path = tmp_path / "ww.sock"
    async with listener.listening(path):
        with pytest.raises(Error, match="no redirect is followed"):
            await reach(Endpoint(f"unix://{path}", TOKEN))
    assert len(listener.requests) == 1


async def test_refusal_is_repeated_in_a_few_printable_words() -> None:
    body = "\x1b[2J" + "x" * 100_000
    listener = Listener(f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    async with listener.listening():
        with pytest.raises(Error) as raised:
            await reach(Endpoint(f"ws://127.0.0.1:{listener.port}", TOKEN))
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 1_000


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
async def test_loopback_address_needs_no_encryption(host: str) -> None:
    with pytest.raises(Error, match="cannot be reached"):
        await reach(Endpoint(f"ws://{host}:1", TOKEN))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ws://127.0.0.1.example.com:1", "sent in clear"),
        ("ws://localhost.example.com:1", "sent in clear"),
        ("ws://127.0.0.1@example.com:1", "an endpoint has no user name: use wss://host:port and the token"),
        ("wss://me:secret@example.com:1", "an endpoint has no user name: use wss://host:port and the token"),
        ("ws://", "'ws://' is not an address: use ws://host:port"),
        ("ws://127.0.0.1:99999", "is not an address"),
        ("ws://[::1", "is not an address"),
    ],
)
async def test_address_that_is_not_one_of_a_proxy_is_a_sentence(address: str, said: str) -> None:
    with pytest.raises(EndpointError, match=said.replace("[", r"\[")):
        await async_api.connect(address, token=TOKEN).__aenter__()


@pytest.mark.parametrize("token", ["a\r\nCookie: b", "a\nb", "a\0", "é", "a b"])
def test_token_that_no_header_can_carry_is_refused(token: str, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="a token has letters, digits and punctuation of ASCII only"):
        discovery.find("ws://127.0.0.1:1", token)
    path = tmp_path / "endpoint.json"
    path.write_text(json.dumps({"address": "ws://127.0.0.1:1", "token": token, "pid": 1}))
    with pytest.raises(Error, match="the file does not describe the API of a proxy"):
        discovery.find(path, None)


def test_no_repr_shows_the_token() -> None:
    for held in (Endpoint("ws://h:1", TOKEN), discovery.new_token(), {"Authorization": Token(TOKEN)}):
        assert "<token>" in repr(held)
        assert TOKEN not in repr(held)
    assert f"{Endpoint('ws://h:1', TOKEN).token}" == TOKEN


def test_traceback_of_the_program_shows_no_local_variable() -> None:
    # As the typers before 0.23 do unless they are told otherwise.
    code = """
import sys, typer
new = typer.Typer.__init__
def old(self, **settings):
    new(self, **{"pretty_exceptions_show_locals": True} | settings)
typer.Typer.__init__ = old
from wirewright.cli import live, main
async def broken(console, target, url, as_json):
    shown = "".join(["hun", "ter", "2"])
    raise RuntimeError("broken")
live.list_sockets = broken
sys.argv = ["wirewright", "list"]
main.main()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert result.returncode == 1
    assert "broken" in result.stderr
    assert "hunter2" not in result.stderr
