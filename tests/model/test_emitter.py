import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from support.model_sockets import in_virtual_time
from wirewright.model.emitter import Emitter
from wirewright.model.scope import Scope


class Bell(Emitter):
    _EVENTS = frozenset({"ring", "stop"})

    def __repr__(self) -> str:
        return "<Bell>"


@pytest.fixture
def bell() -> Bell:
    return Bell(Scope())


Register = Callable[[Bell, str, Any], Any]

ways_to_register = pytest.mark.parametrize(
    "register",
    [
        lambda bell, event, f: bell.on(event, f),
        lambda bell, event, f: bell.on(event)(f),
        lambda bell, event, f: bell.once(event, f),
        lambda bell, event, f: bell.once(event)(f),
        lambda bell, event, f: bell.add_listener(event, f),
        lambda bell, event, f: bell.listens_to(event)(f),
    ],
    ids=["on", "@on", "once", "@once", "add_listener", "@listens_to"],
)


@ways_to_register
def test_listener_is_called_with_the_value_and_returned(bell: Bell, register: Register) -> None:
    heard: list[str] = []

    def listener(tone: str) -> None:
        heard.append(tone)

    assert register(bell, "ring", listener) is listener
    bell.emit("stop", "c")
    bell.emit("ring", "a")
    assert heard == ["a"]


@ways_to_register
@pytest.mark.parametrize("is_async", [False, True])
@in_virtual_time
async def test_listener_without_parameters_is_called_without_the_value(
    register: Register, is_async: bool
) -> None:
    bell, rang = Bell(Scope()), asyncio.Event()

    async def ring() -> None:
        rang.set()

    register(bell, "ring", ring if is_async else rang.set)
    bell.emit("ring", "a")
    await rang.wait()
    bell._emit_each("ring", ["b", "c"])  # type: ignore[arg-type]


@ways_to_register
def test_unknown_event_is_a_value_error(bell: Bell, register: Register) -> None:
    with pytest.raises(
        ValueError, match=r"^unknown event 'rang': did you mean 'ring'\? Bell has \"ring\", \"stop\"$"
    ):
        register(bell, "rang", print)
    assert not bell.event_names()


def test_removal_from_an_unknown_event_is_a_value_error(bell: Bell) -> None:
    with pytest.raises(ValueError, match=r"^unknown event 'rang'"):
        bell.remove_listener("rang", print)


@ways_to_register
@pytest.mark.parametrize("listener", [5, "print"])
def test_listener_must_be_callable(bell: Bell, register: Register, listener: object) -> None:
    with pytest.raises(TypeError, match=f"^a listener must be callable, not {type(listener).__name__}$"):
        register(bell, "ring", listener)
    assert not bell.event_names()


def test_once_is_called_once(bell: Bell) -> None:
    heard: list[str] = []
    bell.once("ring", heard.append)
    bell.emit("ring", "a")
    bell.emit("ring", "b")
    assert heard == ["a"]
    assert not bell.event_names()


@pytest.mark.parametrize("register", [Bell.on, Bell.once])
def test_same_function_registered_twice_is_called_once(bell: Bell, register: Register) -> None:
    heard: list[str] = []

    def listener(tone: str) -> None:
        heard.append(tone)

    register(bell, "ring", listener)
    register(bell, "ring", listener)
    register(bell, "stop", listener)
    bell.emit("ring", "a")
    bell.emit("stop", "b")
    assert heard == ["a", "b"]


@pytest.mark.parametrize("register", [Bell.on, Bell.once])
def test_removed_listener_is_not_called(bell: Bell, register: Register) -> None:
    heard: list[str] = []
    register(bell, "ring", heard.append)
    register(bell, "ring", print)
    bell.remove_listener("ring", print)
    bell.emit("ring", "a")
    assert heard == ["a"]
    assert not bell.listeners("ring") or bell.listeners("ring") == [heard.append]


def test_removal_of_what_is_not_registered_is_no_error(bell: Bell) -> None:
    bell.remove_listener("ring", print)
    bell.on("ring", print)
    bell.remove_listener("ring", len)
    assert bell.listeners("ring") == [print]


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize("exception", [ValueError("flat"), asyncio.CancelledError()])
def test_listener_that_raises_is_logged_and_reaches_no_other(
    bell: Bell, caplog: pytest.LogCaptureFixture, exception: BaseException
) -> None:
    heard: list[str] = []

    def broken(tone: str) -> None:
        raise exception

    bell.on("ring", broken)
    bell.on("ring", heard.append)
    bell.emit("ring", "a")
    bell.emit("ring", "b")

    assert heard == ["a", "b"]
    assert [record.getMessage() for record in caplog.records] == ["<Bell>: a listener raised"] * 2
    for record in caplog.records:
        assert (record.name, record.levelno) == ("wirewright.model.user_errors", logging.ERROR)
        assert record.exc_info is not None
        assert record.exc_info[1] is exception
    assert "in broken" in caplog.text


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_listener_may_end_the_program(bell: Bell, exception: type[BaseException]) -> None:
    def quitting(tone: str) -> None:
        raise exception

    bell.on("ring", quitting)
    with pytest.raises(exception):
        bell.emit("ring", "a")


