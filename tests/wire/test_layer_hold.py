"""The wire's layer where others may change what passes, and where an addon answered in the server's stead."""

import os
from collections.abc import Callable

import pytest
from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import SendData

from support.talk import Talk, done
from support.wire import Leg, Wire
from wirewright.wire.frames import Opcode

COMPRESSED = "permessage-deflate"
PING = b"?"


def changed_to(content: bytes) -> Callable[[http.HTTPFlow], None]:
    """What an addon does to the newest message."""

    def change(flow: http.HTTPFlow) -> None:
        assert flow.websocket is not None
        flow.websocket.messages[-1].content = content

    return change


def dropped(flow: http.HTTPFlow) -> None:
    assert flow.websocket is not None
    flow.websocket.messages[-1].drop()


def fails(talk: Talk, wire: Wire, code: int, *legs: Leg) -> Talk:
    """The proxy ends the socket with this code on these sides."""
    for leg in legs:
        talk = talk << leg.gets(leg.close_frame(code))
    return talk << wire.drop_server << wire.drop_app << wire.end >> done


def both(wire: Wire) -> tuple[Leg, Leg]:
    return Leg(wire, True), Leg(wire, False)


# HOLD


@pytest.mark.parametrize("payload", ["text é", b"\x00\xff", "", b""])
def test_held_message_waits_for_the_hook(leg: Leg, wire: Wire, payload: str | bytes) -> None:
    frame = leg.peer.text(payload) if isinstance(payload, str) else leg.peer.binary(payload)
    talk = wire.started(holding=True) >> leg.says(frame) << wire.message
    (message,) = wire.stored()
    assert (message.from_client, message.injected) == (leg.client, False)
    assert (message.text if isinstance(payload, str) else message.content) == payload
    assert talk >> done << leg.gets(frame)
    assert wire.observer.told == []


def test_held_messages_are_offered_one_after_another(leg: Leg, wire: Wire) -> None:
    one, two = leg.peer.text("one"), leg.peer.text("two")
    assert (
        wire.started(holding=True)
        >> leg.says(one + two)
        << wire.message
        >> done
        << leg.gets(one)
        << wire.message
        >> done
        << leg.gets(two)
    )


def test_what_comes_while_a_hook_runs_waits_in_both_directions(leg: Leg, wire: Wire) -> None:
    one, two, ping = leg.peer.text("one"), leg.peer.text("two"), leg.back.peer.frame(Opcode.PING, PING)
    assert (
        wire.started(holding=True)
        >> leg.says(one)
        << wire.message
        >> leg.back.says(ping)
        >> leg.says(two)
        >> wire.close()
        >> done
        << leg.gets(one)
        << leg.back.gets(ping)
        << wire.message
        >> done
        << leg.gets(two)
        << wire.to_server(both(wire)[0].close_frame(3000, "bye"))
        << wire.to_app(both(wire)[1].close_frame(3000, "bye"))
        << wire.drop_server
        << wire.drop_app
        << wire.end
    )


def test_held_message_is_sent_as_it_was_changed(leg: Leg, wire: Wire) -> None:
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one")) << wire.message
    assert talk >> changed_to(b"another") << leg.gets(leg.peer.text("another"))


def test_text_that_is_changed_into_no_utf_8_is_mended_as_mitmproxy_does(leg: Leg, wire: Wire) -> None:
    # RFC 6455, 8.1: the app or the server would fail the socket.
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one")) << wire.message
    assert talk >> changed_to(b"a\xffb") << leg.gets(leg.peer.text("a\ufffdb"))


def test_held_message_that_is_dropped_is_not_sent(leg: Leg, wire: Wire) -> None:
    two = leg.peer.text("two")
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one") + two) << wire.message
    assert talk >> dropped << wire.message >> done << leg.gets(two)


