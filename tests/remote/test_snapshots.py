"""Messages about sockets whose app or server has sent very large header fields."""

from types import SimpleNamespace
from typing import Any

import pytest

from wirewright.remote import snapshots
from wirewright.remote.protocol import Changed, Failed, Fields, Opening, Remembered, Routed, Snapshot, Welcome
from wirewright.remote.snapshots import LARGEST_HEADERS, LONGEST_BARE_URL, bare, bounded, size_of, smaller

FIELDS: Fields = [("Host", "a.test"), ("Cookie", "b")]


def socket(**values: Any) -> Snapshot:
    return Snapshot(**({"key": "a", "url": "ws://a.test/", "request_headers": FIELDS} | values))


def test_fields_that_fit_are_the_same_object() -> None:
    assert bounded(FIELDS)[0] is FIELDS
    exact: Fields = [("a", "x" * (LARGEST_HEADERS - 1))]
    assert bounded(exact) == (exact, 0)


def test_large_fields_are_left_out_and_their_bytes_counted() -> None:
    large = ("Large", "x" * LARGEST_HEADERS)
    assert bounded([FIELDS[0], large, FIELDS[1]]) == (FIELDS, LARGEST_HEADERS + 5)


def test_fields_are_left_out_from_the_one_that_no_longer_fits() -> None:
    many = [(f"{number:010}", "x" * 90) for number in range(4_000)]
    kept, left_out = bounded(many)
    assert kept == many[: LARGEST_HEADERS // 100]
    assert left_out == 100 * (4_000 - len(kept))


def test_bare_snapshot_counts_what_it_has_not() -> None:
    url = "ws://a.test/" + "x" * LONGEST_BARE_URL
    given = socket(url=url, response_headers=FIELDS, left_out=100)
    expected = socket(
        url=url[:LONGEST_BARE_URL], request_headers=(), response_headers=(), left_out=100 + 12 + 34
    )
    assert bare(given) == expected
    assert size_of(given) == len(url) + 34


def test_answer_that_has_not_come_stays_so() -> None:
    assert bare(socket()).response_headers is None


@pytest.mark.parametrize(
    "message",
    [
        Opening(socket()),
        Routed(1, socket()),
        Changed("a", FIELDS, FIELDS, 101, 1.0, None),
        Welcome("x", 1, "", 1, 1, [socket(), socket(request_headers=())]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_smaller_message_has_no_header_fields_and_none_is_smaller(message: Any) -> None:
    less = smaller(message)
    assert type(less) is type(message)
    assert "a.test')" not in repr(less)
    assert "left_out=17" in repr(less) or "left_out=34" in repr(less)
    assert smaller(less) is None


def test_welcome_first_forgets_messages_and_then_header_fields() -> None:
    remembered = Remembered("x", "framesent", 1.0)
    welcome = Welcome("x", 1, "", 1, 1, [socket(history=[remembered], forgotten=2)])
    less = smaller(welcome)
    assert less.sockets == [socket(history=(), forgotten=3)]
    assert smaller(less).sockets == [bare(less.sockets[0])]


def test_message_without_header_fields_has_nothing_smaller() -> None:
    assert smaller(Failed("a", "x")) is None


def test_new_client_gets_no_more_header_fields_than_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "snapshot", lambda key, *_, **__: socket(key=key))
    monkeypatch.setattr(snapshots, "MOST_HEADERS", 2 * size_of(socket()) + size_of(bare(socket())))
    feed: Any = SimpleNamespace(socket=None, history=SimpleNamespace(size=0))
    found = snapshots.snapshots([(key, feed) for key in "abcd"], with_history=True)
    assert [len(each.request_headers) for each in found] == [2, 2, 0, 0]
