"""Sockets of other programs' recordings, played to a live app and to a live server."""

import asyncio
import io
import math
from pathlib import Path

import pytest
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow
from rich.console import Console

from support.foreign_recordings import archive, entry, message
from support.routes import NOWHERE, app
from support.servers import echo, serving
from wirewright import Proxy
from wirewright.capture.filters import Filter
from wirewright.capture.formats.importer import import_file
from wirewright.cli.replay import client_settings, play_to_server

PLAIN = f"ws://{NOWHERE}/live"
MESSAGES = [message(data="hello"), message(type="receive", data="hello", time=1764103478.25)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


def imported(tmp_path: Path, path: Path, status: int | None) -> None:
    """A capture of a HAR's entry with a status, or of mitmproxy's flow without a response."""
    if status is not None:
        recorded = entry(
            request={"url": PLAIN, "headers": []}, response={"status": status}, _webSocketMessages=MESSAGES
        )
        source = archive(tmp_path, recorded)
    else:
        flow = tflow.twebsocketflow()
        flow.request.url = PLAIN.replace("ws:", "http:")
        state = flow.get_state() | {"response": None}
        state["websocket"] |= {
            "messages": [
                [1, each["type"] == "send", each["data"].encode(), each["time"], False, False]
                for each in MESSAGES
            ],
            "closed_by_client": True,
        }
        source = tmp_path / "flows.mitm"
        source.write_bytes(tnetstring.dumps(state))
    import_file(source, path)


@pytest.mark.wire("a mocked server needs our own layer")
@pytest.mark.parametrize("status", [0, 200, 404, None])
async def test_app_gets_a_101_and_the_messages(
    proxy: Proxy, tmp_path: Path, path: Path, status: int | None
) -> None:
    imported(tmp_path, path, status)
    proxy.route_from_capture(path, speed=math.inf)
    async with app(proxy, PLAIN) as client:
        await client.send("hello")
        assert await client.recv() == "hello"


@pytest.mark.parametrize("status", [0, 200, None])
async def test_messages_of_the_app_are_played_to_a_live_server(
    tmp_path: Path, path: Path, status: int | None
) -> None:
    imported(tmp_path, path, status)
    said = io.StringIO()
    console = Console(file=said)
    async with serving(echo) as url:
        how = client_settings("exact", math.inf, 30, [], insecure=False)
        played = await asyncio.to_thread(play_to_server, console, path, Filter(), url, how)
        assert played, said.getvalue()
