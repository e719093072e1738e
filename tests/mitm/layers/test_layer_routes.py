"""The wire's layer where a route decides: what it orders, and whose end is nobody else's."""

import pytest
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import SendData

from support.layer_conversation import Talk, done
from support.wire_layer import Leg, Wire, undecided
from wirewright.mitm.layers.events import Aborted, OrderInjected
from wirewright.values import Direction, Payload
from wirewright.wire.frames import Opcode
from wirewright.wire.observer import Decision, Order
from wirewright.wire.stream import Close, Ours

BYE = Close(3000, "bye")


def order(leg: Leg, ours: Ours) -> Order:
    """Send it to whoever is at the end of this direction."""
    return Order(leg.direction, ours)


def ordered(leg: Leg, ours: Ours) -> events.Event:
    return OrderInjected(leg.wire.flow, order(leg, ours))


def close_of_ours(leg: Leg) -> bytes:
    return leg.close_frame(BYE.code, BYE.reason)


def ends(talk: Talk, wire: Wire) -> Talk:
    return talk << wire.drop_server << wire.drop_app << wire.end >> done


# Orders


def test_what_is_ordered_before_the_socket_is_open_goes_first(leg: Leg, wire: Wire) -> None:
    wire.observer.orders = [order(leg, "one"), order(leg.back, b"\x00"), order(leg, "two")]
    theirs = leg.peer.text("theirs")
    talk = wire.open() << wire.start >> leg.says(theirs) >> done
    for command in (
        leg.gets(leg.peer.text("one")),
        leg.back.gets(leg.back.peer.binary(b"\x00")),
        leg.gets(leg.peer.text("two")),
        leg.gets(theirs),
    ):
        talk = talk << command
    assert talk
    assert wire.observer.orders == []


@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_what_is_ordered_goes_at_once_between_messages_and_is_told(
    leg: Leg, wire: Wire, holding: bool
) -> None:
    talk = wire.started(holding=holding) >> ordered(leg, "ours") << leg.gets(leg.peer.text("ours"))
    assert talk
    assert wire.observer.told == leg.told_ours("ours")


def test_what_is_ordered_waits_for_the_end_of_a_message_that_passes(leg: Leg, wire: Wire) -> None:
    text = leg.peer.text("theirs")
    talk = wire.started() >> leg.says(text[:3]) << leg.gets(text[:3]) >> ordered(leg, "ours")
    assert talk >> leg.says(text[3:]) << leg.gets(text[3:] + leg.peer.text("ours"))


def test_what_is_ordered_for_a_message_goes_in_its_place(leg: Leg, wire: Wire) -> None:
    def decide(payload: Payload) -> Decision:
        wire.observer.orders += [
            order(leg, f"{payload!s} changed"),
            order(leg.back, f"about {payload!s}"),
        ]
        return None

    wire.observer.decide = decide
    talk = wire.started(holding=True) >> leg.says(b"".join(map(leg.peer.text, ("one", "two", "three"))))
    talk = talk << leg.gets(leg.peer.text("one changed"))
    talk = talk << leg.back.gets(b"".join(map(leg.back.peer.text, ("about one", "about two", "about three"))))
    assert talk << leg.gets(leg.peer.text("two changed") + leg.peer.text("three changed"))


def test_first_answer_to_what_was_read_is_written_before_it_is_reported(leg: Leg, wire: Wire) -> None:
    def decide(payload: Payload) -> Decision:
        wire.observer.orders.append(order(leg.back, f"answer to {payload!s}"))
        return None

    wire.observer.decide = decide
    assert wire.started(holding=True)
    said = b"".join(map(leg.peer.text, ("one", "two", "three")))
    written, answer = [], leg.back.peer.text
    for command in wire.layer.handle_event(leg.says(said)):
        assert isinstance(command, SendData)
        written.append((command.data, list(wire.observer.told)))
    assert written == [
        (answer("answer to one"), []),
        (answer("answer to two") + answer("answer to three"), wire.observer.told),
    ]
    answers = ("answer to one", "answer to two", "answer to three")
    assert wire.observer.told == leg.back.told_ours(*answers)


