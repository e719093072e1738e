"""The wire's layer where others may change what passes, and where an addon answered in the server's stead."""

import os
from collections.abc import Callable

import pytest
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import SendData

from support.frames import KEY, Peer
from support.layer_conversation import done
from support.wire_layer import Leg, Wire, undecided
from wirewright.mitm.layers.events import OrderInjected
from wirewright.values import Direction, Payload
from wirewright.wire.frames import Opcode
from wirewright.wire.observer import Decision, Order
from wirewright.wire.stream import Close, Ours

COMPRESSED = "permessage-deflate"
PING = b"?"
RSV1 = 0x40
"""In a frame's first byte: its message is compressed (RFC 7692, 6)."""


def changed_to(payload: Payload | None) -> Callable[[Payload], Decision]:
    """Whoever decides makes this of each message; None drops it."""
    return lambda _: payload


def both(wire: Wire) -> tuple[Leg, Leg]:
    return Leg(wire, Direction.SENT), Leg(wire, Direction.RECEIVED)


# HOLD: decided at once


@pytest.mark.parametrize("payload", ["text é", b"\x00\xff", "", b""])
def test_held_message_is_offered_and_sent_on(leg: Leg, wire: Wire, payload: str | bytes) -> None:
    frame = leg.peer.text(payload) if isinstance(payload, str) else leg.peer.binary(payload)
    assert wire.started(holding=True) >> leg.says(frame) << leg.gets(frame)
    assert wire.observer.offered == leg.offers(payload)
    assert wire.observer.told == []


def test_held_messages_that_come_in_one_piece_go_in_one(leg: Leg, wire: Wire) -> None:
    one, two = leg.peer.text("one"), leg.peer.text("two")
    assert wire.started(holding=True) >> leg.says(one + two) << leg.gets(one + two)
    assert wire.observer.offered == leg.offers("one", "two")


