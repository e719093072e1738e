"""Exceptions of users' functions: where they are reported, and which are no fault of a test."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from support.event_log import eventually
from support.model_sockets import begin_socket, open_socket, receive
from wirewright import Error, Proxy, WebSocket
from wirewright.model import user_errors
from wirewright.model.errors import EndedError
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.proxy_control import Control
from wirewright.model.user_errors import UserError


@pytest.fixture
def reported() -> Iterator[list[UserError]]:
    """The errors that are reported."""
    errors: list[UserError] = []
    user_errors.observers.append(errors.append)
    yield errors
    user_errors.observers.remove(errors.append)


def fail(*_: object) -> bool:
    raise LookupError("not so")


def messages(reported: list[UserError]) -> list[tuple[str, str]]:
    return [(error.raised, repr(error.exception)) for error in reported]


@pytest.mark.ws_allow_errors
async def test_listener_that_raises_is_reported(reported: list[UserError]) -> None:
    feed = open_socket()

    async def fail_later(payload: object) -> None:
        await asyncio.sleep(0)
        fail()

    feed.socket.on("framereceived", fail)
    feed.socket.on("framereceived", fail_later)
    receive(feed, "a")
    await eventually(lambda: len(reported) == 2)
    assert messages(reported) == [(f"{feed.socket}: a listener raised", "LookupError('not so')")] * 2


@pytest.mark.ws_allow_errors
async def test_rule_that_raises_is_reported_and_means_no_socket(
    reported: list[UserError], caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy()
    await proxy.route_web_socket("**", print)
    await proxy.route_web_socket(fail, repr)
    rule = await Control(proxy).take_route(HandshakeRequest("ws://h/"))
    assert rule is not None
    assert rule.handler is print
    assert messages(reported) == [("ws://h/: a route's rule raised", "LookupError('not so')")]
    assert "not so" in caplog.text


async def test_predicate_that_raises_fails_its_wait_alone(reported: list[UserError]) -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event("framereceived", fail)
    receive(feed, "a")
    with pytest.raises(LookupError):
        await wait
    assert reported == []


async def test_wait_of_a_listener_that_the_end_of_the_proxy_fails_is_logged_alone(
    reported: list[UserError], caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy()
    failures: list[Error] = []

    async def wait(seen: WebSocket | Proxy, event: Any) -> None:
        try:
            await seen.wait_for_event(event)
        except Error as error:
            failures.append(error)
            raise

    async def follow(ws: WebSocket) -> None:
        await asyncio.gather(wait(ws, "framesent"), wait(proxy, "websocket"))

    control = Control(proxy)
    before = control.settings()
    proxy.on("websocket", follow)
    begin_socket(proxy)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await control.end(before)
    assert {error.message for error in failures} == {"Socket closed: 'the proxy has stopped'", "Proxy closed"}
    assert {type(error) for error in failures} == {EndedError}
    assert reported == []


@pytest.mark.ws_allow_errors
async def test_wait_of_a_listener_that_fails_before_the_end_is_reported(reported: list[UserError]) -> None:
    feed = open_socket(key="1")

    async def wait(payload: object) -> None:
        await feed.socket.wait_for_event("framesent")

    feed.socket.on("framereceived", wait)
    receive(feed, "a")
    await asyncio.sleep(0)
    feed.closed(1000, "")
    await eventually(lambda: bool(reported))
    assert messages(reported) == [(f"{feed.socket}: a listener raised", "Error('Socket closed: 1000')")]
