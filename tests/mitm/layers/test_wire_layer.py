"""The wire's layer between an app and a server: what it forwards, asks and tells."""

import re
from collections.abc import Callable
from logging import WARNING

import pytest
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.websocket import WebsocketStartHook

from support.frames import pieces
from support.layer_conversation import Talk, done
from support.wire_layer import Leg, Wire
from wirewright.values import Direction
from wirewright.wire.frames import Opcode

COMPRESSED = "permessage-deflate"
LONG = "long " * 300
TOO_LATE = commands.Log("A WebSocket message is not sent: its socket is closing.", WARNING)


# PASS


def test_data_that_comes_while_the_start_is_handled_is_forwarded_after_it(leg: Leg, wire: Wire) -> None:
    text = leg.peer.text("early")
    assert wire.open() << WebsocketStartHook(wire.flow) >> leg.says(text) >> done << leg.gets(text)
    assert wire.observer.told == leg.told("early")


@pytest.mark.parametrize("extensions", ["", COMPRESSED])
def test_pieces_are_forwarded_as_they_come_and_told_once_they_are_messages(
    leg: Leg, wire: Wire, extensions: str
) -> None:
    talk = wire.started(extensions)
    last = leg.peer.compressed(LONG) if extensions else leg.peer.text(LONG)
    frames = [leg.peer.text("one"), leg.peer.binary(b"\x00"), *leg.peer.fragments(Opcode.TEXT, b"a", b"b")]
    for piece in pieces(b"".join([*frames, last]), 3, 20):
        assert talk >> leg.says(piece) << leg.gets(piece)
    assert wire.observer.told == leg.told("one", b"\x00", "ab", LONG)
    assert wire.stored() == []


def test_messages_of_one_piece_are_forwarded_before_they_are_told(leg: Leg, wire: Wire) -> None:
    data = leg.peer.text("one") + leg.peer.frame(Opcode.PING) + leg.peer.text("two")
    assert wire.started() >> leg.says(data) << leg.gets(data)
    assert wire.observer.told == leg.told("one", "two")


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
def test_pings_and_pongs_pass_and_are_not_answered(leg: Leg, wire: Wire, opcode: Opcode) -> None:
    frame = leg.peer.frame(opcode, b"?")
    assert wire.started() >> leg.says(frame) << leg.gets(frame)
    assert wire.observer.told == []


def test_nobody_is_told_what_nobody_wants(leg: Leg, wire: Wire) -> None:
    wire.observer.wants = 0
    text = leg.peer.text("unread")
    assert wire.started() >> leg.says(text) << leg.gets(text)
    assert wire.observer.told == []


def test_messages_that_nobody_hears_are_told_of_unread(leg: Leg, wire: Wire) -> None:
    wire.observer.hears = False
    first, second = leg.peer.fragments(Opcode.TEXT, b"th", b"ree")
    data = leg.peer.text("one") + leg.peer.text("two") + first + second + leg.peer.frame(Opcode.PING)
    data += leg.peer.text("four")
    assert wire.started() >> leg.says(data) << leg.gets(data)
    assert wire.observer.told == [("unheard", "one", "two"), ("unheard", "three"), ("unheard", "four")]


def test_close_frame_of_what_nobody_hears_is_seen(leg: Leg, wire: Wire) -> None:
    wire.observer.hears = False
    data = leg.peer.text("one") + leg.close_frame(3000, "bye")
    talk = wire.started() >> leg.says(data) << leg.gets(data) >> leg.back.says(leg.back.close_frame())
    assert talk << leg.back.gets(leg.back.close_frame()) << wire.end >> done
    assert wire.ended == (3000, "bye", leg.client)


def test_larger_message_than_is_wanted_passes_and_is_said_to_be_too_large(leg: Leg, wire: Wire) -> None:
    wire.observer.wants = 1000
    large, small = leg.peer.binary(bytes(1001)), leg.peer.binary(bytes(1000))
    assert wire.started() >> leg.says(large) << leg.gets(large) >> leg.says(small) << leg.gets(small)
    assert wire.observer.told == [("too large",), *leg.told(bytes(1000))]


@pytest.mark.parametrize("size", [1 << 16, (1 << 63) - 1])
def test_message_is_said_to_be_too_large_at_its_header(leg: Leg, wire: Wire, size: int) -> None:
    wire.observer.wants = 1000
    header = bytes([0x82, 0xFF if leg.client else 0x7F]) + size.to_bytes(8) + bytes(4 * leg.client)
    assert wire.started() >> leg.says(header) << leg.gets(header)
    assert wire.observer.told == [("too large",)]


