"""Messages that are not complete yet share the memory budget of the process."""

import tracemalloc

import pytest

from support.frames import Peer
from wirewright.memory import MemoryBudget, MemoryUse
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import TooLarge

MIB = 1024 * 1024
LIMIT = 20 * MIB
COMPRESSED = Compression()


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> MemoryBudget:
    budget = MemoryBudget(LIMIT)
    monkeypatch.setattr("wirewright.wire.unfinished_message.budget", budget)
    return budget


def begun(peer: Peer, size: int, *, is_compressed: bool = False) -> bytes:
    """The first frame of a message of zeros."""
    payload = peer.deflate(bytes(size)) if is_compressed else bytes(size)
    first, _ = peer.fragments(Opcode.BINARY, payload, b"", rsv1=is_compressed)
    return first


@pytest.mark.parametrize("is_compressed", [False, True])
def test_many_unfinished_messages_stay_within_the_budget(budget: MemoryBudget, is_compressed: bool) -> None:
    peer = Peer(compression=COMPRESSED)
    frame = begun(peer, 4 * MIB, is_compressed=is_compressed)
    readers = [peer.reader(max_message=64 * MIB) for _ in range(20)]
    tracemalloc.start()
    try:
        for reader in readers:
            for position in range(0, len(frame), 65_536):
                reader.feed(frame[position : position + 65_536])
        assert tracemalloc.get_traced_memory()[1] < 2 * LIMIT  # the unbounded sum is 80 MiB
    finally:
        tracemalloc.stop()
    assert 0 < budget.used <= LIMIT
    del readers, reader
    assert budget.used == 0


def test_largest_message_is_given_up_and_smaller_ones_are_read(budget: MemoryBudget) -> None:
    peer = Peer()
    large, small = peer.reader(max_message=64 * MIB), peer.reader(max_message=64 * MIB)
    assert large.feed(begun(peer, 14 * MIB)) == []
    assert small.feed(begun(peer, 3 * MIB)) == []
    end = peer.frame(Opcode.CONTINUATION, b"end")
    assert large.feed(end) == [TooLarge(Opcode.BINARY, lacks_memory=True)]
    assert small.feed(end) == [bytes(3 * MIB) + b"end"]
    assert large.feed(peer.text("next")) == ["next"]
    assert budget.used == 0


def test_message_that_is_given_up_with_its_last_part_is_not_handed_out(budget: MemoryBudget) -> None:
    peer = Peer()
    reader = peer.reader(max_message=64 * MIB)
    assert reader.feed(peer.binary(bytes(17 * MIB))) == [TooLarge(Opcode.BINARY, lacks_memory=True)]
    assert not reader.only_messages
    assert budget.used == 0


def test_messages_after_one_that_was_given_up_are_still_inflated(budget: MemoryBudget) -> None:
    peer = Peer(compression=COMPRESSED)
    reader = peer.reader(max_message=64 * MIB)
    others = budget.share(MemoryUse.HELD)
    others.set(LIMIT)
    first, last = peer.fragments(Opcode.TEXT, peer.deflate(b"window" * 100_000), b"", rsv1=True)
    assert reader.feed(first + last) == [TooLarge(Opcode.TEXT, lacks_memory=True)]
    others.set(0)
    assert reader.feed(peer.compressed(b"window" * 100)) == [b"window" * 100]


def test_held_message_gives_way_when_nothing_else_does(budget: MemoryBudget) -> None:
    peer = Peer()
    reader = peer.reader(max_message=64 * MIB)
    reader.wanted.holds = True
    others = budget.share(MemoryUse.HELD)
    others.set(LIMIT * 9 // 10)
    assert reader.feed(begun(peer, MIB)) == []
    end = peer.frame(Opcode.CONTINUATION, b"")
    assert reader.feed(end) == [bytes(MIB)]
    others.set(LIMIT)
    reader.feed(begun(peer, MIB))
    assert reader.feed(end) == [TooLarge(Opcode.BINARY, lacks_memory=True)]


def test_reader_that_fails_gives_its_memory_back(budget: MemoryBudget) -> None:
    peer = Peer()
    reader: MessageReader = peer.reader(max_message=64 * MIB)
    reader.feed(begun(peer, MIB))
    assert budget.used == MIB
    reader.feed(peer.text("not a continuation"))
    assert reader.failure is not None
    assert budget.used == 0