def test_listener_that_registers_itself_while_it_runs_is_called_once_an_event(bell: Bell) -> None:
    heard: list[str] = []

    def listener(tone: str) -> None:
        heard.append(tone)
        bell.on("ring", listener)

    bell.on("ring", listener)
    bell.emit("ring", "a")
    bell.emit("ring", "b")
    assert heard == ["a", "b"]


def test_once_may_be_asked_for_again_while_it_runs(bell: Bell) -> None:
    heard: list[str] = []

    def listener(tone: str) -> None:
        heard.append(tone)
        if tone != "b":
            bell.once("ring", listener)

    bell.once("ring", listener)
    for tone in "abc":
        bell.emit("ring", tone)
    assert heard == ["a", "b"]


def test_listener_that_is_registered_while_an_event_is_emitted_hears_the_next_one(bell: Bell) -> None:
    heard: list[str] = []
    bell.on("ring", lambda tone: bell.on("ring", heard.append))
    bell.emit("ring", "a")
    assert heard == []


@pytest.mark.ws_allow_errors
@in_virtual_time
async def test_async_listener_that_raises_is_logged_and_reaches_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bell = Bell(Scope())
    heard: list[str] = []

    async def broken(tone: str) -> None:
        await asyncio.sleep(1)
        raise ValueError(tone)

    bell.on("ring", broken)
    bell.on("ring", heard.append)
    bell.emit("ring", "a")
    await asyncio.sleep(2)

    assert heard == ["a"]
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == ("<Bell>: a listener raised", logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert "in broken" in caplog.text
    assert not bell._scope._tasks


@in_virtual_time
async def test_listener_that_awaits_forever_holds_up_nobody() -> None:
    bell = Bell(Scope())
    begun: list[str] = []
    heard: list[str] = []

    async def stuck(tone: str) -> None:
        begun.append(tone)
        await asyncio.Event().wait()

    bell.on("ring", stuck)
    bell.on("ring", heard.append)
    bell.emit("ring", "a")
    bell.emit("ring", "b")
    await asyncio.sleep(0)
    assert (begun, heard) == (["a", "b"], ["a", "b"])
    assert len(bell._scope._tasks) == 2


@in_virtual_time
async def test_async_listener_is_kept_alive_until_done() -> None:
    bell = Bell(Scope())
    held: list[weakref.ref[asyncio.Future[str]]] = []
    heard: list[str] = []

    async def listener(tone: str) -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        held.append(weakref.ref(answer))
        heard.append(tone + await answer)

    bell.on("ring", listener)
    bell.emit("ring", "a")
    await asyncio.sleep(0)
    gc.collect()

    answer = held[0]()
    assert answer is not None, "nothing but the task holds what it awaits, and nobody held the task"
    answer.set_result("!")
    await asyncio.sleep(0.001)
    assert heard == ["a!"]
    assert not bell._scope._tasks


@in_virtual_time
async def test_async_listener_is_started_in_the_order_of_the_events() -> None:
    bell = Bell(Scope())
    heard: list[int] = []

    async def listener(tone: int) -> None:
        heard.append(tone)
        await asyncio.sleep(0)
        heard.append(-tone)

    bell.on("ring", listener)
    for tone in range(1, 51):
        bell.emit("ring", tone)
    await asyncio.sleep(2)
    assert heard == [*range(1, 51), *range(-1, -51, -1)]


@in_virtual_time
async def test_async_once_is_called_once() -> None:
    bell = Bell(Scope())
    heard: list[str] = []

    async def listener(tone: str) -> None:
        await asyncio.sleep(0)
        heard.append(tone)

    bell.once("ring", listener)
    bell.emit("ring", "a")
    bell.emit("ring", "b")
    await asyncio.sleep(1)
    assert heard == ["a"]


@in_virtual_time
async def test_awaitable_that_a_plain_listener_returns_is_awaited() -> None:
    bell = Bell(Scope())
    heard: list[str] = []

    async def hear(tone: str) -> None:
        heard.append(tone)

    bell.on("ring", lambda tone: hear(tone))
    bell.emit("ring", "a")
    await asyncio.sleep(0)
    assert heard == ["a"]
