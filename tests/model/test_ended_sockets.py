"""How the newest sockets of a proxy ended."""

import gc
import weakref

from support.model_sockets import begin_socket, open_socket, receive
from wirewright.model.ended_sockets import MOST, MOST_CHARACTERS
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control


def end(proxy: Proxy, key: str = "1") -> None:
    Control(proxy).close(key, 1011, "restart", "server")


def test_end_has_what_the_socket_said_and_does_not_keep_the_socket() -> None:
    proxy = Proxy()
    feed = open_socket(proxy, "ws://a.test/1")
    begin_socket(proxy, "ws://a.test/2", key="2").failed("net::ERR_FAILED")
    receive(feed, "a" * 100)
    socket = weakref.ref(feed.socket)
    end(proxy)
    Control(proxy).close("2")
    end(proxy, "3")
    del feed
    gc.collect()
    assert socket() is None
    first, second = proxy._state.ended
    assert (first.url, first.status, first.error) == ("ws://a.test/1", 101, None)
    assert (first.close_code, first.close_reason, first.closed_by) == (1011, "restart", "server")
    assert first.opened_at is not None
    assert (second.url, second.opened_at, second.error) == ("ws://a.test/2", None, "net::ERR_FAILED")
    assert [first.request_sequence, second.request_sequence] == [1, 2]
    assert [first.end_sequence, second.end_sequence] == [3, 4]
    assert first.is_closed()


def test_oldest_are_forgotten() -> None:
    proxy = Proxy()
    for number in range(MOST + 5):
        open_socket(proxy, f"ws://a.test/{number}")
        end(proxy)
    urls = [each.url for each in proxy._state.ended]
    assert urls == [f"ws://a.test/{number}" for number in range(5, MOST + 5)]
    open_socket(proxy, "ws://a.test/" + "a" * (MOST_CHARACTERS - 100))
    end(proxy)
    assert len(list(proxy._state.ended)) < 10
    open_socket(proxy, "ws://a.test/" + "a" * MOST_CHARACTERS)
    end(proxy)
    assert list(proxy._state.ended) == []
    open_socket(proxy)
    end(proxy)
    assert len(list(proxy._state.ended)) == 1


async def test_end_of_the_proxy_forgets_them() -> None:
    proxy = Proxy()
    control = Control(proxy)
    open_socket(proxy)
    end(proxy)
    open_socket(proxy)
    await control.end(control.settings())
    assert list(proxy._state.ended) == []


def test_failed_handshakes_do_not_displace_ends() -> None:
    proxy = Proxy()
    open_socket(proxy)
    end(proxy)
    for _ in range(MOST + 5):
        begin_socket(proxy)
        Control(proxy).close("1")
    ends = list(proxy._state.ended)
    assert len(ends) == MOST + 1
    assert [each.opened_at is None for each in ends[:2]] == [False, True]
    assert [each.end_sequence for each in ends] == sorted(each.end_sequence for each in ends)