def test_held_message_is_sent_as_it_was_changed(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = changed_to("another")
    assert wire.started(holding=True) >> leg.says(leg.peer.text("one")) << leg.gets(leg.peer.text("another"))


def test_held_message_that_is_dropped_is_not_sent(leg: Leg, wire: Wire) -> None:
    two = leg.peer.text("two")
    wire.observer.decide = lambda payload: None if payload == "one" else payload
    assert wire.started(holding=True) >> leg.says(leg.peer.text("one") + two) << leg.gets(two)


def test_fragments_are_joined_and_pings_between_them_go_ahead(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"o", b"ne")
    ping = leg.peer.frame(Opcode.PING, PING)
    talk = wire.started(holding=True) >> leg.says(first) >> leg.says(ping) << leg.gets(ping)
    assert talk >> leg.says(second) << leg.gets(leg.peer.text("one"))


def test_control_frames_keep_their_place_between_messages(leg: Leg, wire: Wire) -> None:
    one, ping, two = leg.peer.text("one"), leg.peer.frame(Opcode.PING, PING), leg.peer.text("two")
    talk = wire.started(holding=True) >> leg.says(one + ping + two)
    for frame in (one, ping, two):
        talk = talk << leg.gets(frame)
    assert talk


def test_pings_and_messages_that_come_in_one_piece_go_in_one_write(leg: Leg, wire: Wire) -> None:
    ping, pong = leg.peer.frame(Opcode.PING, PING), leg.peer.frame(Opcode.PONG)
    frames = (ping + leg.peer.text("one") + pong + ping) * 100
    _, (command,) = (wire.started(holding=True) >> leg.says(frames)).take()
    assert isinstance(command, SendData)
    assert command.data == frames
    assert wire.observer.offered == leg.offers("one") * 100
    assert len(wire.observer.reported) == 300


def test_pings_go_in_one_write_past_a_message_that_is_undecided(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    ping, one = leg.peer.frame(Opcode.PING, PING), leg.peer.text("one")
    talk = wire.started(holding=True) >> leg.says(one)
    talk, (command,) = (talk >> leg.says(ping * 50 + one + ping * 50)).take()
    assert isinstance(command, SendData)
    assert command.data == ping * 100


def test_long_changed_message_goes_in_one_frame(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = changed_to("x" * 10_000)
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one"))
    assert talk << leg.gets(leg.peer.text("x" * 10_000))


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
def test_held_message_goes_on_compressed_if_it_came_so(
    leg: Leg, wire: Wire, takeover: bool, late: bool
) -> None:
    ends = "" if takeover else "; client_no_context_takeover; server_no_context_takeover"
    talk = wire.started(COMPRESSED + ends, holding=True)
    reader = leg.peer.reader()
    long, noise = b"long" * 300, os.urandom(2000)
    said = [(long, noise), (b"", b""), (b"short", noise), (b"short", b"short"), (long, b"")]
    for payload, meant in said:
        for frame, is_compressed in ((leg.peer.compressed(payload), True), (leg.peer.binary(payload), False)):
            wire.observer.decide = undecided if late else changed_to(meant)
            talk = talk >> leg.says(frame)
            talk, (command,) = (talk >> leg.decided(meant) if late else talk).take()
            assert wire.observer.offered[-1:] == leg.offers(payload)
            assert isinstance(command, SendData)
            assert bool(command.data[0] & RSV1) is is_compressed
            assert reader.feed(command.data) == [meant]


def test_compressed_fragments_are_held_whole_and_go_on_compressed(leg: Leg, wire: Wire) -> None:
    talk = wire.started(COMPRESSED, holding=True)
    deflated = leg.peer.deflate(b"in two parts")
    first, last = leg.peer.fragments(Opcode.TEXT, deflated[:4], deflated[4:], rsv1=True)
    talk, (command,) = (talk >> leg.says(first) >> leg.says(last)).take()
    assert isinstance(command, SendData)
    assert command.data[0] == 0x80 | RSV1 | Opcode.TEXT
    assert leg.peer.reader().feed(command.data) == ["in two parts"]


@pytest.mark.parametrize("holding", [True, False])
def test_message_of_ours_is_compressed_if_the_window_is_ours(leg: Leg, wire: Wire, holding: bool) -> None:
    talk = wire.started(COMPRESSED, holding=holding)
    order = OrderInjected(wire.flow, Order(leg.direction, "short"))
    for event in (leg.inject("short"), order):
        talk, (command,) = (talk >> event).take()
        assert isinstance(command, SendData)
        assert bool(command.data[0] & RSV1) is holding
        assert leg.peer.reader().feed(command.data) == ["short"]


def test_what_a_route_sends_while_it_has_a_message_is_compressed(leg: Leg, wire: Wire) -> None:
    def answer(_: Payload) -> Decision:
        wire.observer.orders.append(Order(leg.direction, "instead"))
        return None

    wire.observer.decide = answer
    talk = wire.started(COMPRESSED, holding=True)
    for frame in (leg.peer.text("plain"), leg.peer.compressed("compressed")):
        talk, (command,) = (talk >> leg.says(frame)).take()
        assert isinstance(command, SendData)
        assert command.data[0] & RSV1
        assert leg.peer.reader().feed(command.data) == ["instead"]


@pytest.mark.parametrize("payload", ["ours", b"\xff"])
def test_message_of_ours_is_offered_as_injected(leg: Leg, wire: Wire, payload: str | bytes) -> None:
    theirs = leg.peer.text("theirs")
    talk = wire.started(holding=True) >> leg.says(theirs) << leg.gets(theirs)
    frame = leg.peer.text(payload) if isinstance(payload, str) else leg.peer.binary(payload)
    assert talk >> leg.inject(payload) << leg.gets(frame)
    assert wire.observer.offered == [*leg.offers("theirs"), *leg.offers(payload, injected=True)]
    wire.observer.decide = changed_to(None)
    assert talk >> leg.inject("gone")
    assert wire.observer.told == []


# HOLD: decided later


def test_undecided_message_holds_up_its_own_direction_only(leg: Leg, wire: Wire) -> None:
    one, two, back = leg.peer.text("one"), leg.peer.text("two"), leg.back.peer.text("back")
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one) >> leg.says(two)
    wire.observer.decide = changed_to("back")
    assert talk >> leg.back.says(back) << leg.back.gets(back)
    assert wire.observer.offered == [*leg.offers("one"), *leg.back.offers("back")]
    wire.observer.decide = changed_to("two")
    assert talk >> leg.decided("one, later") << leg.gets(leg.peer.text("one, later")) << leg.gets(two)


def test_undecided_message_may_be_dropped(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one")) >> leg.decided(None)
    assert talk >> leg.says(leg.peer.text("two")) >> leg.decided("two") << leg.gets(leg.peer.text("two"))


def test_pings_and_pongs_go_ahead_of_what_is_undecided_and_close_frames_do_not(leg: Leg, wire: Wire) -> None:
    ping, pong = leg.peer.frame(Opcode.PING, PING), leg.peer.frame(Opcode.PONG, PING)
    one, two, close = leg.peer.text("one"), leg.peer.text("two"), leg.close_frame()
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one + two + ping) << leg.gets(ping)
    talk = talk >> leg.says(pong + close) << leg.gets(pong) >> leg.decided("one") << leg.gets(one)
    assert talk >> leg.decided("two") << leg.gets(two) << leg.gets(close)


def test_what_we_say_waits_for_what_is_undecided_and_is_sent_in_the_order_of_the_calls(
    leg: Leg, wire: Wire
) -> None:
    one, ours = leg.peer.text("one"), leg.peer.text("ours")
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one) >> leg.inject("ours")
    talk = talk >> wire.close() << wire.timer << leg.back.gets(leg.back.close_frame(3000, "bye"))
    wire.observer.decide = changed_to("ours")
    talk = talk >> leg.decided("one") << leg.gets(one) << leg.gets(ours)
    assert talk << leg.gets(leg.close_frame(3000, "bye"))


def test_nothing_of_ours_follows_a_close_frame_that_waited_before_it(leg: Leg, wire: Wire) -> None:
    one, close = leg.peer.text("one"), leg.close_frame(3001)
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one + close)
    talk = talk >> wire.close() << wire.timer << leg.back.gets(leg.back.close_frame(3000, "bye"))
    talk = talk >> leg.decided("one") << leg.gets(one) << leg.gets(close)
    assert talk >> leg.back.says(leg.back.close_frame()) << wire.drop_server << wire.drop_app << wire.end


