"""The mistakes of users, and what Wirewright says of them. docs/errors.md has the same."""

import asyncio
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from wirewright.model import misuse

FILE = "test_chat.py"
"""The file that the code seems to be in."""
URL = "ws://shop.example/live?token=secret&user=py"

Api = Literal["both", "sync", "async", "sync in a loop"]


@dataclass(frozen=True)
class Mistake:
    """A line of a user's, and the exception or warning."""

    code: str
    says: str
    api: Api = "both"

    @property
    def id(self) -> str:
        return f"{self.api}: {self.code.splitlines()[0]}"


WITH_EVENT = 'write "with ws.expect_event(...) as info:"'
ASYNC_WITH_EVENT = 'write "async with ws.expect_event(...) as info:"'
OF_SYNC = "this is the sync API, and wirewright.async_api has the async one"
OF_ASYNC = "this is the async API, and wirewright.sync_api has the sync one"
LOOP = (
    "Error: the sync API cannot wait inside a running event loop: use wirewright.async_api (in a pytest test "
    "the fixture async_ws_proxy), or call it with asyncio.to_thread"
)
SOCKET_EVENTS = 'WebSocket has "close", "framereceived", "framesent", "missed", "socketerror"'
OF_A_SOCKET = "an event of a WebSocket: take the socket from expect_websocket, and wait for its event"


def not_awaited(call: str) -> str:
    """The warning about a call without `await`."""
    return f"RuntimeWarning: {call} was not awaited, so it had no effect: write await {call}"