def test_what_is_ordered_while_a_message_is_undecided_does_not_wait_for_it(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one"))
    talk = talk >> ordered(leg, "ahead") << leg.gets(leg.peer.text("ahead"))
    talk = talk >> ordered(leg, "with it") << leg.gets(leg.peer.text("with it"))
    assert talk >> leg.decided(None)


@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_what_is_ordered_after_a_close_frame_is_dropped(leg: Leg, wire: Wire, holding: bool) -> None:
    close = leg.close_frame()
    talk = wire.started(holding=holding) >> leg.says(close) << leg.gets(close) >> ordered(leg, "late")
    assert talk >> ordered(leg.back, "in time") << leg.back.gets(leg.back.peer.text("in time"))
    assert wire.observer.told == leg.back.told_ours("in time")


def test_pings_do_not_follow_a_close_frame_of_ours(leg: Leg, wire: Wire) -> None:
    wire.observer.decide = undecided
    talk = wire.started(holding=True) >> leg.says(leg.peer.text("one"))
    talk = talk >> ordered(leg, BYE) << wire.timer << leg.gets(close_of_ours(leg))
    assert talk >> leg.says(leg.peer.frame(Opcode.PING, b"?"))


def test_nothing_follows_a_close_frame_that_had_to_wait(leg: Leg, wire: Wire) -> None:
    text = leg.peer.text("theirs")
    talk = wire.started() >> leg.says(text[:3]) << leg.gets(text[:3]) >> ordered(leg, BYE) << wire.timer
    talk = talk >> ordered(leg, Close(3001, "again")) << wire.timer >> ordered(leg, "late")
    assert talk >> leg.says(text[3:]) << leg.gets(text[3:] + close_of_ours(leg))


# One side


@pytest.mark.parametrize("holding", [True, False], ids=["hold", "pass"])
def test_side_that_is_closed_closes_the_other_when_it_answers(leg: Leg, wire: Wire, holding: bool) -> None:
    answer, back = leg.back.close_frame(3001), leg.close_frame(3002)
    talk = wire.started(holding=holding) >> ordered(leg, BYE) << wire.timer << leg.gets(close_of_ours(leg))
    talk = talk >> ordered(leg, "late") >> leg.back.says(answer)
    talk = talk << leg.back.gets(close_of_ours(leg.back)) >> leg.says(back)
    assert ends(talk, wire)
    assert wire.ended == (3000, "bye", None)


def test_side_that_does_not_answer_is_not_waited_for(leg: Leg, wire: Wire) -> None:
    talk = (
        wire.started() >> ordered(leg, BYE) << wire.timer << leg.gets(close_of_ours(leg)) >> wire.time_is_up
    )
    assert ends(talk << leg.back.gets(close_of_ours(leg.back)), wire)


def test_timer_of_a_server_that_has_answered_ends_nothing(wire: Wire) -> None:
    app, server = Leg(wire, Direction.SENT), Leg(wire, Direction.RECEIVED)
    wire.observer.keeps = True
    talk = wire.started(holding=True) >> ordered(app, BYE) << wire.timer << app.gets(close_of_ours(app))
    talk = talk >> server.says(server.close_frame(3001)) >> wire.time_is_up
    assert talk >> ordered(server, "still here") << server.gets(server.peer.text("still here"))
    assert wire.observer.told == [("closed", 3001, ""), *server.told_ours("still here")]


@pytest.mark.parametrize(("payload", "code", "reason"), [(b"\x0b\xb8bye", 3000, "bye"), (b"", 1005, "")])
def test_close_that_is_kept_is_answered_and_told(
    leg: Leg, wire: Wire, payload: bytes, code: int, reason: str
) -> None:
    wire.observer.keeps = True
    frame, answer = leg.peer.frame(Opcode.CLOSE, payload), leg.back.peer.frame(Opcode.CLOSE, payload)
    talk = wire.started(holding=True) >> leg.says(frame) << leg.back.gets(answer)
    if leg.client:
        talk = talk << wire.timer
    assert talk >> ordered(leg.back, "late")
    assert wire.observer.told == [("closed", code, reason)]


def test_server_that_is_kept_after_its_app_has_closed_is_kept_for_a_moment(wire: Wire) -> None:
    app, server = Leg(wire, Direction.SENT), Leg(wire, Direction.RECEIVED)
    wire.observer.keeps = True
    talk = (
        wire.started(holding=True) >> app.says(app.close_frame(3000)) << server.gets(server.close_frame(3000))
    )
    talk = talk << wire.timer >> ordered(app, "still here") << app.gets(app.peer.text("still here"))
    assert ends(talk >> wire.time_is_up, wire)


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "closed"])
def test_side_that_is_kept_answers_the_other_that_closed_first(leg: Leg, wire: Wire, lost: bool) -> None:
    close, answer = leg.close_frame(3000), leg.back.close_frame(3000)
    talk = wire.started(holding=True) >> leg.says(close) << leg.gets(close)
    wire.observer.keeps = True
    if lost:
        talk = (
            talk >> events.ConnectionClosed(leg.back.source) << wire.drop_server << wire.drop_app << wire.end
        )
    else:
        talk = talk >> leg.back.says(answer) << leg.back.gets(answer) << wire.end
    assert talk >> done
    assert wire.observer.told == [("closed", 1006 if lost else 3000, "")]