def test_message_that_began_when_nobody_wanted_any_is_not_said_to_be_too_large(leg: Leg, wire: Wire) -> None:
    talk, (first, second) = wire.started(), leg.peer.fragments(Opcode.TEXT, b"a", b"b")
    wire.observer.wants = 0
    assert talk >> leg.says(first) << leg.gets(first)
    wire.observer.wants = 1000
    assert talk >> leg.says(second) << leg.gets(second)
    assert wire.observer.told == []


# Messages of ours in PASS


def test_message_of_ours_is_sent_at_once_between_messages(leg: Leg, wire: Wire) -> None:
    text = leg.peer.text("theirs")
    assert (
        wire.started()
        >> leg.inject("one")
        << leg.gets(leg.peer.text("one"))
        >> leg.says(text)
        << leg.gets(text)
        >> leg.inject(b"\xff")
        << leg.gets(leg.peer.binary(b"\xff"))
    )
    assert wire.observer.told == [*leg.told_ours("one"), *leg.told("theirs"), *leg.told_ours(b"\xff")]


def test_message_of_ours_waits_for_the_end_of_theirs_and_is_told_in_the_order_of_the_wire(
    leg: Leg, wire: Wire
) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"the", b"irs")
    rest = leg.peer.text("next")
    assert (
        wire.started()
        >> leg.says(first)
        << leg.gets(first)
        >> leg.inject("one")
        >> leg.inject("two")
        >> leg.says(second + rest[:3])
        << leg.gets(second + leg.peer.text("one") + leg.peer.text("two") + rest[:3])
        >> leg.says(rest[3:])
        << leg.gets(rest[3:])
    )
    assert wire.observer.told == [*leg.told("theirs"), *leg.told_ours("one", "two"), *leg.told("next")]


def test_message_of_ours_is_offered_where_others_may_change_it_though_none_of_theirs_has_come(
    leg: Leg, wire: Wire
) -> None:
    assert wire.started(holding=True) >> leg.inject("ours") << leg.gets(leg.peer.text("ours"))
    assert wire.observer.offered == leg.offers("ours", injected=True)


@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_message_of_ours_does_not_follow_a_close_frame(leg: Leg, wire: Wire, holding: bool) -> None:
    close = leg.close_frame()
    talk = wire.started(holding=holding) >> leg.says(close) << leg.gets(close)
    assert talk >> leg.inject("late") << TOO_LATE


# Closing


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [(b"\x03\xe8bye", 1000, "bye"), (b"\x0b\xb8", 3000, ""), (b"", 1005, ""), (b"\x03\xf1", 1009, "")],
)
@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_close_is_copied_and_ends_the_socket_once_both_have_closed(
    leg: Leg, wire: Wire, payload: bytes, code: int, reason: str, holding: bool
) -> None:
    there, back = leg.peer.frame(Opcode.CLOSE, payload), leg.back.peer.frame(Opcode.CLOSE, payload)
    talk = wire.started(holding=holding) >> leg.says(there) << leg.gets(there)
    assert talk >> leg.back.says(back) << leg.back.gets(back) << wire.end >> done
    assert wire.ended == (code, reason, leg.client)
    assert talk >> events.ConnectionClosed(wire.server) << wire.drop_server << wire.drop_app
    assert talk >> events.ConnectionClosed(wire.client)
    assert wire.observer.told == []


def test_the_first_close_frame_names_code_and_reason(leg: Leg, wire: Wire) -> None:
    there, back = leg.close_frame(3000, "first"), leg.back.close_frame(3001, "second")
    assert (
        wire.started()
        >> leg.says(there)
        << leg.gets(there)
        >> leg.back.says(back)
        << leg.back.gets(back)
        << wire.end
        >> done
    )
    assert wire.ended == (3000, "first", leg.client)


def test_the_other_side_may_speak_until_it_closes_too(leg: Leg, wire: Wire) -> None:
    close, text = leg.close_frame(), leg.back.peer.text("last words")
    assert wire.started() >> leg.says(close) << leg.gets(close) >> leg.back.says(text) << leg.back.gets(text)
    assert wire.observer.told == leg.back.told("last words")


