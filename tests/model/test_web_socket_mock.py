"""The table of a mock, with a route that notes what it is sent. Real apps are in end_to_end/test_mocks.py."""

import asyncio
from typing import Any

import pytest

from support.model_sockets import in_virtual_time, left_behind, open_socket
from wirewright.model.feed import Feed
from wirewright.model.web_socket_mock import WebSocketMock, unanswered_lines
from wirewright.printable import shown_url
from wirewright.values import Payload


class NotedRoute:
    """The app's side of a route, as far as a mock needs it."""

    def __init__(self, feed: Feed) -> None:
        self._socket = feed.socket
        self.url = feed.socket.url
        self.sent: list[tuple[float, Payload]] = []
        self.closes: list[tuple[int, str]] = []

    def send(self, message: Payload) -> None:
        self.sent.append((asyncio.get_running_loop().time(), message))

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def on_message(self, handler: Any) -> None:
        self.say = handler


async def mocked(*, strict: bool = False, **table: Any) -> tuple[WebSocketMock, NotedRoute, Feed]:
    """A mock, and one socket that it has taken."""
    feed = open_socket()
    mock = WebSocketMock("**/live", lambda url, handler: None, feed.socket._scope, strict=strict)
    if "every" in table:
        mock.every(*table["every"])
    route = NotedRoute(feed)
    await mock._open(route)
    return mock, route, feed


@in_virtual_time
async def test_repeated_messages_end_with_the_socket() -> None:
    _, route, feed = await mocked(every=(60, "tick"))
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(150)
    feed.closed(1000, "")
    await asyncio.sleep(0.001)
    assert left_behind(feed.socket) == []
    assert [(round(at - began), message) for at, message in route.sent] == [(60, "tick"), (120, "tick")]


@in_virtual_time
async def test_repeated_messages_end_with_the_proxy() -> None:
    _, route, feed = await mocked(every=(60, "tick"))
    await feed.socket._scope.end("the proxy was stopped")
    await asyncio.sleep(200)
    assert (left_behind(feed.socket), route.sent) == ([], [])


@in_virtual_time
async def test_frames_without_a_rule_are_listed() -> None:
    mock, route, _ = await mocked()
    mock.on("known").reply("answer")
    for message in ("known", '{"token": "secret"}', *map(str, range(20))):
        route.say(message)
    assert [message for _, message in route.sent] == ["answer"]
    assert [frame.payload for frame in mock.unanswered][:2] == ['{"token": "secret"}', "0"]
    lines = [line for line in unanswered_lines(0.0) if "**/live" in line or line.startswith("    ")]
    assert lines == [
        "<WebSocketMock url='**/live'> has no rule for 21 frames:",
        *(f"    → '{number}'" for number in range(10, 20)),
    ]
    assert list(unanswered_lines(mock.unanswered[-1].at + 1)) == []


@in_virtual_time
async def test_strict_mock_raises_with_the_frame_the_socket_and_the_rules_and_without_secrets() -> None:
    mock, route, _ = await mocked(strict=True)
    first = "<WebSocketMock url='**/live'> is strict, and has no rule for → '{\"token\": \"REDACTED\"}'"
    with pytest.raises(AssertionError) as caught:
        route.say('{"token": "secret"}')
    socket = f"socket: {shown_url(route._socket.url)}"
    assert str(caught.value).splitlines() == [first, socket, "it has no rules: write mock.on(...)"]
    mock.on(json={"type": "ping"})
    for number in range(10):
        mock.on(f"known {number}")
    with pytest.raises(AssertionError) as caught:
        route.say('{"token": "secret"}')
    rules = [f"    a frame that contains 'known {number}'" for number in range(9, -1, -1)]
    assert str(caught.value).splitlines() == [first, socket, "rules:", *rules, "    … 1 older"]
    assert len(mock.unanswered) == 2