def test_fragments_are_held_as_one_and_control_frames_between_them_pass(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"on", b"e")
    ping = leg.peer.frame(Opcode.PING, PING)
    talk = wire.started(holding=True) >> leg.says(first) >> leg.says(ping) << leg.gets(ping)
    assert talk >> leg.says(second) << wire.message >> done << leg.gets(leg.peer.text("one"))


def test_long_changed_message_goes_in_one_frame(leg: Leg, wire: Wire) -> None:
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one")) << wire.message
    assert talk >> changed_to(b"x" * 10_000) << leg.gets(leg.peer.text("x" * 10_000))


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_messages_are_held_inflated_and_deflated_if_long(
    leg: Leg, wire: Wire, takeover: bool
) -> None:
    ends = "" if takeover else "; client_no_context_takeover; server_no_context_takeover"
    talk = wire.started(COMPRESSED + ends, holding=True)
    noise = os.urandom(2000)
    reader = leg.peer.reader()
    for said, sent in ((b"long" * 300, noise), (b"short", noise), (b"long" * 300, b"short")):
        talk = talk >> leg.says(leg.peer.compressed(said)) << wire.message
        assert wire.stored()[-1].content == said
        talk, (command,) = (talk >> changed_to(sent)).take()
        assert isinstance(command, SendData)
        assert bool(command.data[0] & 0x40) == (len(sent) > 1024)
        assert reader.feed(command.data) == [sent]


@pytest.mark.parametrize("payload", ["ours", b"\xff"])
def test_message_of_ours_is_offered_as_injected(leg: Leg, wire: Wire, payload: str | bytes) -> None:
    theirs = leg.peer.text("theirs")
    talk = wire.started(holding=True) >> leg.says(theirs) << wire.message >> done << leg.gets(theirs)
    frame = leg.peer.text(payload) if isinstance(payload, str) else leg.peer.binary(payload)
    assert talk >> leg.inject(payload) << wire.message >> done << leg.gets(frame)
    assert [message.injected for message in wire.stored()] == [False, True]
    assert talk >> leg.inject("gone") << wire.message >> dropped
    assert wire.observer.told == []


def test_message_of_ours_does_not_follow_a_close_frame(leg: Leg, wire: Wire) -> None:
    theirs, close = leg.peer.text("theirs"), leg.close_frame()
    talk = wire.started(holding=True) >> leg.says(theirs) << wire.message >> done << leg.gets(theirs)
    assert talk >> leg.says(close) << leg.gets(close) >> leg.inject("late")


def test_hold_begins_and_ends_while_the_socket_is_open(leg: Leg, wire: Wire) -> None:
    one, two, three = leg.peer.text("one"), leg.peer.text("two"), leg.peer.text("three")
    talk = wire.started() >> leg.says(one) << leg.gets(one)
    wire.observer.holding = True
    talk = talk >> leg.says(two[:2]) >> leg.says(two[2:]) << wire.message >> done << leg.gets(two)
    wire.observer.holding = False
    assert talk >> leg.says(three) << leg.gets(three)
    assert wire.observer.told == leg.told("one", "three")


def test_hold_begins_after_the_message_that_is_under_way(leg: Leg, wire: Wire) -> None:
    first, second = leg.peer.fragments(Opcode.TEXT, b"o", b"ne")
    two = leg.peer.text("two")
    talk = wire.started() >> leg.says(first) << leg.gets(first)
    wire.observer.holding = True
    talk = talk >> leg.says(second + two[:3]) << leg.gets(second)
    assert talk >> leg.says(two[3:]) << wire.message >> done << leg.gets(two)
    assert wire.observer.told == leg.told("one")


def test_hold_stays_where_messages_share_a_window(leg: Leg, wire: Wire) -> None:
    talk = wire.started(COMPRESSED, holding=True) >> leg.says(leg.peer.compressed("one")) << wire.message
    talk = talk >> dropped
    wire.observer.holding = False
    talk = talk >> leg.says(leg.peer.compressed("one and two")) << wire.message
    assert talk >> done << leg.gets(leg.peer.text("one and two"))


