"""Which sockets a wait means, and what its error says of the others."""

import re
from typing import Any

import pytest

from support.model_sockets import begin_socket, in_virtual_time, open_socket
from wirewright.model.errors import Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.proxy import Proxy
from wirewright.model.websocket import WebSocket

PREFIX = 'Timeout 100ms exceeded while waiting for event "websocket"'


def is_chat(socket: WebSocket) -> bool:
    return "chat" in socket.url


IS_CHAT = f"is_chat (tests/model/test_socket_match.py:{is_chat.__code__.co_firstlineno})"


async def message_of(proxy: Proxy, *urls: str, **arguments: Any) -> list[str]:
    """The lines of the error of a wait that runs out of time after these sockets."""
    wait = proxy.wait_for_websocket(timeout=100, **arguments)
    for number, url in enumerate(urls):
        open_socket(proxy, url, key=f"new {number}")
    with pytest.raises(TimeoutError) as caught:
        await wait
    first, *lines = caught.value.message.splitlines()
    assert first == PREFIX
    return lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"url": "**/chat"}, "no socket matched '**/chat'"),
        ({"url": re.compile(r"/chat$")}, "no socket matched '/chat$'"),
        ({"url": is_chat}, f"no socket matched {IS_CHAT}"),
        ({"url": "**/live", "predicate": is_chat}, f"no socket matched '**/live' and {IS_CHAT}"),
        ({"url": "**/chat", "opened": True}, "no socket matched '**/chat' and opened"),
    ],
)
@in_virtual_time
async def test_error_names_the_pattern_and_the_sockets_that_came_by(
    arguments: dict[str, Any], sentence: str
) -> None:
    assert await message_of(Proxy(), "ws://a.test/live", **arguments) == [
        f"{sentence}; came by: ws://a.test/live"
    ]
    assert await message_of(Proxy(), **arguments) == [f"{sentence}; none came by"]


@in_virtual_time
async def test_sockets_that_have_not_opened_are_named() -> None:
    proxy = Proxy()
    wait = proxy.wait_for_websocket(opened=True, timeout=100)
    begin_socket(proxy)
    with pytest.raises(TimeoutError, match=r"\nno socket opened; came by: ws://example\.test/live$"):
        await wait


@in_virtual_time
async def test_predicate_of_expect_event_is_named_too() -> None:
    proxy = Proxy()
    with pytest.raises(TimeoutError, match=re.escape(f"\nno socket matched {IS_CHAT}; none came by")):
        async with proxy.expect_event("websocket", is_chat, timeout=100):
            pass


@in_virtual_time
async def test_sockets_that_were_open_before_are_named() -> None:
    proxy = Proxy()
    for number in range(8):
        open_socket(proxy, f"ws://a.test/{number}", key=str(number))
    assert await message_of(proxy) == [
        "no socket came by; open before: ws://a.test/3, ws://a.test/4, ws://a.test/5, ws://a.test/6, "
        "ws://a.test/7 and 3 more"
    ]


@in_virtual_time
async def test_many_urls_are_folded_and_bounded_and_have_no_secrets() -> None:
    urls = [f"ws://u:pw@a.test/{number // 2}?token=abc&n=\x1b" for number in range(1_000)]
    (sentence,) = await message_of(Proxy(), *urls, url="**/chat")
    shown = ", ".join(
        rf"ws://u:REDACTED@a.test/{number}?token=REDACTED&n=\x1b ×2" for number in range(495, 500)
    )
    assert sentence == f"no socket matched '**/chat'; came by: {shown} and 990 more"
    (sentence,) = await message_of(Proxy(), "ws://a.test/" + "x" * 10_000, url="**/chat")
    assert len(sentence) < 300


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        (
            ["bob"],
            "no socket of user 'ann' matched '**/chat'; came by outside of this context: {chat} (user 'bob')",
        ),
        (
            ["ann", "bob", None],
            "no socket of user 'ann' matched '**/chat' and never; came by: {chat}; "
            "came by outside of this context: {chat} (user 'bob'), {chat} (no user)",
        ),
        ([], "no socket of user 'ann' matched '**/chat'; none came by"),
    ],
)
@in_virtual_time
async def test_sockets_that_came_by_outside_of_a_context_are_named(
    users: list[str | None], sentence: str
) -> None:
    chat = "ws://a.test/chat"

    def never(socket: WebSocket) -> bool:
        return False

    proxy = Proxy()
    ann = proxy.context(user="ann")
    begin_socket(proxy, chat, key="before", proxy_user="carl")
    wait = ann.wait_for_websocket("**/chat", never if "ann" in users else None, timeout=100)
    for user in users:
        begin_socket(proxy, chat, key=f"of {user}", proxy_user=user)
    with pytest.raises(TimeoutError) as caught:
        await wait
    told = re.sub(r"never \(.*?\)", "never", caught.value.message)
    assert told.splitlines()[1] == sentence.format(chat=chat)


@in_virtual_time
async def test_wait_of_a_context_for_any_socket_names_the_context() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann").context(port=8081)
    wait = ann.wait_for_websocket(timeout=100)
    begin_socket(proxy, proxy_user="ann", proxy_port=8082)
    with pytest.raises(TimeoutError) as caught:
        await wait
    assert caught.value.message == (
        f"{PREFIX}\nno socket of user 'ann' and port 8081 came by; "
        "came by outside of this context: ws://example.test/live (port 8082)"
    )


@in_virtual_time
async def test_glob_without_the_query_is_told() -> None:
    lines = await message_of(Proxy(), "ws://a.test/chat?user=py", url="**/chat")
    assert lines[1:] == ["the glob has to match the query, too: '**/chat?**'"]
    proxy = Proxy()
    wait = proxy.wait_for_websocket("**/chat?**")
    open_socket(proxy, "ws://a.test/chat?user=py")
    assert (await wait).url == "ws://a.test/chat?user=py"


@in_virtual_time
async def test_predicate_that_returns_none_is_told_of_the_sockets_for_which_it_was_called() -> None:
    def forgetful(socket: WebSocket) -> None:
        is_chat(socket)

    lines = await message_of(
        Proxy(),
        "ws://a.test/chat",
        "ws://a.test/live",
        "ws://a.test/chat",
        url="**/chat",
        predicate=forgetful,
    )
    assert lines[1].endswith(" returned None for all 2 sockets: does it return its result?")


@in_virtual_time
async def test_predicate_that_raises_is_told_its_socket() -> None:
    proxy = Proxy()
    for arguments in (("**/live**", lambda ws: ws.nothing), (lambda ws: ws.nothing,)):
        wait = proxy.wait_for_websocket(*arguments)
        open_socket(proxy, "ws://a.test/live?token=abc")
        with pytest.raises(AttributeError) as caught:
            await wait
        (note,) = caught.value.__notes__
        assert note.endswith(" raised on the socket ws://a.test/live?token=REDACTED")


@in_virtual_time
async def test_socket_that_does_not_open_is_not_a_mistake_of_the_predicate() -> None:
    proxy = Proxy()
    wait = proxy.wait_for_websocket(opened=True)
    feed = begin_socket(proxy)
    feed.failed("refused")
    feed.closed()
    with pytest.raises(Error, match=r"^Socket error: refused$") as caught:
        await wait
    assert not hasattr(caught.value, "__notes__")
