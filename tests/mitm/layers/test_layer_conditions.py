"""The wire's layer where a route has put the network between the app and the proxy under conditions."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from mitmproxy.proxy import events
from mitmproxy.proxy.commands import Log, RequestWakeup, SendData

from support.layer_conversation import Talk, done
from support.wire_layer import Clock, Leg, Wire, turns, written
from wirewright.mitm.layers.events import Aborted, OrderInjected
from wirewright.values import Conditions, Direction, Payload
from wirewright.wire.frames import Opcode
from wirewright.wire.observer import Order
from wirewright.wire.reader_events import ControlFrame
from wirewright.wire.stream import Close

SLOW = Conditions(latency=100)
STALLED = Conditions(stall_after=0)
LATER = RequestWakeup


@pytest.fixture
def app(wire: Wire) -> Leg:
    return Leg(wire, Direction.SENT)


@pytest.fixture
def server(wire: Wire) -> Leg:
    return Leg(wire, Direction.RECEIVED)


def put_under(leg: Leg, conditions: Conditions) -> events.Event:
    return OrderInjected(leg.wire.flow, Order(leg.direction, conditions))


def sent(talk: Talk) -> bytes:
    """What it sent, in however many turns and whatever wakeups it asked for."""
    return b"".join(map(written, turns(talk)))


def test_messages_are_late_in_one_direction_and_not_in_the_other(leg: Leg, wire: Wire, clock: Clock) -> None:
    first, second, back = leg.peer.text("first"), leg.peer.text("second"), leg.back.peer.text("back")
    talk = wire.started() >> put_under(leg, SLOW) >> leg.says(first) << LATER
    clock.now += 0.05
    talk = talk >> leg.says(second) >> leg.back.says(back) << leg.back.gets(back)
    assert sent(talk >> clock.after(50)) == first
    assert sent(talk >> clock.after(50)) == second


def test_compressed_messages_are_lost_and_late_like_others(leg: Leg, wire: Wire, clock: Clock) -> None:
    talk = wire.started("permessage-deflate") >> put_under(leg, Conditions(latency=100, drop=0.5, seed=1))
    said = b"".join(leg.peer.compressed(f"{number:02}") for number in range(20))
    late = sent((talk >> leg.says(said) << LATER) >> clock.after(100))
    arrived = [str(message) for message in leg.peer.reader().feed(late)]
    assert late[0] & 0x40
    assert 0 < len(arrived) < 20
    assert arrived == sorted(arrived)


def test_pings_and_the_close_are_late_too(leg: Leg, wire: Wire, clock: Clock) -> None:
    ping, close = leg.peer.frame(Opcode.PING, b"?"), leg.close_frame(3000)
    talk = wire.started() >> put_under(leg, SLOW) >> leg.says(leg.peer.text("a") + ping + close) << LATER
    assert sent(talk >> clock.after(100)) == leg.peer.text("a") + ping + close
    answer = leg.back.close_frame(3000)
    assert talk >> leg.back.says(answer) << leg.back.gets(answer) << wire.end >> done


def test_message_that_is_lost_is_not_told_if_it_never_came(app: Leg, wire: Wire, clock: Clock) -> None:
    talk = wire.started() >> put_under(app, Conditions(drop=1))
    assert talk >> app.says(app.peer.text("lost"))
    assert wire.observer.offered == []


def test_messages_are_doubled_and_change_places(leg: Leg, wire: Wire, clock: Clock) -> None:
    one, two = leg.peer.text("one"), leg.peer.text("two")
    talk = wire.started() >> put_under(leg, Conditions(duplicate=1, reorder=1)) >> leg.says(one + two)
    assert talk << leg.gets(two + two + one + one)


def test_message_that_has_begun_passes_as_it_is(leg: Leg, wire: Wire, clock: Clock) -> None:
    text = leg.peer.text("begun")
    talk = wire.started() >> leg.says(text[:3]) << leg.gets(text[:3]) >> put_under(leg, STALLED)
    talk = talk >> leg.says(text[3:]) << leg.gets(text[3:])
    assert talk >> leg.says(leg.peer.text("stuck"))


def test_what_is_under_way_arrives_before_messages_pass_again(leg: Leg, wire: Wire, clock: Clock) -> None:
    first, second, third = (leg.peer.text(name) for name in ("first", "second", "third"))
    talk = wire.started() >> put_under(leg, SLOW) >> leg.says(first) << LATER
    talk = talk >> put_under(leg, Conditions()) >> leg.says(second)
    talk = talk >> clock.after(100) << leg.gets(first + second)
    assert talk >> leg.says(third[:3]) << leg.gets(third[:3]) >> leg.says(third[3:]) << leg.gets(third[3:])


def test_stalled_direction_goes_on_when_conditions_change(leg: Leg, wire: Wire, clock: Clock) -> None:
    ping, text = leg.peer.frame(Opcode.PING, b"?"), leg.peer.text("stuck")
    talk = wire.started() >> put_under(leg, STALLED) >> leg.says(ping) >> leg.says(text)
    talk = talk >> put_under(leg, Conditions()) << LATER
    assert sent(talk >> clock.after(0)) == ping + text


def test_mock_is_under_conditions_like_a_server(app: Leg, server: Leg, wire: Wire, clock: Clock) -> None:
    def decide(payload: Payload) -> None:
        wire.observer.orders.append(Order(Direction.RECEIVED, f"re: {payload!s}"))

    wire.observer.decide = decide
    wire.observer.orders = [
        Order(Direction.RECEIVED, "hello"),
        Order(Direction.RECEIVED, SLOW),
        Order(Direction.SENT, SLOW),
        Order(Direction.RECEIVED, "slow"),
    ]
    wire.observer.holding = True
    talk = wire.open(mocked=True) << wire.start >> done << server.gets(server.peer.text("hello")) << LATER
    talk = talk >> app.says(app.peer.text("app") + app.peer.frame(Opcode.PING, b"?"))
    talk = talk >> clock.after(100) << server.gets(server.peer.text("slow")) << LATER
    answers = server.peer.text("re: app") + server.peer.frame(Opcode.PONG, b"?")
    assert talk >> clock.after(100) << server.gets(answers)


def test_conditions_begin_between_what_a_route_orders(server: Leg, wire: Wire, clock: Clock) -> None:
    def decide(_: Payload) -> None:
        wire.observer.orders += [
            Order(Direction.RECEIVED, "before"),
            Order(Direction.RECEIVED, SLOW),
            Order(Direction.RECEIVED, "after"),
        ]

    wire.observer.decide = decide
    talk = wire.started(holding=True) >> server.says(server.peer.text("go"))
    talk = talk << server.gets(server.peer.text("before")) << LATER
    assert talk >> clock.after(100) << server.gets(server.peer.text("after"))


def test_handler_changes_conditions_with_each_of_many_messages(app: Leg, wire: Wire, clock: Clock) -> None:
    def decide(payload: Payload) -> Payload:
        wire.observer.orders.append(Order(Direction.SENT, Conditions()))
        return payload

    wire.observer.decide = decide
    texts = app.peer.text("x") * 1000
    assert sent(wire.started(holding=True) >> app.says(texts)) == texts


def test_each_wakeup_is_asked_for_once(app: Leg, server: Leg, wire: Wire, clock: Clock) -> None:
    talk = wire.started() >> put_under(app, Conditions(latency=10_000))
    talk = talk >> put_under(server, Conditions(latency=1))
    talk = talk >> app.says(app.peer.text("slow")) << LATER
    for _ in range(10):
        text = server.peer.text("fast")
        talk = talk >> server.says(text) << LATER >> clock.after(1) << server.gets(text)
    assert talk


def test_socket_that_cannot_be_read_has_no_conditions(server: Leg, wire: Wire, clock: Clock) -> None:
    talk = wire.open("x-unknown") << Log << wire.start >> done
    talk = talk >> put_under(server, STALLED) << Log
    assert talk >> server.says(b"whatever") << server.gets(b"whatever")


# The end


def test_last_words_come_before_the_stall_that_follows_them(app: Leg, wire: Wire, clock: Clock) -> None:
    text = app.peer.text("last words")
    talk = wire.started() >> put_under(app, Conditions(latency=100, stall_after=1))
    talk = talk >> app.says(text) << LATER >> app.says(app.peer.text("stuck"))
    talk = talk >> events.ConnectionClosed(wire.client) >> clock.after(100) << app.gets(text)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done


def test_end_of_the_server_that_we_caused_is_not_the_end_of_the_app(
    app: Leg, server: Leg, wire: Wire, clock: Clock
) -> None:
    talk = wire.started() >> put_under(server, SLOW) >> wire.close()
    talk, _ = talk.take()
    talk = talk >> server.says(server.close_frame(3000, "bye")) >> app.says(app.close_frame())
    talk = talk << wire.drop_server << wire.end >> done >> events.ConnectionClosed(wire.server)
    assert talk >> clock.after(100) << server.gets(server.close_frame(3000, "bye")) << wire.drop_app


def test_app_does_not_see_that_the_server_is_lost_while_nothing_passes(
    app: Leg, server: Leg, wire: Wire, clock: Clock
) -> None:
    talk = stall_both(wire.started(), app)
    talk = talk >> events.ConnectionClosed(wire.server) << wire.drop_server << wire.end >> done
    assert talk >> put_under(server, Conditions()) << wire.drop_app


def test_mock_whose_app_closes_and_leaves_ends_once(app: Leg, server: Leg, wire: Wire, clock: Clock) -> None:
    wire.observer.orders = [Order(Direction.SENT, SLOW)]
    talk = wire.open(mocked=True) << wire.start >> done
    talk = talk >> app.says(app.close_frame(3000)) << LATER >> events.ConnectionClosed(wire.client)
    talk = talk >> clock.after(100) << server.gets(server.close_frame(3000)) << wire.drop_app << wire.end
    assert talk >> done


def test_app_that_leaves_is_gone_when_its_last_words_have_come(app: Leg, wire: Wire, clock: Clock) -> None:
    text = app.peer.text("last words")
    talk = wire.started() >> put_under(app, SLOW) >> app.says(text) << LATER
    talk = talk >> events.ConnectionClosed(wire.client) >> clock.after(100) << app.gets(text)
    assert talk << wire.drop_server << wire.drop_app << wire.end >> done
    assert wire.ended == (1006, None, True)


def test_app_gets_what_a_server_said_before_it_left(server: Leg, wire: Wire, clock: Clock) -> None:
    text = server.peer.text("last words")
    talk = wire.started() >> put_under(server, SLOW) >> server.says(text) << LATER
    talk = talk >> events.ConnectionClosed(wire.server) << wire.drop_server << wire.end >> done
    assert wire.ended == (1006, None, False)
    assert talk >> clock.after(100) << server.gets(text) << wire.drop_app
    assert talk >> events.ConnectionClosed(wire.client)


def test_app_gets_the_close_of_a_server_that_has_left(server: Leg, wire: Wire, clock: Clock) -> None:
    close = server.close_frame(3000)
    talk = wire.started() >> put_under(server, SLOW) >> server.says(close) << LATER
    talk = talk >> events.ConnectionClosed(wire.server) << wire.drop_server << wire.end >> done
    assert wire.ended == (3000, "", False)
    assert talk >> clock.after(100) << server.gets(close) << wire.drop_app


def stall_both(talk: Talk, app: Leg) -> Talk:
    return talk >> put_under(app, STALLED) >> put_under(app.back, STALLED)


def test_app_that_leaves_while_nothing_passes_is_gone_at_once(app: Leg, wire: Wire, clock: Clock) -> None:
    talk = stall_both(wire.started(), app) >> app.says(app.peer.text("stuck"))
    talk = talk >> events.ConnectionClosed(wire.client) << wire.drop_server << wire.drop_app << wire.end
    assert talk >> done


@pytest.mark.parametrize(
    "ending",
    [
        lambda wire: events.ConnectionClosed(wire.client),
        lambda wire: Aborted(wire.flow, "no traffic"),
    ],
    ids=["it leaves", "it is cut"],
)
def test_app_does_not_see_the_end_while_nothing_passes(
    app: Leg, server: Leg, wire: Wire, clock: Clock, ending: Callable[[Wire], Any]
) -> None:
    talk = stall_both(wire.started(), app) >> server.says(server.close_frame(3000))
    talk = talk >> events.ConnectionClosed(wire.server) << wire.drop_server << wire.end >> done
    talk = (
        talk
        >> app.says(app.peer.text("anybody there?"))
        >> OrderInjected(wire.flow, Order(Direction.RECEIVED, "nobody"))
    )
    assert talk >> ending(wire) << wire.drop_app


def test_app_sees_the_end_when_something_passes_again(
    app: Leg, server: Leg, wire: Wire, clock: Clock
) -> None:
    close = server.close_frame(3000)
    talk = stall_both(wire.started(), app) >> server.says(close)
    talk = talk >> events.ConnectionClosed(wire.server) << wire.drop_server << wire.end >> done
    assert talk >> put_under(app, Conditions())
    talk = talk >> put_under(server, Conditions()) << LATER
    assert talk >> clock.after(0) << server.gets(close) << wire.drop_app


def test_cut_waits_for_nothing(leg: Leg, wire: Wire, clock: Clock) -> None:
    talk = wire.started() >> put_under(leg, SLOW) >> leg.says(leg.peer.text("late")) << LATER
    late = clock.after(100)
    talk = talk >> Aborted(wire.flow, "no traffic") << wire.drop_server << wire.drop_app << wire.end >> done
    assert talk >> late


def test_close_of_ours_goes_behind_what_is_under_way(server: Leg, wire: Wire, clock: Clock) -> None:
    text, close = server.peer.text("late"), server.close_frame(3000, "bye")
    talk = wire.started() >> put_under(server, SLOW) >> server.says(text) << LATER
    talk = talk >> OrderInjected(wire.flow, Order(Direction.RECEIVED, Close(3000, "bye"))) << wire.timer
    assert sent(talk >> clock.after(100)) == text + close


# Any change at any time

NETWORKS = (
    Conditions(),
    SLOW,
    STALLED,
    Conditions(latency=30, jitter=25),
    Conditions(bytes_per_second=2_000),
    Conditions(stall_after=2),
)


def stream(leg: Leg, luck: Random) -> tuple[list[str], bytes]:
    """Messages, and how their source says them: some compressed, some in fragments with a ping between."""
    peer, data = leg.peer, b""
    texts = [f"message {number} of many, {'again ' * luck.randrange(20)}" for number in range(12)]
    for text in texts:
        is_compressed = peer.compression is not None and luck.random() < 0.8
        payload = peer.deflate(text.encode()) if is_compressed else text.encode()
        cut = luck.randrange(len(payload))
        parts = [payload[:cut], payload[cut:]] if luck.random() < 0.6 else [payload]
        first, *rest = peer.fragments(Opcode.TEXT, *parts, rsv1=is_compressed)
        data += first + b"".join(peer.frame(Opcode.PING, b"?") + fragment for fragment in rest)
    return texts, data


@pytest.mark.parametrize("extensions", ["", "permessage-deflate"])
@pytest.mark.parametrize("seed", range(25))
def test_networks_that_change_at_any_time_lose_nothing_and_keep_the_order(
    wire: Wire, clock: Clock, seed: int, extensions: str
) -> None:
    luck = Random(seed)
    talk = wire.started(extensions)
    legs = [Leg(wire, direction) for direction in Direction]
    streams = {leg.direction: stream(leg, luck) for leg in legs}
    unsaid = {direction: data for direction, (_, data) in streams.items()}
    got: dict[Direction, bytes] = dict.fromkeys(Direction, b"")

    def tell(event: events.Event) -> None:
        for said in turns(talk >> event):
            for command in said:
                if isinstance(command, SendData):
                    is_sent = command.connection is wire.server
                    got[Direction.SENT if is_sent else Direction.RECEIVED] += command.data

    def timers() -> object:
        network = wire.layer._socket.network
        return network and network._timers

    while any(unsaid.values()):
        leg, act = luck.choice(legs), luck.random()
        if act < 0.2:
            tell(put_under(leg, luck.choice(NETWORKS)))
        elif act < 0.4 and timers():
            tell(clock.after(luck.randrange(200)))
        else:
            size = luck.randrange(1, 60)
            data, unsaid[leg.direction] = unsaid[leg.direction][:size], unsaid[leg.direction][size:]
            tell(leg.says(data))
    for leg in legs:
        tell(put_under(leg, Conditions()))
    while timers():
        tell(clock.after(60_000))
    for leg in legs:
        texts, data = streams[leg.direction]
        received = leg.peer.reader().feed(got[leg.direction])
        messages = [getattr(each, "payload", each) for each in received if not isinstance(each, ControlFrame)]
        assert messages == texts
        pings = [each for each in leg.peer.reader().feed(data) if isinstance(each, ControlFrame)]
        assert [each for each in received if isinstance(each, ControlFrame)] == pings
