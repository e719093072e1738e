from wirewright.capture.records import FrameFlag, RecordedFrame, Socket
from wirewright.capture.statistics import statistics
from wirewright.model.handshake import Headers
from wirewright.values import Direction

MILLISECOND = 1_000_000


def socket(number: int) -> Socket:
    return Socket(number, 1, f"ws://h/{number}", 0, 0, None, Headers(), Headers(), 101, *[None] * 8)


def frame(
    number: int,
    milliseconds: int,
    direction: Direction = Direction.SENT,
    size: int = 10,
    opcode: int = 1,
    flags: int = 0,
) -> tuple[Socket, RecordedFrame]:
    at = milliseconds * MILLISECOND
    return socket(number), RecordedFrame(1, number, at, direction, opcode, size, "", FrameFlag(flags), None)


def test_messages_are_counted_by_socket_and_direction() -> None:
    one, two = statistics(
        [
            frame(1, 0),
            frame(2, 0, Direction.RECEIVED, 7),
            frame(1, 5, Direction.RECEIVED, 20),
            frame(1, 6, opcode=9),
            frame(1, 7, flags=FrameFlag.DROPPED.value),
            frame(1, 10),
        ]
    )
    assert (one.socket.id, one.sent.messages, one.sent.bytes) == (1, 2, 20)
    assert (one.received.messages, one.received.bytes, one.control_frames) == (1, 20, 1)
    assert (two.socket.id, two.sent.messages, two.received.bytes) == (2, 0, 7)


def test_rate_and_gaps_are_those_between_messages() -> None:
    (each,) = statistics([frame(1, at) for at in (0, 10, 20, 30, 130)])
    assert each.sent.rate == 4 / 0.130
    assert each.sent.gaps((0, 50, 99)) == [10.0, 10.0, 100.0]


def test_one_message_has_neither() -> None:
    (each,) = statistics([frame(1, 5)])
    assert (each.sent.rate, each.sent.gaps()) == (None, [])
    (each,) = statistics([frame(1, 5), frame(1, 5)])
    assert (each.sent.rate, each.sent.gaps((50,))) == (None, [0.0])
