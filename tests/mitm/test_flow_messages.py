"""mitmproxy's list of a flow's messages is part of the memory that messages take."""

import pytest
from mitmproxy import http
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketData

from wirewright.memory import MemoryBudget, MemoryUse
from wirewright.mitm.flow_messages import MESSAGE_BYTES, MessageList
from wirewright.mitm.flow_socket import new_message
from wirewright.model.history import History, HistoryLimit
from wirewright.values import Direction

SIZE = 100_000
FEW = HistoryLimit(1_000, 100 * SIZE)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> MemoryBudget:
    budget = MemoryBudget(50 * SIZE)
    monkeypatch.setattr("wirewright.mitm.flow_messages.budget", budget)
    return budget


@pytest.fixture
def flow() -> http.HTTPFlow:
    flow = tflow.twebsocketflow()
    flow.websocket = WebSocketData()
    return flow


def contents(flow: http.HTTPFlow) -> list[bytes]:
    assert flow.websocket is not None
    return [message.content[:2] for message in flow.websocket.messages]


def test_oldest_messages_are_dropped_while_memory_is_short(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    kept = MessageList(flow, FEW, History(FEW))
    for number in range(80):
        kept.store(new_message(f"{number:02}" * (SIZE // 2), direction=Direction.SENT))
    left = contents(flow)
    assert left == [b"%02d" % number for number in range(80 - len(left), 80)]
    assert 30 <= len(left) <= 35
    assert budget.used <= budget.limit * 7 // 10
    del kept, flow.websocket.messages  # type: ignore[union-attr]
    assert budget.used == 0


def test_a_list_of_short_messages_drops_no_more_than_it_has_to(
    budget: MemoryBudget, flow: http.HTTPFlow
) -> None:
    messages = MessageList(flow, HistoryLimit(100_000, 100_000_000), History(HistoryLimit()))
    for _ in range(200):
        messages.store(new_message("x", direction=Direction.SENT))
    before = len(messages.current())
    messages.free(10 * MESSAGE_BYTES)
    assert before - 11 <= len(messages.current()) <= before - 9


def test_messages_that_are_added_from_the_history_count(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    history = History(FEW)
    kept = MessageList(flow, FEW, history)
    kept.current()
    history.extend(Direction.SENT, [bytes(SIZE)] * 10, 0.0)
    assert budget.used == 0
    assert len(contents(flow)) == 10
    assert budget.used >= 10 * SIZE


def test_newest_message_stays_however_short_memory_is(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    others = budget.share(MemoryUse.HELD)
    others.set(budget.limit)
    kept = MessageList(flow, FEW, History(FEW))
    for number in (1, 2):
        kept.store(new_message(bytes([number]) * SIZE, direction=Direction.SENT))
    assert contents(flow) == [b"\2\2"]


def test_flow_that_is_saved_keeps_all_messages(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    kept = MessageList(flow, FEW, History(FEW))
    kept.keep_all = True
    for number in range(80):
        kept.store(new_message(bytes([number]) * SIZE, direction=Direction.SENT))
    assert len(contents(flow)) == 80


def test_noted_messages_stand_among_those_of_the_history(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    history = History(FEW)
    kept = MessageList(flow, FEW, history)
    kept.current()
    history.extend(Direction.SENT, [b"a1", b"a2"], 1.0)
    kept.note(b"b1", direction=Direction.RECEIVED, injected=True)
    history.extend(Direction.SENT, [b"a3"], 1.0)
    kept.note("c1", direction=Direction.SENT, injected=True, is_reported=True)
    kept.note("c2", direction=Direction.SENT, injected=True, is_reported=True)
    history.extend(Direction.SENT, ["c1", "c2"], 1.0)
    history.extend(Direction.SENT, [b"a4"], 1.0)
    assert flow.websocket is not None
    assert [(each.content, each.injected) for each in flow.websocket.messages] == [
        (b"a1", False),
        (b"a2", False),
        (b"b1", True),
        (b"a3", False),
        (b"c1", True),
        (b"c2", True),
        (b"a4", False),
    ]


def test_noted_message_is_there_before_it_is_reported(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    history = History(FEW)
    kept = MessageList(flow, FEW, history)
    kept.current()
    kept.note(b"b1", direction=Direction.SENT, injected=True, is_reported=True)
    assert contents(flow) == [b"b1"]
    history.extend(Direction.SENT, [b"b1"], 1.0)
    history.extend(Direction.SENT, [b"a1"], 1.0)
    assert contents(flow) == [b"b1", b"a1"]


def test_noted_messages_are_bounded(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    kept = MessageList(flow, HistoryLimit(3, 10), History(FEW))
    kept.current()
    for number in range(10):
        kept.note(f"{number:02}", direction=Direction.SENT, injected=True)
    assert contents(flow) == [b"07", b"08", b"09"]
    for number in range(10):
        kept.note(f"{number:02}xx", direction=Direction.SENT, injected=True)
    assert contents(flow) == [b"09", b"08", b"09"]  # 2, 4 and 4 bytes


def test_noted_messages_take_memory(budget: MemoryBudget, flow: http.HTTPFlow) -> None:
    kept = MessageList(flow, FEW, History(FEW))
    kept.current()
    for _ in range(10):
        kept.note(bytes(SIZE), direction=Direction.SENT, injected=True)
    assert budget.used >= 10 * SIZE
    for _ in range(70):
        kept.note(bytes(SIZE), direction=Direction.SENT, injected=True)
    assert budget.used <= budget.limit