def test_lost_connection_is_lost_on_the_other_side_and_nothing_is_made_up(leg: Leg, wire: Wire) -> None:
    talk = wire.started() >> events.ConnectionClosed(leg.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (1006, None, leg.client)
    assert talk >> leg.back.says(b"late") >> events.ConnectionClosed(leg.back.source) >> wire.close()


def test_connection_lost_within_a_message_loses_what_waited_for_its_end(leg: Leg, wire: Wire) -> None:
    half = leg.peer.text("half")[:4]
    talk = wire.started() >> leg.says(half) << leg.gets(half) >> leg.inject("ours")
    talk = talk >> events.ConnectionClosed(leg.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end
    assert wire.observer.told == []


@pytest.mark.parametrize("by_closer", [True, False])
def test_connection_lost_after_a_close_frame_keeps_its_code(leg: Leg, wire: Wire, by_closer: bool) -> None:
    close = leg.close_frame(3000, "bye")
    gone = leg.source if by_closer else leg.back.source
    talk = wire.started() >> leg.says(close) << leg.gets(close) >> events.ConnectionClosed(gone)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (3000, "bye", leg.client)


# Closing from outside

OURS = (3000, "bye")


def closing(wire: Wire, talk: Talk, *legs: Leg) -> Talk:
    """We close, and these directions get a close frame of ours at once."""
    talk = talk >> wire.close(*OURS) << wire.timer
    for leg in legs:
        talk = talk << leg.gets(leg.close_frame(*OURS))
    return talk


def both(wire: Wire) -> tuple[Leg, Leg]:
    return Leg(wire, Direction.SENT), Leg(wire, Direction.RECEIVED)


@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_close_from_outside_goes_to_both_ends_and_waits_for_their_answers(
    leg: Leg, wire: Wire, holding: bool
) -> None:
    talk = closing(wire, wire.started(holding=holding), *both(wire))
    talk = talk >> leg.says(leg.peer.text("late") + leg.close_frame(*OURS))
    talk = talk >> leg.back.says(leg.back.close_frame(1000)) << wire.drop_server << wire.drop_app << wire.end
    assert talk >> done
    assert wire.ended == (*OURS, None)
    assert wire.observer.told == []
    assert talk >> wire.close() >> leg.inject("late") >> leg.says(leg.peer.text("late")) >> wire.time_is_up


@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_end_that_does_not_answer_our_close_is_not_waited_for(leg: Leg, wire: Wire, holding: bool) -> None:
    talk = closing(wire, wire.started(holding=holding), *both(wire)) >> leg.says(leg.close_frame(*OURS))
    assert talk >> wire.time_is_up << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (*OURS, None)


def test_connection_lost_after_our_close_ends_the_socket(leg: Leg, wire: Wire) -> None:
    talk = closing(wire, wire.started(), *both(wire)) >> events.ConnectionClosed(leg.source)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (*OURS, None)


def test_nothing_of_ours_follows_our_close(leg: Leg, wire: Wire) -> None:
    talk = closing(wire, wire.started(), *both(wire)) >> wire.close()
    assert talk >> leg.inject("late") << TOO_LATE


def test_end_that_breaks_the_protocol_instead_of_answering_our_close_is_not_waited_for(
    leg: Leg, wire: Wire
) -> None:
    talk = closing(wire, wire.started(), *both(wire)) >> leg.back.says(leg.back.close_frame())
    assert talk >> leg.says(leg.peer.frame(3)) << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (*OURS, None)


def test_close_from_outside_goes_between_fragments(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"a", b"b")
    talk = wire.started() >> leg.says(first) << leg.gets(first)
    assert closing(wire, talk, *both(wire)) >> leg.says(second)


def test_close_from_outside_does_not_overtake_a_message_of_ours_that_waits(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"a", b"b")
    talk = wire.started() >> leg.says(first) << leg.gets(first) >> leg.inject("ours")
    talk = closing(wire, talk, leg.back) >> leg.says(second + leg.peer.text("late"))
    assert talk << leg.gets(second + leg.peer.text("late") + leg.peer.text("ours") + leg.close_frame(*OURS))
    assert talk >> leg.says(leg.peer.text("later"))


def test_close_from_outside_waits_for_the_end_of_a_frame_that_has_gone_out_by_half(
    leg: Leg, wire: Wire
) -> None:
    text = leg.peer.text("half")
    talk = closing(wire, wire.started() >> leg.says(text[:4]) << leg.gets(text[:4]), leg.back)
    assert talk >> leg.says(text[4:]) << leg.gets(text[4:] + leg.close_frame(*OURS))


def test_close_from_outside_is_no_frame_where_theirs_does_not_come_to_its_end(leg: Leg, wire: Wire) -> None:
    half = leg.peer.text("half")[:4]
    talk = closing(wire, wire.started() >> leg.says(half) << leg.gets(half), leg.back)
    assert talk >> wire.time_is_up << wire.drop_server << wire.drop_app << wire.end


def test_close_from_outside_is_no_frame_in_what_cannot_be_read(leg: Leg, wire: Wire) -> None:
    broken = leg.peer.frame(3)
    talk = closing(wire, wire.started() >> leg.says(broken) << leg.gets(broken), leg.back)
    talk = talk >> leg.back.says(leg.back.close_frame()) << wire.drop_server << wire.drop_app << wire.end
    assert talk


def test_close_from_outside_leaves_out_the_side_that_was_sent_one_and_keeps_the_first_code(
    leg: Leg, wire: Wire
) -> None:
    close, answer = leg.close_frame(4000, "theirs"), leg.back.close_frame(4000)
    talk = closing(wire, wire.started() >> leg.says(close) << leg.gets(close), leg.back)
    talk = talk >> leg.back.says(answer) << wire.drop_server << wire.drop_app << wire.end
    assert talk >> done
    assert wire.ended == (4000, "theirs", leg.client)


# Violations in PASS

Broken = Callable[[Leg], bytes]
VIOLATIONS: dict[str, tuple[Broken, str, int]] = {
    "opcode": (lambda leg: leg.peer.frame(3, b"x"), "Unrecognized frame opcode: 3", 1002),
    "mask": (
        lambda leg: leg.back.peer.text("x"),
        r"A (client|server) must (not )?mask",
        1002,
    ),
    "text": (lambda leg: leg.peer.frame(Opcode.TEXT, b"\xff"), "Could not decode a text frame", 1007),
    "close of one byte": (lambda leg: leg.peer.frame(Opcode.CLOSE, b"x"), "Received a broken close", 1002),
    "reserved close code": (
        lambda leg: leg.peer.frame(Opcode.CLOSE, b"\x03\xee"),
        "Received a broken close",
        1002,
    ),
}


@pytest.fixture(params=VIOLATIONS)
def violation(leg: Leg, request: pytest.FixtureRequest) -> tuple[bytes, str, int]:
    broken, message, code = VIOLATIONS[request.param]
    return broken(leg), message, code


def test_what_breaks_the_protocol_passes_and_is_told_once(
    leg: Leg, wire: Wire, violation: tuple[bytes, str, int]
) -> None:
    talk, (broken, message, _) = wire.started(), violation
    data = leg.peer.text("before") + broken
    assert talk >> leg.says(data) << leg.gets(data)
    for more in (leg.peer.text("after"), b"\x00", broken):
        assert talk >> leg.says(more) << leg.gets(more)
    *before, (event, told) = wire.observer.told
    assert before == leg.told("before")
    assert event == "failed"
    assert re.match(message, str(told))
    answer = leg.back.close_frame(1002)
    assert talk >> leg.back.says(answer) << leg.back.gets(answer)


def test_data_after_a_close_passes_and_is_told(leg: Leg, wire: Wire) -> None:
    data = leg.close_frame() + leg.peer.text("after")
    assert wire.started() >> leg.says(data) << leg.gets(data)
    assert wire.observer.told == [("failed", "Data frame received after close")]


def test_unknown_extension_passes_unread_with_a_warning(leg: Leg, wire: Wire) -> None:
    start = wire.open("x-none; a=1")
    warning = "WebSocket extension 'x-none' is passed on, but not understood."
    talk = start << commands.Log(warning) << WebsocketStartHook(wire.flow) >> done
    for data in (leg.peer.frame(Opcode.TEXT, b"\xff\xfe", rsv1=True), b"nonsense"):
        assert talk >> leg.says(data) << leg.gets(data)
    assert wire.observer.told == []


def test_unknown_extension_passes_though_somebody_would_hold(leg: Leg, wire: Wire) -> None:
    wire.observer.holding = True
    talk = wire.open("x-none") << commands.Log << WebsocketStartHook(wire.flow) >> done
    text = leg.peer.text("unread")
    assert talk >> leg.says(text) << leg.gets(text)


def test_nothing_of_ours_goes_into_what_an_unknown_extension_made_unreadable(leg: Leg, wire: Wire) -> None:
    talk = wire.open("x-none") << commands.Log << WebsocketStartHook(wire.flow) >> done
    half = leg.peer.text("half")[:4]
    assert talk >> leg.says(half) << leg.gets(half) >> leg.inject("ours") << commands.Log
