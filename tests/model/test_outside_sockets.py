"""The sockets that a context leaves out, as its errors show them."""

from wirewright.model.context_filter import ContextFilter
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.origin import Origin
from wirewright.model.outside_sockets import OutsideSockets


def outside_of_ann(*urls: str, user: str | None = "bob") -> OutsideSockets:
    sockets = OutsideSockets(ContextFilter(user="ann"))
    for url in urls:
        sockets.add(HandshakeRequest(url, origin=Origin(proxy_user=user)))
    return sockets


def text(sockets: OutsideSockets, *, after: int = 0, wanted: str = "") -> str:
    """The sockets without the beginning of the sentence, which is always the same."""
    shown = sockets.text(after, lambda url: wanted in url)
    assert shown.startswith("came by outside of this context: ")
    return shown.partition(": ")[2]


def test_sockets_of_the_context_are_not_kept() -> None:
    sockets = outside_of_ann("ws://a.test/1", user="ann")
    assert (sockets.count, sockets.text(0, bool)) == (0, "")


def test_last_three_different_sockets_are_shown_with_their_counts() -> None:
    sockets = outside_of_ann(*(f"ws://a.test/{number // 2}" for number in range(200)))
    assert text(sockets) == (
        "ws://a.test/97 (user 'bob') ×2, ws://a.test/98 (user 'bob') ×2, "
        "ws://a.test/99 (user 'bob') ×2 and 194 more"
    )
    assert text(sockets, after=198) == "ws://a.test/99 (user 'bob') ×2"
    assert sockets.text(200, bool) == ""


def test_sockets_of_a_matching_url_are_shown_if_there_are_any() -> None:
    sockets = outside_of_ann("ws://a.test/chat", "ws://a.test/live", "ws://a.test/news")
    assert text(sockets, wanted="chat") == "ws://a.test/chat (user 'bob') and 2 more"
    assert text(sockets, wanted="room").count("user 'bob'") == 3


def test_only_the_newest_sockets_are_kept() -> None:
    sockets = outside_of_ann(*(f"ws://a.test/{number}" for number in range(1_000)))
    assert (sockets.count, len(sockets._newest)) == (1_000, 50)


def test_text_is_short_and_printable_and_has_no_secrets() -> None:
    sockets = outside_of_ann("ws://a.test/chat?token=abc&n=\x1b" + "x" * 10_000, user="\x1b" + "u" * 10_000)
    assert text(sockets).startswith(r"ws://a.test/chat?token=REDACTED&n=\x1bxxx")
    assert r"(user '\x1buuu" in text(sockets)
    assert len(text(sockets)) < 400
    assert outside_of_ann("ws://a.test/", user=None).text(0, bool).endswith(" ws://a.test/ (no user)")