def test_close_from_outside_ends_a_socket_of_which_both_directions_are_undecided(wire: Wire) -> None:
    wire.observer.decide = undecided
    talk = wire.started(holding=True)
    for leg in both(wire):
        talk = talk >> leg.says(leg.peer.text("one"))
    talk = talk >> wire.close() << wire.timer >> wire.time_is_up
    for leg in both(wire):
        talk = talk << leg.gets(leg.close_frame(3000, "bye"))
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done


def test_connection_lost_on_one_side_waits_for_what_is_undecided(leg: Leg, wire: Wire) -> None:
    one = leg.peer.text("one")
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one) >> events.ConnectionClosed(leg.source)
    talk = talk >> leg.decided("one") << leg.gets(one) << wire.drop_server << wire.drop_app << wire.end
    assert talk >> done
    assert wire.ended == (1006, None, leg.client)


@pytest.mark.parametrize("is_decided", [True, False])
def test_connection_lost_after_a_close_frame_that_is_held_ends_the_socket_with_that(
    leg: Leg, wire: Wire, is_decided: bool
) -> None:
    one, close = leg.peer.text("one"), leg.close_frame(3001, "bye")
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one + close) >> events.ConnectionClosed(leg.source)
    if is_decided:
        talk = talk >> leg.decided("one") << leg.gets(one) << leg.gets(close)
    else:
        talk = talk >> events.ConnectionClosed(leg.back.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (3001, "bye", leg.client)


def test_connection_lost_after_a_broken_close_frame_that_is_held_is_lost(leg: Leg, wire: Wire) -> None:
    one, close = leg.peer.text("one"), leg.peer.frame(Opcode.CLOSE, b"x")
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one + close) >> events.ConnectionClosed(leg.source)
    talk = talk >> events.ConnectionClosed(leg.back.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (1006, None, leg.client)


def test_connection_lost_on_both_sides_waits_for_nothing(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one"))
    talk = talk >> events.ConnectionClosed(leg.source) >> events.ConnectionClosed(leg.back.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done >> leg.decided("late")
    assert wire.ended == (1006, None, leg.client)


def test_destination_lost_ends_the_socket_whatever_is_undecided(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one"))
    talk = talk >> events.ConnectionClosed(leg.back.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done >> leg.decided("late")
    assert wire.ended == (1006, None, leg.back.client)


# Changes between PASS and HOLD


def test_hold_begins_and_ends_while_the_socket_is_open(leg: Leg, wire: Wire) -> None:
    one, two, three = leg.peer.text("one"), leg.peer.text("two"), leg.peer.text("three")
    talk = wire.started() >> leg.says(one) << leg.gets(one)
    wire.observer.holding = True
    talk = talk >> leg.says(two[:2]) >> leg.says(two[2:]) << leg.gets(two)
    wire.observer.holding = False
    assert talk >> leg.says(three) << leg.gets(three)
    assert wire.observer.offered == leg.offers("two")
    assert wire.observer.told == leg.told("one", "three")


def test_hold_begins_after_the_message_that_is_under_way(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"o", b"ne")
    two = leg.peer.text("two")
    talk = wire.started() >> leg.says(first) << leg.gets(first)
    wire.observer.holding = True
    talk = talk >> leg.says(second + two[:3]) << leg.gets(second)
    assert talk >> leg.says(two[3:]) << leg.gets(two)
    assert wire.observer.offered == leg.offers("two")
    assert wire.observer.told == leg.told("one")


def test_message_of_ours_that_waited_is_offered_if_hold_has_begun(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"o", b"ne")
    talk = wire.started() >> leg.says(first) << leg.gets(first) >> leg.inject("ours")
    wire.observer.holding = True
    wire.observer.decide = changed_to("another")
    talk = talk >> leg.says(second) << leg.gets(second) << leg.gets(leg.peer.text("another"))
    assert talk
    assert wire.observer.offered == leg.offers("ours", injected=True)
    assert wire.observer.told == leg.told("one")


def test_hold_stays_while_something_is_undecided(leg: Leg, wire: Wire) -> None:
    one, two, three = leg.peer.text("one"), leg.peer.text("two"), leg.peer.text("three")
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one)
    wire.observer.holding = False
    wire.observer.decide = changed_to("two")
    talk = talk >> leg.says(two) >> leg.decided("one") << leg.gets(one) << leg.gets(two)
    assert talk >> leg.says(three) << leg.gets(three)
    assert wire.observer.told == leg.told("three")


def test_hold_stays_where_messages_share_a_window(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = lambda payload: None if payload == "one" else payload
    talk = wire.started(COMPRESSED, holding=True) >> leg.says(leg.peer.compressed("one"))
    wire.observer.holding = False
    talk, (command,) = (talk >> leg.says(leg.peer.compressed("one and two"))).take()
    assert isinstance(command, SendData)
    assert leg.peer.reader().feed(command.data) == ["one and two"]


# Failing in HOLD


VIOLATIONS = [
    (3, b"x", 1002, "Unrecognized frame opcode: 3"),
    (Opcode.CONTINUATION, b"x", 1002, "Received unexpected continuation frame."),
    (Opcode.PING, b"x" * 126, 1002, "Invalid frame header"),
    (Opcode.TEXT, b"\xff", 1007, "Could not decode a text frame as UTF-8."),
    (Opcode.CLOSE, b"x", 1002, "Received a broken close frame with an invalid size of 1 byte."),
    (Opcode.CLOSE, b"\x03\xee", 1002, "Received a broken close frame containing a reserved status code."),
    (Opcode.CLOSE, b"\x03\xe8\xff", 1007, "Received a broken close frame containing invalid UTF-8."),
]


@pytest.mark.parametrize(("opcode", "payload", "code", "text"), VIOLATIONS)
def test_violation_is_sent_on_for_the_destination_to_fail_the_socket(
    leg: Leg, wire: Wire, opcode: int, payload: bytes, code: int, text: str
) -> None:
    one, bad = leg.peer.text("one"), leg.peer.frame(opcode, payload)
    back = leg.back.peer.text("back")
    talk = wire.started(holding=True) >> leg.says(one + bad + leg.peer.text("late"))
    talk = talk << leg.gets(one) << leg.gets(bad) << wire.timer
    assert wire.observer.told == [("failed", text)]
    talk = talk >> leg.says(leg.peer.text("later")) >> leg.back.says(back) << leg.back.gets(back)
    talk = talk >> leg.back.says(leg.back.close_frame(code)) << leg.back.gets(leg.back.close_frame(code))
    assert talk << wire.end >> done
    assert wire.ended == (code, "", leg.back.client)
    assert (
        talk >> leg.says(b"still") >> events.ConnectionClosed(leg.source) << wire.drop_server << wire.drop_app
    )
    assert wire.observer.offered == [*leg.offers("one"), *leg.back.offers("back")]


@pytest.mark.parametrize(("opcode", "payload", "code", "text"), VIOLATIONS)
def test_destination_that_takes_a_violation_is_cut(
    leg: Leg, wire: Wire, opcode: int, payload: bytes, code: int, text: str
) -> None:
    bad = leg.peer.frame(opcode, payload)
    talk = wire.started(holding=True) >> leg.says(bad) << leg.gets(bad) << wire.timer >> wire.time_is_up
    talk = talk << leg.back.gets(leg.back.close_frame(code))
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (code, text, None)


def test_destination_that_hangs_up_on_a_violation_has_ended_the_socket(leg: Leg, wire: Wire) -> None:
    bad = leg.peer.frame(3)
    talk = wire.started(holding=True) >> leg.says(bad) << leg.gets(bad) << wire.timer
    talk = talk >> events.ConnectionClosed(leg.back.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (1006, None, leg.back.client)


def test_violation_within_a_message_is_sent_on_within_it(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"ha", b"lf")
    bad = leg.peer.text("no continuation")
    talk = wire.started(holding=True) >> leg.says(first) >> leg.says(bad)
    talk, (sent, _) = talk.take()
    assert isinstance(sent, SendData)
    reader = leg.peer.reader()
    assert reader.feed(sent.data) == []
    assert reader.failure is not None
    assert reader.failure.message == "Received start of new message but previous message is unfinished."
    assert talk >> leg.says(second)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize(
    ("deflated", "text"),
    [
        (lambda peer: b"\xff" * 5, "Invalid frame header"),
        (lambda peer: peer.deflate(b"one one \xff"), "Could not decode a text frame as UTF-8."),
    ],
    ids=["not deflated", "not UTF-8"],
)
def test_violation_of_a_compressed_message_is_one_for_the_destination_too(
    leg: Leg, wire: Wire, takeover: bool, deflated: Callable[[Peer], bytes], text: str
) -> None:
    """Its window has other messages than the source's."""
    ends = "" if takeover else "; client_no_context_takeover; server_no_context_takeover"
    wire.observer.decide = changed_to("another")
    talk = wire.started(COMPRESSED + ends, holding=True) >> leg.says(leg.peer.compressed("one one"))
    talk, (another,) = talk.take()
    payload = deflated(leg.peer)
    bad = leg.peer.fragments(Opcode.TEXT, payload[:2], payload[2:], rsv1=True)
    talk, (violation, _) = (talk >> leg.says(b"".join(bad))).take()
    reader = leg.peer.reader()
    assert isinstance(another, SendData)
    assert isinstance(violation, SendData)
    assert reader.feed(another.data) == ["another"]
    assert reader.feed(violation.data) == []
    assert reader.failure is not None
    assert reader.failure.message == text
    assert talk


@pytest.mark.parametrize("size", [3, 200, 100_000])
def test_frame_that_breaks_the_protocol_is_sent_on_to_its_end(leg: Leg, wire: Wire, size: int) -> None:
    bad = leg.peer.frame(3, bytes(size))
    talk = wire.started(holding=True) >> leg.says(bad[:1]) >> leg.says(bad[1:2]) << leg.gets(bad[:2])
    talk = talk << wire.timer
    for position in range(2, 20):
        talk = talk >> leg.says(bad[position : position + 1])
        if position < len(bad):
            talk = talk << leg.gets(bad[position : position + 1])
    rest = bad[20:]
    talk = talk >> leg.says(rest + leg.peer.text("late"))
    assert talk << leg.gets(rest) if rest else talk
    assert talk >> leg.says(leg.peer.text("later"))


def test_violation_waits_for_what_is_undecided(leg: Leg, wire: Wire) -> None:
    one, bad = leg.peer.text("one"), leg.peer.frame(3)
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(one + bad) >> leg.says(leg.peer.text("late"))
    assert wire.observer.told == []
    assert talk >> leg.decided("one") << leg.gets(one) << leg.gets(bad) << wire.timer
    assert wire.observer.told == [("failed", "Unrecognized frame opcode: 3")]


@pytest.mark.parametrize("sent", ["ours", Close(3000)])
def test_nothing_of_ours_follows_a_violation(leg: Leg, wire: Wire, sent: Ours) -> None:
    bad = leg.peer.frame(3)
    talk = wire.started(holding=True) >> leg.says(bad) << leg.gets(bad) << wire.timer
    assert talk >> OrderInjected(wire.flow, Order(leg.direction, sent))


def test_violation_of_a_server_whose_end_is_handled_leaves_the_app_to_the_route(wire: Wire) -> None:
    app, server = both(wire)
    wire.observer.keeps = True
    bad = server.peer.frame(3, b"a frame in two parts")
    talk = wire.started(holding=True) >> server.says(bad[:5])
    assert talk << server.back.gets(server.back.close_frame(1002)) << wire.drop_server
    assert wire.observer.told == [("failed", "Unrecognized frame opcode: 3"), ("closed", 1006, "")]
    still = OrderInjected(wire.flow, Order(Direction.RECEIVED, "still here"))
    assert talk >> server.says(bad[5:]) >> still << server.gets(server.peer.text("still here"))
    assert talk >> app.says(app.peer.text("hello"))


def test_message_that_is_too_large_closes_both_sides_with_the_reason(leg: Leg, wire: Wire) -> None:
    """The destination first. Messages that it sends until it closes arrive."""
    wire.observer.max_message = 1000
    reason = "message of more than 1000 bytes (ws_max_message)"
    one, back = leg.peer.text("one"), leg.back.peer.text("back")
    talk = wire.started(holding=True) >> leg.says(one + leg.peer.binary(bytes(1001))) << leg.gets(one)
    talk = talk << wire.timer << leg.gets(leg.close_frame(1009, reason))
    assert wire.observer.told == [("failed", "Message too large")]
    talk = talk >> leg.says(leg.peer.text("late")) >> leg.back.says(back) << leg.back.gets(back)
    talk = talk >> leg.back.says(leg.back.close_frame(1000))
    talk = talk << leg.back.gets(leg.back.close_frame(1009, reason))
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (1009, reason, None)
    assert talk >> leg.says(leg.peer.text("late")) >> leg.back.says(leg.back.peer.text("late"))


def test_side_that_does_not_answer_the_close_of_a_large_message_is_not_waited_for(
    leg: Leg, wire: Wire
) -> None:
    wire.observer.max_message = 1000
    reason = "message of more than 1000 bytes (ws_max_message)"
    talk = wire.started(holding=True) >> leg.says(leg.peer.binary(bytes(1001)))
    talk = talk << wire.timer << leg.gets(leg.close_frame(1009, reason)) >> wire.time_is_up
    talk = talk << leg.back.gets(leg.back.close_frame(1009, reason))
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (1009, reason, None)


@pytest.mark.parametrize("size", [1001, 1 << 16, (1 << 63) - 1])
@pytest.mark.parametrize("fragmented", [False, True])
def test_message_that_is_too_large_is_refused_at_its_header(
    leg: Leg, wire: Wire, size: int, fragmented: bool
) -> None:
    wire.observer.max_message = 1000
    opcode, first = Opcode.BINARY, b""
    if fragmented:
        opcode, first = Opcode.CONTINUATION, leg.peer.frame(Opcode.BINARY, bytes(1000), fin=False)
    length = b"\xfe" + size.to_bytes(2) if size < 1 << 16 else b"\xff" + size.to_bytes(8)
    header = (
        bytes([0x80 | opcode, length[0] if leg.client else length[0] & 0x7F])
        + length[1:]
        + KEY[: 4 * leg.client]
    )
    talk = wire.started(holding=True) >> leg.says(first) >> leg.says(header)
    reason = "message of more than 1000 bytes (ws_max_message)"
    talk = talk << wire.timer << leg.gets(leg.close_frame(1009, reason)) >> leg.says(bytes(500))
    assert wire.observer.told == [("failed", "Message too large")]
    talk = talk >> wire.time_is_up << leg.back.gets(leg.back.close_frame(1009, reason))
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done


def test_compressed_message_is_refused_once_it_is_too_large(leg: Leg, wire: Wire) -> None:
    wire.observer.max_message = 1000
    talk = wire.started(COMPRESSED, holding=True)
    deflated = leg.peer.deflate(os.urandom(3000))
    first, _ = leg.peer.fragments(Opcode.BINARY, deflated[:2000], deflated[2000:], rsv1=True)
    reason = "message of more than 1000 bytes (ws_max_message)"
    assert talk >> leg.says(first) << wire.timer << leg.gets(leg.close_frame(1009, reason))


def test_message_as_large_as_is_allowed_is_held(leg: Leg, wire: Wire) -> None:
    wire.observer.max_message, frame = 1000, leg.peer.binary(bytes(1000))
    assert wire.started(holding=True) >> leg.says(frame) << leg.gets(frame)


def test_violation_after_the_other_ends_close_frame_ends_the_socket(leg: Leg, wire: Wire) -> None:
    close, bad = leg.close_frame(), leg.back.peer.frame(3)
    talk = wire.started(holding=True) >> leg.says(close) << leg.gets(close)
    talk = talk >> leg.back.says(bad) << leg.back.gets(bad) << wire.timer << wire.end >> done
    assert wire.ended == (1000, "", leg.client)
    assert talk >> wire.time_is_up << wire.drop_server << wire.drop_app


def test_message_after_a_close_frame_is_sent_on_for_the_destination_to_judge(leg: Leg, wire: Wire) -> None:
    close, late = leg.close_frame(3000), leg.peer.text("late")
    talk = wire.started(holding=True) >> leg.says(close + late[:3]) << leg.gets(close) << leg.gets(late[:3])
    assert talk << wire.timer >> leg.says(late[3:]) << leg.gets(late[3:])
    assert wire.observer.told == [("failed", "Data frame received after close")]


def test_violations_of_both_ends_end_the_socket_with_the_first(leg: Leg, wire: Wire) -> None:
    bad, worse = leg.peer.frame(3), leg.back.peer.frame(4)
    talk = wire.started(holding=True) >> leg.says(bad) << leg.gets(bad) << wire.timer
    talk = talk >> leg.back.says(worse) << leg.back.gets(worse) << wire.timer << wire.end >> done
    assert wire.ended == (1002, "Unrecognized frame opcode: 3", None)
    assert talk >> wire.time_is_up << wire.drop_server << wire.drop_app


def test_violation_of_an_end_that_a_route_answered_ends_the_socket(leg: Leg, wire: Wire) -> None:
    close, answer = leg.close_frame(3000), leg.back.close_frame(3001)
    talk = wire.started(holding=True) >> leg.says(close) << leg.gets(close)
    talk = (
        talk >> OrderInjected(wire.flow, Order(leg.direction.opposite, Close(3001))) << leg.back.gets(answer)
    )
    talk = talk >> leg.back.says(leg.back.peer.frame(3)) << wire.drop_server << wire.drop_app << wire.end
    assert talk >> done
    assert wire.ended == (3000, "", leg.client)


# Mocked sockets: the answer to the handshake was an addon's


@pytest.fixture(params=[True, False], ids=["hold", "pass"])
def holding(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_mocked_socket_offers_what_the_app_says(wire: Wire, holding: bool) -> None:
    app = Leg(wire, Direction.SENT)
    assert wire.started(mocked=True, holding=holding) >> app.says(app.peer.text("hello"))
    assert wire.observer.offered == app.offers("hello")


def test_mocked_socket_speaks(wire: Wire) -> None:
    server = Leg(wire, Direction.RECEIVED)
    assert wire.started(mocked=True) >> server.inject("hello") << wire.to_app(server.peer.text("hello"))
    assert wire.observer.told == server.told_ours("hello")


def test_mocked_socket_has_no_server_to_speak_to(wire: Wire, holding: bool) -> None:
    assert wire.started(mocked=True, holding=holding) >> Leg(wire, Direction.SENT).inject("hello")


def test_mocked_socket_answers_pings(wire: Wire, holding: bool) -> None:
    app, server = both(wire)
    pong = wire.to_app(server.peer.frame(Opcode.PONG, PING))
    talk = wire.started(mocked=True, holding=holding) >> app.says(app.peer.frame(Opcode.PING, PING)) << pong
    assert talk >> app.says(app.peer.frame(Opcode.PONG, PING))


@pytest.mark.parametrize(("payload", "code", "reason"), [(b"\x0b\xb8bye", 3000, "bye"), (b"", 1005, "")])
def test_mocked_socket_answers_the_apps_close(
    wire: Wire, holding: bool, payload: bytes, code: int, reason: str
) -> None:
    app, server = both(wire)
    assert (
        wire.started(mocked=True, holding=holding)
        >> app.says(app.peer.frame(Opcode.CLOSE, payload))
        << wire.to_app(server.peer.frame(Opcode.CLOSE, payload))
        << wire.drop_app
        << wire.end
        >> done
        >> events.ConnectionClosed(wire.client)
    )
    assert wire.ended == (code, reason, True)


def test_mocked_socket_ends_with_its_apps_connection(wire: Wire, holding: bool) -> None:
    talk = wire.started(mocked=True, holding=holding) >> events.ConnectionClosed(wire.client)
    assert talk << wire.drop_app << wire.end >> done
    assert wire.ended == (1006, None, True)


def test_mocked_socket_is_closed_from_outside(wire: Wire, holding: bool) -> None:
    app, server = both(wire)
    talk = wire.started(mocked=True, holding=holding) >> wire.close()
    talk = talk << wire.timer << wire.to_app(server.close_frame(3000, "bye"))
    talk = talk >> app.says(app.close_frame(3000)) << wire.drop_app << wire.end
    assert talk >> done
    assert wire.ended == (3000, "bye", None)


def test_mocked_socket_answers_no_ping_after_a_close_of_ours(wire: Wire, holding: bool) -> None:
    app, server = both(wire)
    talk = wire.started(mocked=True, holding=holding) >> wire.close() << wire.timer
    talk = talk << wire.to_app(server.close_frame(3000, "bye"))
    assert talk >> app.says(app.peer.frame(Opcode.PING, PING))


def test_mocked_socket_fails_on_what_cannot_be_read(wire: Wire, holding: bool) -> None:
    app, server = both(wire)
    talk = wire.started(mocked=True, holding=holding) >> app.says(app.peer.frame(3))
    assert talk << wire.to_app(server.close_frame(1002)) << wire.drop_app << wire.end >> done
    assert wire.ended == (1002, "Unrecognized frame opcode: 3", None)
    assert wire.observer.told == [("failed", "Unrecognized frame opcode: 3")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1015, 1016, 2000, 2999, 5000, 65535])
def test_mocked_socket_answers_an_invalid_close_code_with_1002(wire: Wire, holding: bool, code: int) -> None:
    app, server = both(wire)
    talk = wire.started(mocked=True, holding=holding) >> app.says(app.close_frame(code, "bye"))
    assert talk << wire.to_app(server.close_frame(1002)) << wire.drop_app << wire.end >> done
    assert wire.ended[0] == 1002


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1011, 1014, 3000, 4999])
def test_mocked_socket_answers_a_valid_close_code_with_the_same(wire: Wire, holding: bool, code: int) -> None:
    app, server = both(wire)
    talk = wire.started(mocked=True, holding=holding) >> app.says(app.close_frame(code, "bye"))
    assert talk << wire.to_app(server.close_frame(code, "bye")) << wire.drop_app << wire.end >> done
    assert wire.ended == (code, "bye", True)


@pytest.mark.parametrize("code", [0, 2999, 5000])
def test_invalid_close_code_is_answered_with_1002_by_a_route_that_keeps_the_close(
    leg: Leg, wire: Wire, code: int
) -> None:
    wire.observer.keeps = True
    _, (answer, *_) = (wire.started(holding=True) >> leg.says(leg.close_frame(code))).take()
    assert answer.data == leg.back.close_frame(1002)  # type: ignore[attr-defined]
    assert ("closed", 1006, "") in wire.observer.told


@pytest.mark.parametrize("code", [0, 999, 1004, 2999, 5000])
def test_invalid_close_code_is_copied_for_the_destination_to_judge(
    leg: Leg, wire: Wire, holding: bool, code: int
) -> None:
    close = leg.close_frame(code)
    assert wire.started(holding=holding) >> leg.says(close) << leg.gets(close)


def test_pongs_of_a_mocked_socket_go_in_one_write(wire: Wire) -> None:
    app, server = both(wire)
    pings = [app.peer.frame(Opcode.PING, bytes([number])) for number in range(200)]
    _, (command,) = (wire.started(mocked=True) >> app.says(b"".join(pings))).take()
    pongs = [server.peer.frame(Opcode.PONG, bytes([number])) for number in range(200)]
    assert isinstance(command, SendData)
    assert command.data == b"".join(pongs)
    assert len(wire.observer.reported) == 400
