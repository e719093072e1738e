"""Servers that are tables of rules, for real apps."""

import asyncio
import json
from typing import Any

import pytest

from support.routes import NOWHERE, app, closed
from support.time_limits import STEP_SECONDS
from wirewright import ANY, Frame, Proxy

pytestmark = [pytest.mark.remote, pytest.mark.wire]

URL = f"ws://{NOWHERE}/live"


async def answers(client: Any, message: object, count: int = 1) -> list[Any]:
    """Send a message, and return the next messages that the app gets."""
    await client.send(message if isinstance(message, str | bytes) else json.dumps(message))
    async with asyncio.timeout(STEP_SECONDS):
        return [await client.recv() for _ in range(count)]


async def test_newest_rule_that_matches_answers(proxy: Proxy) -> None:
    mock = await proxy.mock_web_socket("**/live")
    everything = mock.on().reply("what?")
    pings = mock.on(json={"type": "ping"}).reply({"type": "pong"})
    mock.on("bin").reply(b"\x00")
    seven = mock.on(json={"type": "ping", "id": 7}).reply("seven")
    async with app(proxy, URL) as client:
        assert await answers(client, {"type": "ping"}) == ['{"type": "pong"}']
        assert await answers(client, {"type": "ping", "id": 7}) == ["seven"]
        assert await answers(client, "binary") == [b"\x00"]
        assert await answers(client, b"binary") == ["what?"]
        mock.on(json={"type": "ping"}).reply("late rule")
        assert await answers(client, {"type": "ping", "id": 7}) == ["late rule"]
    assert [frame.json() for frame in pings.calls] == [{"type": "ping"}]
    assert [frame.payload for frame in everything.calls] == [b"binary"]
    assert len(seven.calls) == 1
    assert [frame.number for frame in mock.calls] == [1, 2, 3, 4, 5]
    assert {frame.direction for frame in mock.calls} == {"sent"}
    assert mock.unanswered == []


async def test_reply_is_a_list_a_function_or_nothing(proxy: Proxy) -> None:
    async def later(frame: Frame) -> object:
        await asyncio.sleep(0)
        return {"echo": frame.json()["text"]}

    mock = await proxy.mock_web_socket("**/live")
    mock.on(json={"text": ANY}).reply("first", later, ["a", ["b", None, ("c", 1)]])
    mock.on("quiet").reply(None)
    mock.on("call").reply(lambda frame: [frame.payload, lambda: "nested"])
    async with app(proxy, URL) as client:
        assert await answers(client, {"text": "é"}, 5) == ["first", '{"echo": "é"}', "a", "b", '["c", 1]']
        await client.send("quiet")
        assert await answers(client, "call", 2) == ["call", "nested"]


async def test_app_is_greeted_and_hears_repeated_messages(proxy: Proxy) -> None:
    ticks = iter(range(1_000_000))
    mock = await proxy.mock_web_socket("**/live")
    mock.greet({"type": "welcome"}, lambda: "hello").every(0.01, lambda: f"tick {next(ticks)}")
    async with app(proxy, URL) as client, asyncio.timeout(STEP_SECONDS):
        assert [await client.recv() for _ in range(4)] == [
            *('{"type": "welcome"}', "hello", "tick 0", "tick 1")
        ]
        await client.send("no rule")
        while not mock.unanswered:
            await client.recv()
    assert [frame.payload for frame in mock.unanswered] == ["no rule"]


async def test_rule_may_close_the_socket(proxy: Proxy) -> None:
    mock = await proxy.mock_web_socket("**/live")
    mock.on("bye").reply("see you").close(1011, "restart")
    mock.on("later").reply(lambda: asyncio.sleep(0, "soon")).close(4001)
    for message, answer, end in (("bye", "see you", (1011, "restart")), ("later", "soon", (4001, ""))):
        async with app(proxy, URL) as client:
            assert await answers(client, message) == [answer]
            assert await closed(client) == end


@pytest.mark.ws_allow_errors
async def test_frame_without_a_rule_is_an_error_if_the_mock_is_strict(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    mock = await proxy.mock_web_socket("**/live", strict=True)
    mock.on("known").reply("ok")
    async with app(proxy, URL) as client:
        await client.send('{"token": "secret"}')
        assert await answers(client, "known") == ["ok"]
        (ws,) = proxy.web_sockets
        assert ws.route_errors == 1
    assert [frame.payload for frame in mock.unanswered] == ['{"token": "secret"}']
    assert 'is strict, and has no rule for → \'{"token": "REDACTED"}\'\nsocket: ws://' in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "reply", [object(), {"a": {1}}, {"a": float("nan")}, ["a", b"b", object()], {"a": b"bytes"}]
)
async def test_reply_that_cannot_be_sent_is_refused_at_once(proxy: Proxy, reply: object) -> None:
    mock = await proxy.mock_web_socket("**/live")
    for add in (mock.on("a").reply, mock.greet):
        with pytest.raises(TypeError, match="a reply must be a str, bytes, or a value that becomes JSON"):
            add(reply)
    with pytest.raises(ValueError, match="code must be"):
        mock.on("a").close(1005)
    with pytest.raises(ValueError, match="seconds must be a number, more than 0, not 0"):
        mock.every(0, "a")
