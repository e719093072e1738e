"""What the addon reports and remembers of messages on the hooks lane, also where other addons change them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from mitmproxy import exceptions, http
from mitmproxy.websocket import WebSocketMessage

from support.addon_hooks import Hooks, addon_context
from wirewright import TimeoutError, WebSocket  # noqa: A004  Playwright's name
from wirewright.values import Direction, FrameEvent


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with addon_context() as tctx:
        yield Hooks(tctx)


class Meddling:
    """Another addon, which does something to each message."""

    def __init__(self, meddle: Callable[[http.HTTPFlow, WebSocketMessage], None]) -> None:
        self._meddle = meddle

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        self._meddle(flow, flow.websocket.messages[-1])


def change(flow: http.HTTPFlow, message: WebSocketMessage) -> None:
    message.content += b" changed"


def drop(flow: http.HTTPFlow, message: WebSocketMessage) -> None:
    message.drop()


def intercept(flow: http.HTTPFlow, message: WebSocketMessage) -> None:
    flow.intercept()


def resume(hooks: Hooks) -> None:
    """What a user does in mitmproxy's own programs."""
    hooks.tctx.master.commands.call("flow.resume", [hooks.flow])


async def remembered(ws: WebSocket, event: FrameEvent = "framesent") -> list[object]:
    payloads: list[object] = []
    with pytest.raises(TimeoutError):
        await ws.wait_for_event(event, payloads.append, timeout=1, history=True)
    return payloads


@pytest.mark.parametrize("injected", [False, True])
@pytest.mark.parametrize("payload", ["text é", "", b"\x00\xff", b""])
async def test_messages_of_both_directions_are_reported(
    hooks: Hooks, payload: str | bytes, injected: bool
) -> None:
    seen = await hooks.open()
    await hooks.message(payload, injected=injected)
    assert seen.events == [("framesent", payload)]
    await hooks.message(payload, direction=Direction.RECEIVED, injected=injected)
    assert seen.events == [("framesent", payload), ("framereceived", payload)]
    assert [type(value) for _, value in seen.events] == [type(payload)] * 2


async def test_broken_text_is_reported_with_replacements(hooks: Hooks) -> None:
    seen = await hooks.open()
    hooks.tctx.master.addons.add(Meddling(lambda flow, message: setattr(message, "content", b"a\xff")))
    await hooks.message("text")
    assert seen.events == [("framesent", "a\ufffd")]


async def test_changed_message_is_reported_as_the_server_has_it(hooks: Hooks) -> None:
    hooks.tctx.master.addons.add(Meddling(change))
    seen = await hooks.open()
    sent = await hooks.message("to server")
    received = await hooks.message("from server", direction=Direction.RECEIVED)
    assert (sent.text, received.text) == ("to server changed", "from server changed")
    assert seen.events == [("framesent", "to server changed"), ("framereceived", "from server")]
    assert await remembered(seen.ws) == ["to server changed"]


async def test_dropped_message_is_reported_only_if_it_came_from_the_server(hooks: Hooks) -> None:
    hooks.tctx.master.addons.add(Meddling(drop))
    seen = await hooks.open()
    await hooks.message("to server")
    await hooks.message("from server", direction=Direction.RECEIVED)
    await hooks.end(1000, "", True)
    assert seen.events == [("framereceived", "from server"), ("close", None)]


async def test_intercepted_message_is_reported_as_it_is_resumed(hooks: Hooks) -> None:
    hooks.tctx.master.addons.add(Meddling(intercept))
    seen = await hooks.open()
    message = await hooks.message("held")
    assert seen.events == []
    message.content = b"edited"
    assert seen.events == []
    resume(hooks)
    assert seen.events == [("framesent", "edited")]
    resume(hooks)
    await hooks.end(1000, "", True)
    assert seen.events == [("framesent", "edited"), ("close", None)]


async def test_intercepted_message_that_is_dropped_is_not_reported(hooks: Hooks) -> None:
    hooks.tctx.master.addons.add(Meddling(intercept))
    seen = await hooks.open()
    (await hooks.message("held")).drop()
    resume(hooks)
    assert seen.events == []


