"""Contexts without mitmproxy: what they see, and what ends with them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.model_sockets import begin_socket, in_virtual_time, left_behind, load_script, receive
from wirewright import Error, TimeoutError, WebSocket  # noqa: A004
from wirewright.capture import open as open_capture
from wirewright.capture.recorder import Recorder
from wirewright.model.errors import EndedError
from wirewright.model.feed import Feed
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.origin import Origin
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_context import ProxyContext
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


def begin(proxy: Proxy, user: str | None, key: str | None = None, port: int | None = None) -> Feed:
    """A socket of a proxy user."""
    return begin_socket(proxy, key=key or str(user), proxy_user=user, proxy_port=port)


async def test_context_sees_its_own_sockets_alone() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    seen: dict[Proxy, list[WebSocket]] = {proxy: [], ann: []}
    for each, sockets in seen.items():
        each.on("websocket", sockets.append)
    first, second = begin(proxy, "ann").socket, begin(proxy, "bob").socket
    assert seen == {proxy: [first, second], ann: [first]}
    assert ann.web_sockets == [first]
    assert proxy.context(user="bob").web_sockets == [second]
    Control(proxy).close("ann")
    assert ann.web_sockets == []
    assert (first.proxy_user, first.proxy_port) == ("ann", None)


async def test_context_may_be_awaited() -> None:
    context = Proxy().context(user="ann")
    assert await context is context


@in_virtual_time
async def test_context_waits_for_its_own_sockets_alone() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    waiting = ann.wait_for_websocket("**/live")
    async with ann.expect_websocket() as opened, proxy.expect_websocket() as first:
        other = begin(proxy, "bob").socket
        own = begin(proxy, "ann").socket
    assert await opened.value is await waiting is own
    assert await first.value is other
    with pytest.raises(TimeoutError, match=r'^Timeout 1ms exceeded while waiting for event "websocket"'):
        async with ann.expect_websocket(timeout=1):
            begin(proxy, "bob", "2")


async def test_context_of_a_context_sees_less() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    inner = ann.context(port=8081)
    sockets = [
        begin(proxy, *each).socket for each in [("ann", "1", 8081), ("ann", "2", 8082), ("bob", "3", 8081)]
    ]
    assert inner.web_sockets == sockets[:1]
    assert ann.web_sockets == sockets[:2]
    assert repr(inner) == "<ProxyContext user='ann' port=8081>"


async def taken(proxy: Proxy, user: str, port: int | None = None) -> object:
    rule = await Control(proxy).take_route(HandshakeRequest("ws://h/live", origin=Origin(None, port, user)))
    return rule and rule.handler


async def test_route_of_a_context_takes_precedence_over_a_newer_one_of_the_proxy() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    inner = ann.context(port=8081)
    inner.route_web_socket("**", lambda: "inner")
    ann.route_web_socket("**", repr)
    proxy.route_web_socket("**", print)
    assert await taken(proxy, "ann") is repr
    assert await taken(proxy, "bob") is print
    proxy.unroute_web_socket("**")
    assert await taken(proxy, "bob") is None
    assert await taken(proxy, "ann") is repr
    inner.unroute_web_socket("**")
    assert await taken(proxy, "ann", 8081) is repr
    ann.unroute_web_socket("**", repr)
    assert await taken(proxy, "ann", 8081) is None


@in_virtual_time
async def test_default_timeout_of_a_context_holds_for_it_and_its_sockets() -> None:
    proxy = Proxy()
    proxy.set_default_timeout(1_000)
    early = begin(proxy, "ann").socket
    ann = proxy.context(user="ann")
    inner = ann.context(port=8081)
    late, other = begin(proxy, "ann", "2", 8081).socket, begin(proxy, "bob").socket

    async def timeouts(*waiting: Proxy | WebSocket) -> list[str]:
        waits = [
            each.wait_for_event("websocket") if isinstance(each, Proxy) else each.wait_for_event("close")
            for each in waiting
        ]
        errors = await asyncio.gather(*waits, return_exceptions=True)
        return [str(error).split()[1] for error in errors]

    everything = (proxy, ann, inner, early, late, other)
    assert await timeouts(*everything) == ["1000ms"] * 6
    ann.set_default_timeout(200)
    assert await timeouts(*everything) == ["1000ms", "200ms", "200ms", "200ms", "200ms", "1000ms"]
    inner.set_default_timeout(30)
    newer = proxy.context(user="ann")
    assert await timeouts(early, late) == ["200ms", "30ms"]
    newer.set_default_timeout(4)
    assert await timeouts(*everything) == ["1000ms", "200ms", "30ms", "4ms", "30ms", "1000ms"]
    await ann.close()
    assert await timeouts(early, late) == ["4ms", "4ms"]
    await newer.close()
    with pytest.raises(TimeoutError, match=r"^Timeout 1000ms"):
        await early.next_frame()


@in_virtual_time
async def test_close_ends_what_was_begun_on_the_context_and_nothing_else() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    inner = ann.context(port=8081)
    ended: list[str] = []

    async def wait_for_ever(socket: WebSocket) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("listener")

    ann.on("websocket", wait_for_ever)
    proxy.on("websocket", wait_for_ever)
    ann.route_web_socket("**", repr)
    inner.route_web_socket("**", repr)
    feed = begin(proxy, "ann")
    await asyncio.sleep(0)
    waits = [each.wait_for_event("websocket") for each in (ann, inner, proxy)]
    frame = feed.socket.wait_for_event("framereceived")
    await ann.close()
    for wait in waits[:2]:
        with pytest.raises(EndedError, match=r"^Context closed$"):
            await wait
    await asyncio.sleep(0)
    assert ended == ["listener"]
    assert await taken(proxy, "ann", 8081) is None
    assert not feed.socket.is_closed()
    receive(feed, "going on")
    assert await frame == "going on"
    other = begin(proxy, "bob").socket
    assert await waits[2] is other
    await ann.close()  # nothing happens
    proxy._scope.end_of(proxy, "the end")
    await asyncio.sleep(1)
    assert left_behind(proxy) == ["websocket"]


def calls(context: ProxyContext) -> list[Callable[[], Any]]:
    return [
        lambda: context.on("websocket", print),
        lambda: context.once("websocket", print),
        lambda: context.route_web_socket("**", print),
        lambda: context.unroute_web_socket("**"),
        lambda: context.mock_web_socket("**"),
        lambda: context.web_sockets,
        lambda: context.wait_for_websocket(),
        lambda: context.wait_for_event("websocket"),
        lambda: context.port,
        lambda: context.ca_certificate,
        lambda: context.context(port=8081),
        lambda: context.start_capture("x.db"),
        lambda: context.stop_capture(),
        lambda: context.annotate("x"),
    ]


async def test_closed_context_refuses_everything() -> None:
    proxy = Proxy()
    async with proxy.context(user="ann") as ann:
        assert proxy._state.contexts == [ann]
    assert proxy._state.contexts == []
    for call in calls(ann):
        with pytest.raises(EndedError, match=r"^Context closed$"):
            call()
    with pytest.raises(EndedError, match=r"^Context closed$"):
        async with ann.expect_websocket():
            begin(proxy, "ann")
    assert not left_behind(proxy)


async def test_listener_that_closes_its_context_goes_on() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    done = asyncio.Event()

    async def close(socket: WebSocket) -> None:
        await ann.close()
        await asyncio.sleep(0)
        done.set()

    ann.on("websocket", close)
    begin(proxy, "ann")
    await done.wait()


async def test_end_of_the_proxy_closes_the_contexts_that_were_made_meanwhile() -> None:
    proxy = Proxy()
    control = Control(proxy)
    before = proxy.context(user="ann")
    before.set_default_timeout(7)
    before.on("websocket", print)
    before.route_web_socket("**", repr)
    gone = proxy.context(user="gone")
    gone.route_web_socket("**", repr)
    settings = control.settings()
    meanwhile = proxy.context(user="ann")
    meanwhile.route_web_socket("**", str)
    before.set_default_timeout(9)
    before.once("websocket", repr)
    before.unroute_web_socket("**")
    await gone.close()
    waiting = before.wait_for_event("websocket")
    await control.end(settings)
    with pytest.raises(Error, match=r"^Proxy closed$"):
        await waiting
    assert proxy._state.contexts == [before]
    assert (before._default_timeout, list(before._events["websocket"])) == (7, [print])
    assert await taken(proxy, "ann") is repr
    assert await taken(proxy, "gone") is None
    with pytest.raises(EndedError, match=r"^Context closed$"):
        meanwhile.on("websocket", print)


async def test_script_that_is_reloaded_takes_its_contexts_along() -> None:
    proxy = Proxy()
    others = proxy.context(user="ann")
    script = load_script(
        """
        own = proxy.context(user="ann")
        own.on("websocket", print)
        others.on("websocket", print)
        others.route_web_socket("**", print)
        """,
        proxy=proxy,
        others=others,
    )
    forgotten: list[object] = []
    Control(proxy).on_new_script(forgotten.append)
    Control(proxy).forget(script)
    assert proxy._state.contexts == [others]
    assert others.event_names() == set()
    assert await taken(proxy, "ann") is None


# Recording


def recorder(path: Path, **options: Any) -> Recorder:
    return Recorder(path, "test", **options)


def recorded(path: Path) -> list[tuple[str, list[object]]]:
    """The users of the sockets of a capture, which are in their URLs, and their messages."""
    with open_capture(path) as capture:
        return [
            (socket.url, [frame.payload for frame in capture.frames(socket=socket.id)])
            for socket in capture.sockets()
        ]


def test_each_context_records_its_own_sockets_while_the_proxy_records_all(tmp_path: Path) -> None:
    proxy = Proxy()
    control = Control(proxy)
    contexts = {user: proxy.context(user=user)._filter for user in ("ann", "bob")}
    paths = {name: tmp_path / f"{name}.db" for name in ("proxy", "ann", "bob")}
    feeds: dict[str, Feed] = {}

    def speak(message: str) -> None:
        for feed in feeds.values():
            feed.passed([message], direction=Direction.SENT)

    feeds["ann"] = begin_socket(proxy, "ws://h/ann", key="1", proxy_user="ann")
    recorders = {name: recorder(path) for name, path in paths.items()}
    control.start_recording(recorders["ann"], contexts["ann"])
    speak("one")
    feeds["bob"] = begin_socket(proxy, "ws://h/bob", key="2", proxy_user="bob")
    control.start_recording(recorders["proxy"])
    control.start_recording(recorders["bob"], contexts["bob"])
    speak("two")
    feeds["ann again"] = begin_socket(proxy, "ws://h/ann", key="3", proxy_user="ann")
    speak("three")
    control.stop_recording()
    speak("four")
    control.stop_recording(contexts["ann"])
    assert not feeds["ann"].is_recorded
    assert feeds["bob"].is_recorded
    speak("five")
    control.stop_recording(contexts["bob"])
    assert not any(feed.is_recorded for feed in feeds.values())
    for each in recorders.values():
        each.stop()
    assert recorded(paths["ann"]) == [
        ("ws://h/ann", ["one", "two", "three", "four"]),
        ("ws://h/ann", ["three", "four"]),
    ]
    assert recorded(paths["bob"]) == [("ws://h/bob", ["two", "three", "four", "five"])]
    assert recorded(paths["proxy"]) == [
        ("ws://h/ann", ["two", "three"]),
        ("ws://h/bob", ["two", "three"]),
        ("ws://h/ann", ["three"]),
    ]


def test_capture_that_ends_drops_the_held_message_in_its_own_file_alone(tmp_path: Path) -> None:
    proxy = Proxy()
    control = Control(proxy)
    ann = proxy.context(user="ann")._filter
    feed = begin(proxy, "ann")
    recorders = [recorder(tmp_path / name) for name in ("ann.db", "proxy.db")]
    control.start_recording(recorders[0], ann)
    control.start_recording(recorders[1])
    feed.offered("held", direction=Direction.SENT)
    control.stop_recording(ann)
    feed.settled("changed", direction=Direction.SENT)
    control.stop_recording()
    flags = []
    for each in recorders:
        each.stop()
        with open_capture(each.path) as capture:
            flags.append([(frame.payload, frame.flags.name) for frame in capture.frames()])
    assert flags == [[("held", "DROPPED")], [("changed", "CHANGED")]]


def test_tapes_of_a_socket_hear_all_reports(tmp_path: Path) -> None:
    proxy = Proxy()
    control = Control(proxy)
    recorders = [recorder(tmp_path / name) for name in ("ann.db", "proxy.db")]
    control.start_recording(recorders[0], proxy.context(user="ann")._filter)
    control.start_recording(recorders[1])
    feed = begin(proxy, "ann")
    feed.requested({"A": "b"})
    feed.answered(101, {"C": "d"})
    feed.opened(("127.0.0.1", 80))
    feed.controls([(9, b"ping")], direction=Direction.RECEIVED)
    feed.offered("a", direction=Direction.SENT)
    feed.ordered("b", direction=Direction.SENT)
    feed.too_large()
    feed.failed("it broke")
    control.close("ann", 1011, "bye", "server")
    rows = []
    for each in recorders:
        each.stop()
        with open_capture(each.path) as capture:
            (socket,) = capture.sockets()
            kept = [
                getattr(socket, name)
                for name in ("status", "server_address", "close_code", "closed_by", "error")
            ]
            frames = [(frame.opcode, frame.payload, frame.original) for frame in capture.frames()]
            rows.append((kept, dict(socket.request_headers), frames, len(capture.gaps())))
    assert rows[0] == rows[1]
    assert rows[0][0] == [101, "127.0.0.1:80", 1011, "server", "it broke"]
    assert rows[0][1:3] == ({"a": "b"}, [(9, b"ping", None), (1, "b", "a")])


def test_numbers_of_a_context_s_capture_leave_those_of_the_proxy_alone(tmp_path: Path) -> None:
    proxy = Proxy()
    control = Control(proxy)
    ann = proxy.context(user="ann")._filter
    first = recorder(tmp_path / "ann.db")
    begin(proxy, "bob")
    control.start_recording(first, ann)
    numbers = [control.number_of(begin(proxy, "ann", key).socket) for key in "12"]
    control.stop_recording(ann)
    first.stop()
    assert numbers == [2, 3]
    with open_capture(first.path) as capture:
        assert [socket.id for socket in capture.sockets()] == [1, 2]
    again = recorder(first.path)
    assert again.first_number == 3
    again.stop()
