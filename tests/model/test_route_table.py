"""Which handler routes which socket."""

import re
from typing import Any

import pytest

from wirewright.model.context_filter import ContextFilter
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.matching import UrlMatch
from wirewright.model.origin import Origin
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_table import RouteTable

URL = "ws://host/live"


def one(ws: WebSocketRoute) -> None: ...


def two(ws: WebSocketRoute) -> None: ...


async def taken(routes: RouteTable, url: str = URL, user: str | None = None) -> object:
    rule = await routes.take(HandshakeRequest(url, origin=Origin(proxy_user=user)))
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
    assert await taken(routes) is None
    routes.add("**/other", one)
    assert await taken(routes) is None


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
    assert await taken(routes) is None


async def test_regex_is_taken_back_by_an_equal_one() -> None:
    routes = RouteTable()
    routes.add(re.compile("live"), one)
    routes.remove(re.compile("live", re.I))
    assert await taken(routes) is one
    routes.remove(re.compile("live"))
    assert await taken(routes) is None


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
    assert await taken(routes) is None


async def test_rules_of_contexts_come_first_and_those_of_inner_ones_before_all() -> None:
    routes = RouteTable()
    outer = ContextFilter(user="ann")
    inner = ContextFilter(port=None, user="ann", parent=outer)
    handlers = [lambda: 0, lambda: 1, lambda: 2, lambda: 3, lambda: 4]
    for handler, context in zip(handlers, [inner, outer, outer, None, None], strict=True):
        routes.add("**", handler, 1, context)
    assert [await taken(routes, user="ann") for _ in handlers] == [handlers[each] for each in (0, 2, 1, 4, 3)]


async def test_rule_of_a_context_is_for_its_sockets_alone() -> None:
    routes = RouteTable()
    routes.add("**", one)
    routes.add("**", two, context=ContextFilter(user="ann"))
    assert await taken(routes, user="ann") is two
    assert await taken(routes, user="bob") is one
    assert routes.may_match(HandshakeRequest(URL))
    routes.remove("**")
    assert await taken(routes, user="bob") is None
    assert not routes.may_match(HandshakeRequest(URL))
    assert routes.may_match(HandshakeRequest(URL, origin=Origin(proxy_user="ann")))


async def test_rules_of_a_context_are_removed_by_it_alone() -> None:
    routes = RouteTable()
    ann, also_ann = ContextFilter(user="ann"), ContextFilter(user="ann")
    routes.add("**", one, context=ann)
    routes.remove("**")
    routes.remove("**", one, also_ann)
    routes.remove_context(also_ann)
    assert await taken(routes, user="ann") is one
    routes.remove("**", one, ann)
    assert routes.rules == []
    routes.add("**", one, context=ann)
    routes.add("**/live", two, context=ann)
    routes.remove_context(ann)
    assert routes.rules == []