# Failing in HOLD


@pytest.mark.parametrize(
    ("opcode", "payload", "code"),
    [
        (3, b"x", 1002),
        (Opcode.CONTINUATION, b"x", 1002),
        (Opcode.PING, b"x" * 126, 1002),
        (Opcode.TEXT, b"\xff", 1007),
        (Opcode.BINARY, bytes(1001), 1009),
    ],
)
def test_what_cannot_be_read_fails_the_socket(
    leg: Leg, wire: Wire, opcode: int, payload: bytes, code: int
) -> None:
    wire.observer.max_message = 1000
    one = leg.peer.text("one")
    data = one + leg.peer.frame(opcode, payload)
    talk = wire.started(holding=True) >> leg.says(data) << wire.message >> done << leg.gets(one)
    talk = fails(talk, wire, code, *both(wire))
    assert wire.ended == (code, "", None)
    assert [event for event, *_ in wire.observer.told] == ["failed"]
    assert talk >> leg.says(leg.peer.text("late")) >> leg.back.says(leg.back.peer.text("late"))


@pytest.mark.parametrize(("payload", "code"), [(b"x", 1002), (b"\x03\xee", 1002), (b"\x03\xe8\xff", 1007)])
def test_close_frame_that_cannot_be_read_is_not_passed_on(
    leg: Leg, wire: Wire, payload: bytes, code: int
) -> None:
    broken = leg.peer.frame(Opcode.CLOSE, payload)
    talk = wire.started(holding=True) >> leg.says(broken)
    assert fails(talk, wire, code, *both(wire))
    assert wire.ended == (code, "", None)


def test_message_as_large_as_is_allowed_is_held(leg: Leg, wire: Wire) -> None:
    wire.observer.max_message, frame = 1000, leg.peer.binary(bytes(1000))
    assert wire.started(holding=True) >> leg.says(frame) << wire.message >> done << leg.gets(frame)


def test_socket_that_fails_after_a_close_frame_sends_no_second_one(leg: Leg, wire: Wire) -> None:
    close = leg.close_frame()
    talk = wire.started(holding=True) >> leg.says(close) << leg.gets(close)
    talk = talk >> leg.back.says(leg.back.peer.frame(3))
    assert fails(talk, wire, 1002, leg.back)


# Mocked sockets: the answer to the handshake was an addon's


@pytest.fixture(params=[True, False], ids=["hold", "pass"])
def holding(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_mocked_socket_swallows_and_reports_what_the_app_says(wire: Wire) -> None:
    app = Leg(wire, True)
    assert wire.started(mocked=True) >> app.says(app.peer.text("hello"))
    assert wire.observer.told == app.told("hello")


def test_mocked_socket_offers_what_the_app_says(wire: Wire) -> None:
    app = Leg(wire, True)
    assert wire.started(mocked=True, holding=True) >> app.says(app.peer.text("hello")) << wire.message >> done


def test_mocked_socket_speaks(wire: Wire) -> None:
    server = Leg(wire, False)
    assert wire.started(mocked=True) >> server.inject("hello") << wire.to_app(server.peer.text("hello"))
    assert wire.observer.told == server.told_ours("hello")


def test_mocked_socket_has_no_server_to_speak_to(wire: Wire, holding: bool) -> None:
    assert wire.started(mocked=True, holding=holding) >> Leg(wire, True).inject("hello")


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
    talk = wire.started(mocked=True, holding=holding) >> wire.close()
    talk = talk << wire.to_app(Leg(wire, False).close_frame(3000, "bye")) << wire.drop_app << wire.end
    assert talk >> done
    assert wire.ended == (3000, "bye", None)


def test_mocked_socket_tells_what_broke_the_protocol(wire: Wire) -> None:
    app = Leg(wire, True)
    assert wire.started(mocked=True) >> app.says(app.peer.frame(3))
    assert wire.observer.told == [("failed", "Unrecognized frame opcode: 3")]
