import json
from pathlib import Path

from capture.conftest import Record
from support.model_sockets import begin_socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats import json_lines
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


def test_each_socket_comes_before_its_frames(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    for name in ("one", "two"):
        tape = begin_socket(control.proxy, f"ws://h/{name}", key=name).tape
        assert tape is not None
        tape.messages([f"text é {name}\n"], 9, direction=Direction.SENT)
        tape.offered("a", direction=Direction.RECEIVED)
        tape.settled(b"\x00\xff", direction=Direction.RECEIVED)
        control.close(name, 3000, "bye", "client")
    recorder.stop()
    with open_capture(path) as capture:
        lines = list(json_lines.lines(capture, Filter()))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    events = [json.loads(line) for line in lines]
    assert [(event["event"], event["socket"]) for event in events] == [
        ("socket", 1),
        ("frame", 1),
        ("frame", 1),
        ("socket", 2),
        ("frame", 2),
        ("frame", 2),
    ]
    assert (events[0]["url"], events[0]["close_code"], events[0]["closed_by"]) == (
        "ws://h/one",
        3000,
        "client",
    )
    text, binary = events[1], events[2]
    assert (text["direction"], text["opcode"], text["text"], text["size"]) == ("sent", 1, "text é one\n", 12)
    assert "flags" not in text
    assert (binary["base64"], binary["original_text"], binary["flags"]) == ("AP8=", "a", ["changed"])
