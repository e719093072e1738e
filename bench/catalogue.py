"""What is measured, in the order of the table."""

from bench.bench_run import Scale
from bench.carriers import (
    BARE,
    BARE_CHANGING,
    HOOK_CHANGING,
    LAUNCHED_ASYNC,
    LAUNCHED_ASYNC_LISTENER,
    LAUNCHED_SYNC,
    LAUNCHED_SYNC_LISTENER,
    LISTENER,
    MOCKED,
    NO_LISTENER,
    OTHER,
    RECORDING,
    ROUTE_CHANGING,
    SEARCHING,
    STALLED,
    UNMATCHED,
)
from bench.measure import AND_RELAYS, KB, MB, Measure
from bench.memory_measures import (
    MANY,
    IdleSockets,
    ManyAtOnce,
    MemoryOfMany,
    MemoryOfOne,
    MemoryOfRecording,
    Mocks,
    StalledReader,
)
from bench.sender import Order
from bench.speed_measures import PingPong, Recorded, Speed

CHANGING = (BARE_CHANGING.name, HOOK_CHANGING.name, ROUTE_CHANGING.name)


def measures(scale: Scale) -> list[Measure]:
    """All of them, in the order of the table."""
    return [
        Speed("flood", "server to app, 100-byte text", AND_RELAYS, times_processor=True),
        Speed("flood-ws", "the same over plain `ws://`", scheme="ws"),
        Speed("flood-up", "app to server, 100-byte text", order=Order("sink", 0, 100)),
        Speed("flood-8", "server to app, 100-byte text, 8 sockets at once", AND_RELAYS, sockets=8),
        Speed(
            "flood-16k",
            "server to app, 16 KB text",
            AND_RELAYS,
            order=Order("flood", 0, 16 * KB),
            times_processor=True,
        ),
        Speed(
            "flood-1m",
            "server to app, 1 MB binary",
            AND_RELAYS,
            order=Order("flood", 0, MB, binary=True),
            times_processor=True,
        ),
        Speed("flood-64m", "server to app, 64 MB binary", order=Order("flood", 0, 64 * MB, binary=True)),
        PingPong(
            "ping-pong",
            "round trip of 100 bytes",
            AND_RELAYS,
            order=Order("echo", 0, 100),
            times_processor=True,
        ),
        Speed(
            "changing",
            "server to app, 100-byte text, each message changed",
            carriers=CHANGING,
            base=BARE_CHANGING.name,
            must_change=True,
        ),
        MemoryOfMany("memory-many", f"memory after {scale.many:,} messages on one socket"),
        MemoryOfOne("memory-large", f"memory while one message of {scale.large // MB:,} MB passes"),
        StalledReader(
            "stalled", f"memory while {scale.stalled // MB:,} MB are sent to a reader that has stopped"
        ),
        IdleSockets("idle", f"{scale.sockets:,} idle sockets"),
        Speed(
            "flood-routes",
            "server to app, 100-byte text",
            carriers=(LISTENER.name, UNMATCHED.name),
            base=LISTENER.name,
        ),
        Speed(
            "flood-searched",
            "server to app, 100-byte text, while `next_frame` looks for one that does not come",
            carriers=(LISTENER.name, SEARCHING.name),
            base=LISTENER.name,
        ),
        PingPong(
            "ping-pong-mock",
            "round trip of 100 bytes with a mock",
            carriers=(LISTENER.name, MOCKED.name),
            base=LISTENER.name,
            order=Order("echo", 0, 100),
        ),
        ManyAtOnce(
            "mocks-at-once",
            f"answers of {MANY:,} sockets that are open at the same time",
            carriers=(LISTENER.name, MOCKED.name),
            base=LISTENER.name,
        ),
        Speed(
            "flood-remote",
            "server to app, 100-byte text, beside a client in another process",
            carriers=(NO_LISTENER.name, OTHER.name, STALLED.name),
            base=NO_LISTENER.name,
        ),
        Speed(
            "flood-launched",
            "server to app, 100-byte text, in a test's own process",
            carriers=(
                LAUNCHED_ASYNC.name,
                LAUNCHED_SYNC.name,
                LAUNCHED_ASYNC_LISTENER.name,
                LAUNCHED_SYNC_LISTENER.name,
            ),
            base=LAUNCHED_ASYNC.name,
        ),
        Recorded(
            "flood-recorded",
            "server to app, 100-byte text, recorded",
            carriers=(BARE.name, LISTENER.name, RECORDING.name),
        ),
        MemoryOfRecording(
            "memory-recorded",
            f"most memory while {scale.recorded:,} messages are recorded",
            carriers=(RECORDING.name,),
        ),
        Mocks(
            "memory-mocks",
            f"memory after {scale.mocks:,} sockets that were opened and closed, from the first 1,000 on",
            carriers=(LISTENER.name, MOCKED.name),
            base=LISTENER.name,
        ),
    ]