MISTAKES = (
    # the names of events
    Mistake(
        'ws.on("framerecieved", print)',
        f"ValueError: unknown event 'framerecieved': did you mean 'framereceived'? {SOCKET_EVENTS}",
    ),
    Mistake(
        'ws.wait_for_event("message")',
        'ValueError: message is an event of a browser\'s socket: write "framereceived" or "framesent"',
    ),
    Mistake('ws.on("pong", print)', f"ValueError: unknown event 'pong': {SOCKET_EVENTS}"),
    Mistake('proxy.expect_event("framereceived")', f"ValueError: framereceived is {OF_A_SOCKET}"),
    Mistake(
        'proxy.on("framerecieved", print)',
        f"ValueError: unknown event 'framerecieved': did you mean 'framereceived'? It is {OF_A_SOCKET}",
    ),
    Mistake(
        'ws.once("websocket", print)',
        'ValueError: websocket is an event of the Proxy: write proxy.on("websocket", ...)',
    ),
    Mistake("ws.on(print)", "TypeError: event must be the name of an event, not builtin_function_or_method"),
    Mistake(
        'ws.wait_for_event("framereceived", "filled")',
        "TypeError: predicate must be callable, not str: ws.next_frame(...) takes a text or a pattern",
    ),
    # a forgotten `with`
    Mistake(
        'ws.expect_event("framereceived").value',
        f"AttributeError: {WITH_EVENT}, and then info.value",
        "sync",
    ),
    Mistake(
        'proxy.expect_websocket("**/live").value',
        'AttributeError: write "with proxy.expect_websocket(...) as info:", and then info.value',
        "sync",
    ),
    Mistake('ws.expect_event("framereceived")', f"RuntimeWarning: nothing waits: {WITH_EVENT}", "sync"),
    Mistake("launch()", 'RuntimeWarning: no proxy runs: write "with launch(...) as proxy:"', "sync"),
    Mistake(
        "launch().web_sockets",
        'AttributeError: write "with launch(...) as proxy:", and then proxy.web_sockets',
        "sync",
    ),
    Mistake(
        'ws.expect_event("framereceived").value',
        f"AttributeError: {ASYNC_WITH_EVENT}, and then info.value",
        "async",
    ),
    Mistake(
        'proxy.expect_websocket("**/live")',
        'RuntimeWarning: nothing waits: write "async with proxy.expect_websocket(...) as info:"',
        "async",
    ),
    Mistake(
        "connect()",
        'RuntimeWarning: nothing is connected: write "async with connect(...) as proxy:"',
        "async",
    ),
    Mistake(
        "connect().web_sockets",
        'AttributeError: write "async with connect(...) as proxy:", and then proxy.web_sockets',
        "async",
    ),
    # a forgotten `await`, or a forgotten `.value`
    Mistake("info.url", "AttributeError: the value is info.value: write info.value.url", "sync"),
    Mistake("expect(info)", "TypeError: write expect(info.value)", "sync"),
    Mistake("info.url", "AttributeError: the value is info.value: write (await info.value).url", "async"),
    Mistake(
        "info.value.url",
        "AttributeError: info.value was not awaited: write (await info.value).url",
        "async",
    ),
    Mistake(
        '"filled" in info.value',
        "TypeError: info.value was not awaited: write ... in await info.value",
        "async",
    ),
    Mistake("expect(info.value)", "TypeError: write expect(await info.value)", "async"),
    Mistake(
        'ws.wait_for_event("framereceived")',
        not_awaited("ws.wait_for_event(...)"),
        "async",
    ),
    Mistake(
        'ws.wait_for_event("framereceived").upper()',
        "AttributeError: ws.wait_for_event(...) was not awaited: write (await ws.wait_for_event(...)).upper",
        "async",
    ),
    Mistake("ws.next_frame()", not_awaited("ws.next_frame(...)"), "async"),
    Mistake(
        'ws.next_frame("ack").json()',
        "AttributeError: ws.next_frame(...) was not awaited: write (await ws.next_frame(...)).json",
        "async",
    ),
    Mistake("expect(ws).to_be_open()", not_awaited("expect(ws).to_be_open(...)"), "async"),
    Mistake("expect(proxy).to_reconnect()", not_awaited("expect(proxy).to_reconnect(...)"), "async"),
    # the other API
    Mistake(
        'with ws.expect_event("framereceived"): pass', f"TypeError: {ASYNC_WITH_EVENT}: {OF_ASYNC}", "async"
    ),
    Mistake(
        'await ws.expect_event("framereceived")', f"TypeError: {ASYNC_WITH_EVENT} instead of await", "async"
    ),
    Mistake(
        "with launch(): pass",
        f'TypeError: write "async with launch(...) as proxy:": {OF_ASYNC}',
        "async",
    ),
    Mistake(
        "with proxy.context(port=8081): pass",
        f'TypeError: write "async with proxy.context(...) as context:": {OF_ASYNC}',
        "async",
    ),
    Mistake(
        'async with ws.expect_event("framereceived"): pass',
        f"TypeError: {WITH_EVENT} without async: {OF_SYNC}",
        "sync in a loop",
    ),
    Mistake(
        'await ws.expect_event("framereceived")',
        f"TypeError: {WITH_EVENT} instead of await",
        "sync in a loop",
    ),
    Mistake(
        "async with launch(): pass",
        f'TypeError: write "with launch(...) as proxy:" without async: {OF_SYNC}',
        "sync in a loop",
    ),
    Mistake(
        "async with proxy.context(port=8081): pass",
        f'TypeError: write "with proxy.context(...) as context:" without async: {OF_SYNC}',
        "sync in a loop",
    ),
    Mistake(
        "await proxy.context(port=8081)",
        'TypeError: write "with proxy.context(...) as context:" instead of await',
        "sync in a loop",
    ),
    Mistake('ws.wait_for_event("framereceived")', LOOP, "sync in a loop"),
    Mistake("expect(ws).to_be_open()", LOOP, "sync in a loop"),
    Mistake("with launch(): pass", LOOP, "sync in a loop"),
    Mistake("with connect(): pass", LOOP, "sync in a loop"),
    Mistake(
        "async_expect(ws)",
        "TypeError: this WebSocket is of the sync API: import expect from wirewright.sync_api",
        "sync",
    ),
)
"""Each is said at once, by an exception or, where that is impossible, by a warning."""

FRAMES = ('{"type": "ack"}', '{"type": "hb", "token": "secret"}', '{"type": "hb", "token": "secret"}', "bye")
"""The server has sent these."""

