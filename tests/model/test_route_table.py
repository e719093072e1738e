"""Which handler routes which socket."""

import re
from typing import Any

import pytest

from wirewright.model.matching import UrlMatch
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_table import RouteTable

URL = "ws://host/live"


def one(ws: WebSocketRoute) -> None: ...


def two(ws: WebSocketRoute) -> None: ...


async def taken(routes: RouteTable, url: str = URL) -> object:
    rule = await routes.take(url)
    return rule and rule.handler


async def test_newest_matching_rule_is_taken() -> None:
    routes = RouteTable()
    routes.add("**", one)
    routes.add("**/live", two)
    routes.add("**/other", one)
    assert await taken(routes) is two
    assert await taken(routes, "ws://host/x") is one


async def test_no_rule_is_taken_where_none_matches() -> None:
    routes = RouteTable()
    assert await routes.take(URL) is None
    routes.add("**/other", one)
    assert await routes.take(URL) is None


@pytest.mark.parametrize(
    "url", [None, "", "**", "ws://host/{live,x}", re.compile("LIVE$", re.I), lambda url: True]
)
async def test_rules_match_as_elsewhere(url: UrlMatch | None) -> None:
    routes = RouteTable()
    routes.add(url, one)
    assert await taken(routes) is one


async def test_rule_is_used_up() -> None:
    routes = RouteTable()
    routes.add("**", one)
    routes.add("**", two, times=2)
    assert [await taken(routes) for _ in range(3)] == [two, two, one]


async def test_rules_are_taken_back_by_url_and_by_handler() -> None:
    routes = RouteTable()
    for handler in (one, two):
        routes.add("**/live", handler)
    routes.remove("**/other")
    routes.remove("**", two)
    assert await taken(routes) is two
    routes.remove("**/live", two)
    assert await taken(routes) is one
    routes.remove("**/live")
    assert await routes.take(URL) is None


async def test_regex_is_taken_back_by_an_equal_one() -> None:
    routes = RouteTable()
    routes.add(re.compile("live"), one)
    routes.remove(re.compile("live", re.I))
    assert await taken(routes) is one
    routes.remove(re.compile("live"))
    assert await routes.take(URL) is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("**", "handler"), TypeError, "handler must be callable, not str"),
        (("{a", one), ValueError, "invalid glob"),
        ((7, one), TypeError, "url must be a glob"),
        (("**", one, 0), ValueError, "times must be 1 or more, or None for any number, not 0"),
        (("**", one, True), ValueError, "times must be"),
        (("**", one, "2"), ValueError, "times must be"),
    ],
)
async def test_what_is_no_rule_is_refused(arguments: Any, error: type[Exception], message: str) -> None:
    routes = RouteTable()
    with pytest.raises(error, match=message):
        routes.add(*arguments)
    assert await routes.take(URL) is None
