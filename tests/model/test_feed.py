"""Work on behalf of a socket: it may outlive the socket for a while, and not longer."""

import asyncio

import pytest

from support.model_sockets import in_virtual_time, left_behind, open_socket
from wirewright.model.feed import HANDLER_GRACE_SECONDS


@in_virtual_time
async def test_handler_that_never_returns_is_cancelled_some_time_after_its_socket() -> None:
    feed = open_socket()
    handler = feed.run(asyncio.Event().wait())
    feed.closed(1000, "")
    await asyncio.sleep(HANDLER_GRACE_SECONDS - 1)
    assert not handler.done()
    await asyncio.wait([handler])
    assert handler.cancelled()
    assert left_behind(feed.socket) == []


@in_virtual_time
async def test_handler_that_begins_after_the_end_is_cancelled_as_well() -> None:
    feed = open_socket()
    feed.closed(1000, "")
    await asyncio.sleep(2 * HANDLER_GRACE_SECONDS)
    handler = feed.run(asyncio.Event().wait())
    await asyncio.wait([handler])
    assert handler.cancelled()


@in_virtual_time
async def test_handler_that_returns_in_time_is_not_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    feed = open_socket()
    handler = feed.run(asyncio.sleep(HANDLER_GRACE_SECONDS - 1, "done"))
    feed.closed(1000, "")
    assert await handler == "done"
    await asyncio.sleep(HANDLER_GRACE_SECONDS)
    assert caplog.messages == []


@in_virtual_time
async def test_handler_of_an_open_socket_may_take_any_time() -> None:
    feed = open_socket()
    handler = feed.run(asyncio.sleep(100 * HANDLER_GRACE_SECONDS, "done"))
    assert await handler == "done"


@in_virtual_time
async def test_log_names_the_socket_whose_handler_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    feed = open_socket()
    handlers = [feed.run(asyncio.Event().wait()) for _ in range(3)]
    feed.closed(1000, "")
    await asyncio.wait(handlers)
    assert caplog.messages == [
        "ws://example.test/live: a handler was still running 30 s after its socket ended, and is cancelled"
    ]
