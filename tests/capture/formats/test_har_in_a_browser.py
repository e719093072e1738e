"""Archives that Chromium's developer tools read, and those that Playwright writes."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import playwright.async_api as playwright
import pytest
import websockets

from capture.formats.conftest import Fill
from support.browser import CHROMIUM, browsing
from support.devtools import ShownMessage, ShownSocket, import_har
from support.servers import serving
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.formats.importer import import_file
from wirewright.values import Payload

pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("the files are written and read by our own code"),
    pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the PATH"),
]


@pytest.fixture
async def browser() -> AsyncIterator[playwright.Browser]:
    async with browsing() as launched:
        yield launched


async def test_developer_tools_show_every_message(fill: Fill, browser: playwright.Browser) -> None:
    path = fill(["", "a <b>\nc 😀", b"", bytes(range(256))])
    file = path.with_suffix(".har")
    with open_capture(path) as capture:
        export(capture, file, Filter())
        passed = [frame for frame in capture.frames() if frame.is_message and not frame.is_dropped]
    times = [clock(frame.time_ns) for frame in passed]
    one, two, refused = await import_har(browser, file)
    for shown, name in ((one, "one"), (two, "two")):
        assert shown == ShownSocket(
            f"wss://h/{name}?a=1&b=%20",
            "101 Switching Protocols",
            "websocket",
            "10.0.0.1:443",
            (
                ShownMessage("sent", "⬆", f"text é {name}", "10", times.pop(0)),
                ShownMessage("sent", "⬆", b"\x00\xff", "2 B", times.pop(0)),
                ShownMessage("received", "⬇", "", "0", times.pop(0)),
                ShownMessage("received", "⬇", "a <b>\nc 😀", "10", times.pop(0)),
                ShownMessage("received", "⬇", b"", "0 B", times.pop(0)),
                ShownMessage("received", "⬇", bytes(range(256)), "256 B", times.pop(0)),
            ),
        )
    assert [(message.direction, message.data) for message in refused.messages] == [
        ("error", "net::ERR_CONNECTION_REFUSED")
    ]


def clock(time_ns: int) -> str:
    """As the panel writes it, cut to the millisecond."""
    return datetime.fromtimestamp(time_ns // 1_000_000 / 1e3, UTC).strftime("%H:%M:%S.%f")[:-3]


async def talk(connection: websockets.ServerConnection) -> None:
    await connection.send("welcome é")
    await connection.send(b"\x00\xff")
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("session.har", {}),
        ("session.har", {"record_har_content": "attach"}),
        ("session.har", {"record_har_mode": "minimal"}),
        ("session.zip", {}),
    ],
    ids=["embedded", "attached", "minimal", "zip"],
)
async def test_archives_of_playwright_are_imported(
    browser: playwright.Browser, path: Path, name: str, options: dict[str, str]
) -> None:
    archive = path.with_name(name)
    async with serving(talk) as url:
        context = await browser.new_context(record_har_path=archive, **options)  # type: ignore[arg-type]
        page = await context.new_page()
        assert await page.evaluate(
            """url => new Promise(resolve => {
                const ws = new WebSocket(url);
                const got = [];
                ws.onmessage = ({ data }) => {
                    got.push(data);
                    if (got.length === 2) { ws.send("echo"); ws.send(new Uint8Array([1, 2])); }
                    if (got.length === 4) { ws.close(); resolve(got.length); }
                };
            })""",
            f"{url}/talk?x=1",
        )
        await context.close()
    imported = import_file(archive, path)
    assert (imported.sockets, imported.frames, imported.cut_off) == (1, 6, None)
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
        frames = list(capture.frames())
    assert (socket.url, socket.status) == (f"{url}/talk?x=1", 101)
    said: dict[str, list[Payload]] = {"sent": [], "received": []}
    for frame in frames:
        said[frame.direction].append(frame.payload)
    assert said == {
        "sent": ["echo", b"\x01\x02"],
        "received": ["welcome é", b"\x00\xff", "echo", b"\x01\x02"],
    }
    assert socket.opened_ns is not None
    assert socket.closed_ns is not None
    assert socket.asked_ns <= socket.opened_ns <= frames[0].time_ns <= frames[-1].time_ns <= socket.closed_ns


OPEN_AND_TALK = """url => new Promise(resolve => {
    window.ws = new WebSocket(url);
    const got = [];
    ws.onmessage = ({ data }) => { got.push(data); if (got.length === 2) resolve(got.length); };
})"""
SAY_AND_LEAVE = """() => new Promise(resolve => {
    ws.onmessage = () => ws.close(1000, "bye");
    ws.onclose = resolve;
    ws.send("later");
})"""
FAIL = "url => new Promise(resolve => { new WebSocket(url).onclose = () => resolve(1); })"


async def test_traces_of_playwright_are_imported(browser: playwright.Browser, path: Path) -> None:
    first, second = path.with_name("one.zip"), path.with_name("two.zip")
    async with serving(talk) as url:
        context = await browser.new_context()
        await context.tracing.start(snapshots=True)
        page = await context.new_page()
        await context.tracing.start_chunk()
        await page.evaluate(OPEN_AND_TALK, f"{url}/talk?x=1")
        await context.tracing.stop_chunk(path=first)
        await context.tracing.start_chunk()
        await page.evaluate(SAY_AND_LEAVE)
        await page.evaluate(FAIL, "ws://127.0.0.1:9/refused")
        await context.tracing.stop_chunk(path=second)
        await context.close()
    early, late = (import_file(trace, path.with_name(f"{trace.stem}.db")) for trace in (first, second))
    assert (early.sockets, early.frames, list(early.report.sentences())) == (1, 2, [])
    assert (late.sockets, late.frames, list(late.report.sentences())) == (2, 4, [])
    with open_capture(path.with_name("two.db")) as capture:
        talked, refused = capture.sockets()
        said = [(frame.direction, frame.payload) for frame in capture.frames(socket=talked.id)]
    assert said == [
        ("received", "welcome é"),
        ("received", b"\x00\xff"),
        ("sent", "later"),
        ("received", "later"),
    ]
    assert (talked.url, talked.status) == (f"{url}/talk?x=1", 101)
    assert (refused.url, refused.opened_ns) == ("ws://127.0.0.1:9/refused", None)
    assert refused.error is not None
    assert "ERR_UNSAFE_PORT" in refused.error


async def test_archive_of_playwright_without_frames_says_so(browser: playwright.Browser, path: Path) -> None:
    archive = path.with_suffix(".har")
    async with serving(talk) as url:
        context = await browser.new_context(record_har_path=archive)
        page = await context.new_page()
        await page.evaluate(OPEN_AND_TALK, f"{url}/talk")
        await context.close()
    recorded = json.loads(archive.read_text())
    for each in recorded["log"]["entries"]:
        each.pop("_webSocketMessages", None)  # as it is with PLAYWRIGHT_HAR_NO_WEBSOCKET_FRAMES
    archive.write_text(json.dumps(recorded))
    imported = import_file(archive, path)
    assert (imported.sockets, imported.frames) == (1, 0)
    (note,) = imported.report.sentences()
    assert note == "It has no messages: it was recorded without frames, or none passed."
