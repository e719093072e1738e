import pytest

from support.model_sockets import open_socket, receive
from wirewright.model.frame import Frame
from wirewright.model.frame_list import FrameList
from wirewright.model.history import HistoryLimit
from wirewright.values import Direction, Payload


def payloads(frames: FrameList) -> list[Payload]:
    return [frame.payload for frame in frames]


def test_socket_has_the_frames_of_both_directions_in_the_order_of_the_wire() -> None:
    feed = open_socket()
    ws = feed.socket
    assert (len(ws.frames), ws.frames.last, ws.frames.forgotten) == (0, None, 0)
    feed.frames("framesent", ["a", b"\xff"], 5.0)
    feed.frames("framereceived", ["é"], 6.0)
    assert list(ws.frames) == [
        Frame(1, Direction.SENT, "a", 5.0),
        Frame(2, Direction.SENT, b"\xff", 5.0),
        Frame(3, Direction.RECEIVED, "é", 6.0),
    ]
    assert [frame.size for frame in ws.frames] == [1, 1, 2]
    assert payloads(ws.frames.sent) == ["a", b"\xff"]
    assert payloads(ws.frames.received) == ["é"]
    assert ws.frames.last == ws.frames[2] == ws.frames[-1]
    assert payloads(ws.frames[1:]) == [b"\xff", "é"]
    assert ws.frames.last.direction == "received"


def test_frames_do_not_change_when_more_come() -> None:
    feed = open_socket()
    receive(feed, "a")
    before = feed.socket.frames
    receive(feed, "b")
    assert (payloads(before), payloads(feed.socket.frames)) == (["a"], ["a", "b"])
    assert before == feed.socket.frames[:1] != feed.socket.frames


def test_forgotten_frames_are_counted() -> None:
    feed = open_socket(limit=HistoryLimit(2, 100))
    receive(feed, *"abcde")
    frames = feed.socket.frames
    assert ([frame.number for frame in frames], frames.forgotten) == ([4, 5], 3)
    assert (frames.sent.forgotten, frames[1:].forgotten) == (3, 3)
    assert repr(frames) == "<FrameList 0 sent, 2 received, 3 forgotten>"


def test_frames_are_selected_and_counted() -> None:
    feed = open_socket()
    receive(feed, '{"type": "hb"}', "hello", '{"type": "filled"}', '{"type": "hb"}')
    feed.frames("framesent", ['{"type": "hb"}'])
    frames = feed.socket.frames
    assert frames.count(json={"type": "hb"}) == 3
    assert frames.count(json={"type": "hb"}, direction="sent") == 1
    assert frames.received.count("hb") == 2
    assert frames.count() == 5
    assert payloads(frames.matching(lambda frame: frame.number % 2)) == [
        *('{"type": "hb"}', '{"type": "filled"}', '{"type": "hb"}')
    ]
    assert frames.matching(json={"type": "filled"})[0].json() == {"type": "filled"}


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (Frame(7, Direction.SENT, "hello", 0.0), "<Frame 7 sent 'hello'>"),
        (Frame(8, Direction.RECEIVED, b"\x00\xff", 0.0), r"<Frame 8 received b'\x00\xff'>"),
        (Frame(9, Direction.RECEIVED, "x" * 61, 0.0), f"<Frame 9 received '{'x' * 60}'…>"),
        (Frame(9, Direction.RECEIVED, "\x1b[2J\u202e", 0.0), r"<Frame 9 received '\x1b[2J\u202e'>"),
    ],
)
def test_repr_shows_the_beginning(frame: Frame, shown: str) -> None:
    assert repr(frame) == shown


@pytest.mark.parametrize("payload", ["hello", b"\xff", ""])
def test_json_of_other_payloads_is_an_error(payload: Payload) -> None:
    with pytest.raises(ValueError, match=r"Expecting value|can't decode"):
        Frame(1, Direction.SENT, payload, 0.0).json()