@pytest.mark.parametrize("next_from_client", [True, False])
async def test_message_resumed_by_a_script_is_reported_before_the_next(
    hooks: Hooks, next_from_client: bool
) -> None:
    seen = await hooks.open()
    hooks.flow.intercept()
    await hooks.message("held")
    hooks.flow.resume()
    await hooks.message("next", direction=Direction.SENT if next_from_client else Direction.RECEIVED)
    assert seen.events == [
        ("framesent", "held"),
        ("framesent" if next_from_client else "framereceived", "next"),
    ]


async def test_message_resumed_by_a_script_is_reported_before_the_end(hooks: Hooks) -> None:
    seen = await hooks.open()
    hooks.flow.intercept()
    await hooks.message("held")
    hooks.flow.resume()
    await hooks.end(1000, "", True)
    assert seen.events == [("framesent", "held"), ("close", None)]


async def test_every_message_is_reported_once_whatever_updates_there_are(hooks: Hooks) -> None:
    seen = await hooks.open()
    await hooks.message("one")
    hooks.tctx.master.commands.call("flow.mark", [hooks.flow], ":red_circle:")
    await hooks.message("two", direction=Direction.RECEIVED)
    hooks.tctx.master.commands.call("flow.mark", [hooks.flow], "")
    assert seen.events == [("framesent", "one"), ("framereceived", "two")]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"ws_history": 2}, ["m3", "m4"]),
        ({"ws_history_bytes": 6}, ["m2", "m3", "m4"]),
        ({"ws_history_bytes": 7}, ["m2", "m3", "m4"]),
        ({"ws_history": 3, "ws_history_bytes": 2}, ["m4"]),
        ({}, ["m0", "m1", "m2", "m3", "m4"]),
    ],
)
async def test_history_is_bounded_for_the_socket_and_the_flow(
    hooks: Hooks, options: dict[str, int], kept: list[str]
) -> None:
    hooks.tctx.options.update(**options)
    seen = await hooks.open()
    for number in range(5):
        await hooks.message(f"m{number}")
    assert await remembered(seen.ws) == kept
    assert [message.text for message in hooks.messages] == kept


@pytest.mark.parametrize("option", ["ws_history", "ws_history_bytes"])
async def test_history_of_0_remembers_nothing(hooks: Hooks, option: str) -> None:
    hooks.tctx.options.update(**{option: 0})
    seen = await hooks.open()
    for number in range(3):
        await hooks.message(f"m{number}")
        # The addons that come after ours find the newest one in its place.
        assert [message.text for message in hooks.messages] == [f"m{number}"]
    assert await remembered(seen.ws) == []
    assert len(seen.events) == 3


async def test_message_that_is_larger_than_the_history_is_reported_and_forgotten(hooks: Hooks) -> None:
    hooks.tctx.options.update(ws_history_bytes=10)
    seen = await hooks.open()
    await hooks.message("small")
    await hooks.message("larger than all")
    assert await remembered(seen.ws) == []
    await hooks.message("next")
    assert await remembered(seen.ws) == ["next"]
    assert [message.text for message in hooks.messages] == ["next"]
    assert seen.events == [("framesent", text) for text in ("small", "larger than all", "next")]


@pytest.mark.parametrize("option", ["save_stream_file", "hardump"])
async def test_flow_keeps_all_messages_where_mitmproxy_saves_them(
    hooks: Hooks, tmp_path: Path, option: str
) -> None:
    hooks.tctx.options.update(ws_history=2, **{option: str(tmp_path / "saved")})
    seen = await hooks.open()
    for number in range(5):
        await hooks.message(f"m{number}")
    assert [message.text for message in hooks.messages] == ["m0", "m1", "m2", "m3", "m4"]
    assert await remembered(seen.ws) == ["m3", "m4"]


@pytest.mark.parametrize("option", ["ws_history", "ws_history_bytes"])
async def test_negative_history_is_refused(hooks: Hooks, option: str) -> None:
    before = getattr(hooks.tctx.options, option)
    with pytest.raises(exceptions.OptionsError, match=rf"^{option} must be 0 or more\.$"):
        hooks.tctx.options.update(**{option: -1})
    assert getattr(hooks.tctx.options, option) == before


async def test_unknown_lane_is_refused(hooks: Hooks) -> None:
    with pytest.raises(exceptions.OptionsError, match="ws_lane"):
        hooks.tctx.options.update(ws_lane="fast")
    assert hooks.tctx.options.ws_lane == "hooks"
