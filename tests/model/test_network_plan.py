"""The conditions of a socket's network: presets, parameters, and plans by time."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import pytest

from support.model_sockets import (
    RecordingCarrier,
    begin_socket,
    in_virtual_time,
    left_behind,
    load_script,
    open_socket,
)
from support.processes import ROOT
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.network_plan import PRESETS, Preset
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Conditions, Direction

SENT, RECEIVED = Direction


def asked(feed: Feed) -> list[tuple[object, ...]]:
    """What the carrier was asked for since the last call."""
    assert isinstance(feed.carrier, RecordingCarrier)
    asked, feed.carrier.asked = feed.carrier.asked, []
    return asked


# Presets and parameters


@pytest.mark.parametrize(
    ("options", "directions"),
    [
        ({}, [SENT, RECEIVED]),
        ({"direction": "both"}, [SENT, RECEIVED]),
        ({"direction": "sent"}, [SENT]),
        ({"direction": "received"}, [RECEIVED]),
    ],
)
async def test_conditions_are_those_of_a_direction_as_the_app_sees_it(
    options: dict[str, Any], directions: list[Direction]
) -> None:
    feed = open_socket()
    conditions = await feed.socket.conditions(
        latency=20, jitter=timedelta(seconds=1), drop=0.5, seed=7, **options
    )
    assert conditions == Conditions(latency=20, jitter=1000, drop=0.5, seed=7)
    assert asked(feed) == [(direction, conditions) for direction in directions]


def test_every_preset_has_a_name_and_numbers_in_the_docs() -> None:
    assert set(get_args(Preset)) == set(PRESETS)
    docs = (ROOT / "docs" / "routes.md").read_text()
    for name, network in PRESETS.items():
        (row,) = [line for line in docs.splitlines() if line.startswith(f'| `"{name}"`')]
        cells = [cell.strip() for cell in row.split("|")[2:6]]
        for direction, speed in zip(Direction, cells[2:], strict=True):
            parameters = network[direction]
            Conditions(**parameters)
            latency, jitter = parameters.get("latency", 0), parameters.get("jitter", 0)
            assert cells[:2] == [f"{latency:,g}" if latency else "-", f"{jitter:,g}" if jitter else "-"]
            speed_of_preset = parameters.get("bytes_per_second")
            assert speed == (f"{speed_of_preset:,.0f}" if speed_of_preset else "-")


def test_preset_has_a_bandwidth_for_each_direction() -> None:
    feed = open_socket()
    conditions = feed.socket.conditions("3g", seed=1).value
    assert conditions == Conditions(latency=150, bytes_per_second=200_000, seed=1)
    sent = Conditions(latency=150, bytes_per_second=96_000, seed=1)
    assert asked(feed) == [(SENT, sent), (RECEIVED, conditions)]


def test_parameters_replace_those_of_the_preset() -> None:
    feed = open_socket()
    feed.socket.conditions("lift", latency=timedelta(milliseconds=5), drop=0.1, direction="sent", seed=1)
    expected = Conditions(latency=5, jitter=1400, bytes_per_second=6000, drop=0.1, seed=1)
    assert asked(feed) == [(SENT, expected)]


def test_seed_that_is_not_given_is_another_each_time() -> None:
    ws = open_socket().socket
    seeds = {conditions.seed for _ in range(10) if (conditions := ws.conditions().value)}
    assert len(seeds) > 1


def test_network_may_be_chosen_before_the_socket_is_open_and_after_its_end() -> None:
    feed = begin_socket(Proxy())
    feed.socket.conditions("offline", direction="sent", seed=1)
    feed.closed(1006)
    feed.socket.conditions(direction="sent", seed=1)
    assert asked(feed) == [(SENT, Conditions(stall_after=0, seed=1)), (SENT, Conditions(seed=1))]


# Plans


@in_virtual_time
async def test_plan_changes_the_network_by_time() -> None:
    feed = open_socket()
    loop = asyncio.get_running_loop()
    began = loop.time()
    plan: Any = [(0, "offline"), (2.5, {"latency": 50, "drop": None}), (8, {"preset": "4g", "drop": 0.1})]
    first = await feed.socket.conditions(plan=plan, direction="sent", seed=3)
    assert first == Conditions(stall_after=0, seed=3)
    assert asked(feed) == [(SENT, first)]
    await asyncio.sleep(2.4)
    assert asked(feed) == []
    await asyncio.sleep(0.2)
    assert asked(feed) == [(SENT, Conditions(latency=50, seed=3))]
    await asyncio.sleep(5.5)
    assert loop.time() - began > 8
    assert asked(feed) == [(SENT, Conditions(latency=85, bytes_per_second=1_125_000, drop=0.1, seed=3))]
    assert left_behind(feed.socket) == []


@in_virtual_time
async def test_plan_may_begin_later() -> None:
    feed = open_socket()
    feed.socket.conditions("3g", seed=1)
    asked(feed)
    feed.socket.conditions(plan=[(1, "offline")], seed=1)
    await asyncio.sleep(0.9)
    assert asked(feed) == []
    await asyncio.sleep(0.2)
    offline = Conditions(stall_after=0, seed=1)
    assert asked(feed) == [(SENT, offline), (RECEIVED, offline)]


@in_virtual_time
async def test_new_call_ends_the_plan_of_its_directions() -> None:
    feed = open_socket()
    feed.socket.conditions(plan=[(0, "3g"), (1, "offline"), (2, {})], seed=1)
    asked(feed)
    feed.socket.conditions("edge", direction="sent", seed=1)
    asked(feed)
    await asyncio.sleep(1.5)
    assert asked(feed) == [(RECEIVED, Conditions(stall_after=0, seed=1))]
    feed.socket.conditions(plan=[(1, "4g")], direction="received", seed=1)
    await asyncio.sleep(3)
    assert asked(feed) == [(RECEIVED, Conditions(latency=85, bytes_per_second=1_125_000, seed=1))]
    assert left_behind(feed.socket) == []


@in_virtual_time
async def test_plan_ends_with_the_socket_once_nothing_can_be_stuck() -> None:
    feed = open_socket()
    feed.socket.conditions(plan=[(0, "3g"), (1, "offline"), (2, "3g"), (3, "offline")], seed=1)
    await asyncio.sleep(1.5)
    feed.closed(1006)
    asked(feed)
    await asyncio.sleep(5)
    assert [conditions.stall_after for _, conditions in asked(feed)] == [None, None]  # type: ignore[attr-defined]
    assert left_behind(feed.socket) == []


def test_network_of_a_closed_socket_is_changed_only_if_messages_may_be_stuck_in_it() -> None:
    feed = open_socket()
    feed.closed(1011, "restart")
    with pytest.raises(Error, match=r"^Socket closed: 1011 'restart'$"):
        feed.socket.conditions("3g")
    stalled = open_socket()
    stalled.socket.conditions("offline")
    stalled.closed(1006)
    asked(stalled)
    stalled.socket.conditions()
    assert len(asked(stalled)) == 2


@in_virtual_time
async def test_plan_ends_with_its_script_and_with_its_proxy() -> None:
    proxy = Proxy()
    control = Control(proxy)
    feed = open_socket(proxy)
    script = load_script("ws.conditions(plan=[(0, '3g'), (1, 'offline')])", ws=feed.socket)
    asked(feed)
    control.forget(script)
    await asyncio.sleep(2)
    assert asked(feed) == []
    feed.socket.conditions(plan=[(1, "offline")])
    await control.end(control.settings())
    await asyncio.sleep(2)
    assert asked(feed) == []


@in_virtual_time
async def test_step_that_is_not_possible_any_more_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    feed = open_socket()
    carrier: Any = feed.carrier
    feed.socket.conditions(plan=[(0, "offline"), (1, "3g"), (2, "4g")], direction="sent", seed=1)

    def gone(*_: object, **__: object) -> None:
        raise Error("Socket closed")

    order, carrier.order_conditions = carrier.order_conditions, gone
    await asyncio.sleep(1.5)
    carrier.order_conditions = order
    asked(feed)
    await asyncio.sleep(1)
    assert len(asked(feed)) == 1
    assert caplog.records == []


async def test_another_thread_may_change_the_network_and_end_a_plan() -> None:
    feed = open_socket()
    feed.socket.conditions(plan=[(0, "3g"), (1000, "offline")])
    asked(feed)
    await asyncio.to_thread(feed.socket.conditions, "4g", direction="sent", seed=1)
    await asyncio.to_thread(feed.socket.conditions, "4g", direction="received", seed=1)
    assert len(asked(feed)) == 2
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert left_behind(feed.socket) == []
    with pytest.raises(Error, match=r"^a plan must be started inside the event loop of the proxy$"):
        await asyncio.to_thread(lambda: feed.socket.conditions(plan=[(0, "3g"), (1, "4g")]))
    assert asked(feed) == []


# Mistakes

FORM = r'a plan must be a list of \(seconds, conditions\), such as \[\(0, "3g"\), \(5, "offline"\)\]'
MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "direction": ({"direction": "up"}, ValueError, "direction must be 'both', 'sent', 'received', not 'up'"),
    "value": ({"drop": 2}, ValueError, "drop must be a probability from 0 to 1, not 2"),
    "preset": ({"preset": "5g"}, ValueError, "preset must be 'offline', .*'4g', not '5g'"),
    "preset of a wrong type": ({"preset": 3}, ValueError, "preset must be 'offline', .*'4g', not 3"),
    "plan and preset": ({"preset": "3g", "plan": [(0, "4g")]}, ValueError, "give a plan, or the conditions"),
    "plan and a value": ({"drop": 0.1, "plan": [(0, "4g")]}, ValueError, "give a plan, or the conditions"),
    "plan that is a preset": ({"plan": "3g"}, TypeError, f"{FORM}, not '3g'"),
    "plan that is a dict": ({"plan": {0: "3g"}}, TypeError, f"{FORM}, not "),
    "plan that is a number": ({"plan": 5}, TypeError, f"{FORM}, not 5"),
    "plan of names": ({"plan": ["3g"]}, TypeError, "the time of a plan's step must be seconds, not '3'"),
    "plan of one step": ({"plan": (0, "3g")}, TypeError, f"{FORM}, not "),
    "empty plan": ({"plan": []}, ValueError, f"{FORM}, and not empty"),
    "times that fall": (
        {"plan": [(1, "3g"), (1, "4g")]},
        ValueError,
        "the times of a plan must be 0 or more",
    ),
    "time before the call": (
        {"plan": [(-1, "3g")]},
        ValueError,
        "the times of a plan must be .* -1 does not",
    ),
    "time that never comes": ({"plan": [(float("nan"), "3g")]}, ValueError, "the times of a plan must be "),
    "time that is none": ({"plan": [("1", "3g")]}, TypeError, "the time of a plan's step must be seconds"),
    "unknown parameter": ({"plan": [(0, {"lag": 5})]}, ValueError, "a step of a plan has .* but no 'lag'"),
    "seed of a step": ({"plan": [(0, {"seed": 5})]}, ValueError, "a step of a plan has .* but no 'seed'"),
    "preset of a step": ({"plan": [(0, "3g"), (1, "5g")]}, ValueError, "preset must be .* not '5g'"),
    "preset in a step": ({"plan": [(0, {"preset": 5})]}, ValueError, "preset must be .* not 5"),
}


@pytest.mark.parametrize(("options", "kind", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_not_possible_is_said_and_changes_nothing(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    feed = open_socket()
    conditions: Callable[..., object] = feed.socket.conditions
    with pytest.raises(kind, match=f"^{message}"):
        conditions(**options)
    assert asked(feed) == []
