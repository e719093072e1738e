"""The payload of a message while it comes."""

import os

import pytest

from wirewright.wire.payload_buffer import PayloadBuffer


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [5],
        [5, 5],
        [4096, 4096],
        [5, 4096, 5, 5, 5],
        [65_536] * 10,
        [65_536] * 200,
        [1] * 1000,
        [6_000_000, 1, 5_000_000, 4096],
    ],
    ids=lambda sizes: f"{len(sizes)} of {sum(sizes)} bytes",
)
def test_parts_are_joined_in_order(sizes: list[int]) -> None:
    data = [os.urandom(size) for size in sizes]
    parts = PayloadBuffer()
    for part in data:
        parts.append(part)
    for _ in range(2):
        joined = parts.join()
        assert joined == b"".join(data)
        assert type(joined) is bytes


def test_single_part_is_not_copied() -> None:
    parts, part = PayloadBuffer(), os.urandom(100_000)
    parts.append(part)
    assert parts.join() is part
