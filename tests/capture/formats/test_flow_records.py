"""Records of a flow file that lie about their sizes, or that would take gigabytes."""

import pytest
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow

from wirewright.capture.formats import flow_records
from wirewright.capture.formats.flow_records import check_record


def netstring(data: bytes, kind: bytes = b"]") -> bytes:
    return b"%d:%s%s" % (len(data), data, kind)


def nested(depth: int) -> bytes:
    record = b"0:]"
    for _ in range(depth - 1):
        record = netstring(record)
    return record


@pytest.mark.parametrize(
    "record",
    [
        tnetstring.dumps(tflow.twebsocketflow().get_state()),
        b"0:,",
        b"0:]",
        netstring(b"0:]0:}3:abc,4:true!0:~"),
        nested(100),
    ],
    ids=["a flow", "no bytes", "no items", "items of all kinds", "nested"],
)
def test_good_record_passes(record: bytes) -> None:
    check_record(bytearray(record))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (netstring(b"-1:-1:-1:]]]"), "the size of a value is not a number"),
        (netstring(b"1_0:0123456789,"), "the size of a value is not a number"),
        (netstring(b" 1:a,"), "the size of a value is not a number"),
        (netstring(b":a,"), "the size of a value is not a number"),
        (netstring(b"0" * 50 + b"1:a,"), "the size of a value is not a number"),
        (netstring(b"abc"), "the size of a value is not a number"),
        (netstring(b"9:a,"), "a value does not end in its container"),
        (netstring(netstring(b"3:abc")), "a value does not end in its container"),
        (netstring(b"1" * 5_000, b"#"), "a number is too long"),
        (netstring(netstring(b"1" * 65, b"^")), "a number is too long"),
        (nested(101), "nested more than 100 deep"),
        (nested(20_000), "nested more than 100 deep"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_record_is_refused(record: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_record(bytearray(record))


def test_record_with_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_records, "MOST_VALUES", 1_000)
    check_record(bytearray(netstring(b"0:}" * 999)))
    with pytest.raises(ValueError, match="more than 1,000 values"):
        check_record(bytearray(netstring(b"0:}" * 1_000)))