FAILURES = (
    Mistake(
        'ws.wait_for_event("framereceived", lambda payload: "filled" in payload, timeout=100, history=True)',
        """\
TimeoutError: Timeout 100ms exceeded while waiting for event "framereceived"
the predicate <lambda> (test_chat.py:1) was tried on 4 frames
passed:
    ← '{"type": "ack"}'
    ← '{"type": "hb", "token": "REDACTED"}' ×2
    ← 'bye'""",
    ),
    Mistake(
        """\
def is_filled(payload):
    "filled" in payload


ws.wait_for_event("framereceived", is_filled, timeout=100, history=True)""",
        """\
TimeoutError: Timeout 100ms exceeded while waiting for event "framereceived"
the predicate is_filled (test_chat.py:1) returned None for all 4 frames: does it return its result?
passed:
    ← '{"type": "ack"}'
    ← '{"type": "hb", "token": "REDACTED"}' ×2
    ← 'bye'""",
    ),
    Mistake(
        'ws.wait_for_event("framesent", lambda payload: True, timeout=100)',
        """\
TimeoutError: Timeout 100ms exceeded while waiting for event "framesent"
the predicate <lambda> (test_chat.py:1) was not called: no frame was sent""",
    ),
    Mistake(
        """\
import json

ws.wait_for_event("framereceived", lambda payload: json.loads(payload)["type"] == "filled", history=True)""",
        """\
JSONDecodeError: Expecting value: line 1 column 1 (char 0)
the predicate <lambda> (test_chat.py:3) raised on frame 5: ← 'bye'""",
    ),
    Mistake(
        """\
def is_filled(frame):
    "filled" in frame.payload


expect(ws).to_have_received(is_filled, timeout=100)""",
        """\
AssertionError: expected a received frame for which is_filled (test_chat.py:1) is true, but none came within \
100ms
the predicate is_filled (test_chat.py:1) returned None for all 4 frames: does it return its result?
passed:
    → 'go'
    ← '{"type": "ack"}'
    ← '{"type": "hb", "token": "REDACTED"}' ×2
    ← 'bye'
socket: ws://shop.example/live?…, open, 5 frames""",
    ),
    Mistake(
        'ws.cursor().next_frame(lambda frame: frame.json()["type"] == "filled", direction="received")',
        """\
JSONDecodeError: Expecting value: line 1 column 1 (char 0)
the predicate <lambda> (test_chat.py:1) raised on frame 5: ← 'bye'""",
    ),
)
"""The failures of waits on a socket, with notes."""

NO_SOCKET = """\
TimeoutError: Timeout 30000ms exceeded while waiting for event "websocket"
no socket matched '**/chat'; came by: ws://shop.example/chat?token=REDACTED&user=py, ws://shop.example/news \
×2; open before: ws://shop.example/live?token=REDACTED&user=py
the glob has to match the query, too: '**/chat?**'"""
"""A wait for `**/chat`, while sockets with these paths open."""
PATHS = ("/chat?token=secret&user=py", "/news", "/news")

NO_SOCKET_OF_THE_CONTEXT = """\
TimeoutError: Timeout 30000ms exceeded while waiting for event "websocket"
no socket of client '192.168.1.7' matched '**/chat?**'; came by outside of this context: \
ws://shop.example/chat?token=REDACTED&user=py (client '127.0.0.1') and 2 more"""
"""A wait of a context for `**/chat?**`, while these sockets open on the proxy's machine."""


@contextmanager
def as_in_a_program() -> Iterator[None]:
    """Calls without effect are warned of, and do not fail the test that makes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(misuse, "call_observers", [])
        yield


def said(error: BaseException) -> str:
    """An exception and its notes, as a traceback ends."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])


def run(mistake: Mistake, names: dict[str, Any]) -> None:
    """Make a mistake in a plain function, or in an async one of a new event loop."""
    if mistake.api == "sync in a loop":
        asyncio.run(in_async_function(mistake, names))
    else:
        exec(compile(mistake.code, FILE, "exec"), names)


async def in_async_function(mistake: Mistake, names: dict[str, Any]) -> None:
    """Make a mistake in an async function."""
    body = textwrap.indent(mistake.code, "    ")
    exec(compile(f"async def mistake():\n{body}", FILE, "exec"), names)
    await names["mistake"]()