def test_app_that_has_gone_waits_for_no_handler_for_long(wire: Wire) -> None:
    app = Leg(wire, Direction.SENT)
    wire.observer.decide = undecided
    wire.observer.routed = True
    talk = wire.started(holding=True) >> app.says(app.peer.text("one"))
    talk = talk >> events.ConnectionClosed(wire.client) << wire.timer >> wire.time_is_up
    assert ends(talk, wire)
    assert talk >> app.decided("late")


def test_loss_is_told_though_a_close_was_ordered_while_it_waited(wire: Wire) -> None:
    app = Leg(wire, Direction.SENT)
    wire.observer.decide, wire.observer.keeps = undecided, True
    talk = (
        wire.started(holding=True) >> app.says(app.peer.text("one")) >> events.ConnectionClosed(wire.client)
    )
    talk = talk >> ordered(app, BYE) << wire.timer << app.gets(close_of_ours(app)) >> app.decided(None)
    assert ends(talk, wire)
    assert wire.observer.told == [("closed", 1006, "")]


def test_app_without_a_server_gets_its_pongs_and_is_not_told_what_goes_nowhere(wire: Wire) -> None:
    app, server = Leg(wire, Direction.SENT), Leg(wire, Direction.RECEIVED)
    wire.observer.keeps = True
    talk = wire.started(holding=True) >> events.ConnectionClosed(wire.server) << wire.drop_server
    wire.observer.holding = False
    talk = talk >> app.says(app.peer.text("nowhere") + app.peer.frame(Opcode.PING, b"?"))
    assert talk << server.gets(server.peer.frame(Opcode.PONG, b"?"))
    assert wire.observer.told == [("closed", 1006, "")]


def test_app_goes_on_without_a_server_whose_end_is_kept(wire: Wire) -> None:
    app, server = Leg(wire, Direction.SENT), Leg(wire, Direction.RECEIVED)
    wire.observer.keeps = True
    talk = wire.started(holding=True) >> server.says(server.close_frame(3000, "bye"))
    talk = talk << app.gets(close_of_ours(app)) >> events.ConnectionClosed(wire.server) << wire.drop_server
    wire.observer.decide = lambda payload: wire.observer.orders.append(order(server, payload))
    talk = talk >> app.says(app.peer.text("hello")) << server.gets(server.peer.text("hello"))
    assert wire.observer.told == [("closed", 3000, "bye"), *server.told_ours("hello")]
    talk = talk >> app.says(app.close_frame(3001)) << server.gets(server.close_frame(3001))
    assert ends(talk, wire)


def test_loss_of_a_server_that_is_kept_is_told_and_leaves_the_app(wire: Wire) -> None:
    server = Leg(wire, Direction.RECEIVED)
    wire.observer.keeps = True
    talk = wire.started(holding=True) >> events.ConnectionClosed(wire.server) << wire.drop_server
    assert wire.observer.told == [("closed", 1006, "")]
    talk = talk >> ordered(server, "still here") << server.gets(server.peer.text("still here"))
    talk = talk >> events.ConnectionClosed(wire.client)
    assert ends(talk, wire)


def test_loss_of_an_app_that_is_kept_is_told_before_the_server_loses_its_connection(wire: Wire) -> None:
    wire.observer.keeps = True
    talk = wire.started(holding=True) >> events.ConnectionClosed(wire.client)
    assert ends(talk, wire)
    assert wire.observer.told == [("closed", 1006, "")]
    assert wire.ended == (1006, None, True)


def test_both_connections_are_cut_without_a_word(leg: Leg, wire: Wire) -> None:
    half = leg.peer.text("half")[:3]
    talk = wire.started() >> leg.says(half) << leg.gets(half) >> Aborted(wire.flow, "no traffic")
    assert ends(talk, wire)
    assert wire.ended == (1006, "no traffic", None)
