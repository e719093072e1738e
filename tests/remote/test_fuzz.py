"""Whatever a client sends, the server ends it with a code and a reason, and goes on."""

import asyncio
import gc
import logging
import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.memory_transport import memory_connections
from support.routes import app
from support.servers import serving
from wirewright import Proxy
from wirewright.remote import protocol
from wirewright.remote.codec import JSON, MESSAGEPACK, Codec, MessagePackCodec, make_codec
from wirewright.remote.connection import Disconnected
from wirewright.remote.protocol import FromClient
from wirewright.remote.server import RemoteServer
from wirewright.state import control
from wirewright.values import Direction

MESSAGES = int(os.environ.get("WIREWRIGHT_FUZZ", "3000"))
"""WIREWRIGHT_FUZZ=100000 for the whole run: some minutes."""

SUBSCRIBE = protocol.Subscribe(protocol.Glob(""))
CORPUS = [
    SUBSCRIBE,
    protocol.Send("hello", 1, "key", direction=Direction.RECEIVED),
    protocol.Send(b"\xff" * 50, 2, "key", direction=Direction.SENT),
    protocol.Close(3, "key", 1000, "bye", "client"),
    protocol.Abort(4, "key", "rst"),
    protocol.Route(5, 1, protocol.Glob("**/never"), 3, 10.0, "pass"),
    protocol.Route(6, 2, protocol.Regex("never$", 2), None, 10.0, "drop"),
    protocol.Route(12, 4, protocol.Globs(["**/never", "**/{a,b}"]), None, 10.0, "pass"),
    protocol.Route(7, 3, protocol.Function(), 1, 10.0, "pass"),
    protocol.OpenContext(13, 1, protocol.Device("127.0.0.1", 8080, "ann")),
    protocol.OpenContext(14, 2, protocol.Device(user="bob"), 1),
    protocol.Route(15, 5, protocol.Glob("**/never"), None, 10.0, "pass", 1),
    protocol.CloseContext(16, 1),
    protocol.Unroute(8, 1),
    protocol.Verdict(1, is_meant=True),
    protocol.Decided("key", protocol.Connect([("a", "b"), ("c", None)], None)),
    protocol.Decided("key", protocol.Reject(403, [("A", "b"), ("a", "\xff")], b"no")),
    protocol.Handlers("key", app_messages=True, app_end=True, server_messages=False, server_end=False),
    protocol.RouteSend("x", "key", direction=Direction.RECEIVED),
    protocol.RouteClose("key", Direction.RECEIVED, 1005, ""),
    protocol.Conditions(13, "key", Direction.RECEIVED, {"latency": 1.0, "seed": None}),
    protocol.RouteAbort("key", "rst"),
    protocol.Handled("key", 1, direction=Direction.SENT),
    protocol.StopCapture(9),
    protocol.Annotate(10, "remark"),
    protocol.CountApps(11),
]
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "é" * 10,
    b"",
    b"\x00",
    [],
    {},
    [[[]]],
    {"a": {}},
]


def mutated(luck: random.Random, codec: Codec) -> list[str | bytes]:
    """A message in which something is not as it should be."""
    message = luck.choice(CORPUS)
    if luck.random() < 0.5:
        data = codec.encode(message)
        at = luck.randrange(len(data))
        data[at] = _damaged(luck, data[at])
        return data
    fields = msgspec.to_builtins(message, builtin_types=(bytes,))
    for _ in range(luck.randint(1, 3)):
        name = luck.choice([*fields, "more"])
        if luck.random() < 0.3:
            fields.pop(name, None)
        else:
            fields[name] = luck.choice(VALUES)
    if isinstance(codec, MessagePackCodec):
        try:
            return [msgspec.msgpack.encode(fields)]
        except OverflowError:
            return [b"\xc1"]
    return [msgspec.json.encode(fields).decode()]


def _damaged(luck: random.Random, data: str | bytes) -> str | bytes:
    raw = bytearray(data.encode() if isinstance(data, str) else data)
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(raw) + 1)
        match luck.randrange(4):
            case 0 if raw:
                raw[at % len(raw)] = luck.randrange(256)
            case 1:
                raw.insert(at, luck.randrange(256))
            case 2:
                del raw[at:]
            case _:
                raw[at:at] = raw[: luck.randrange(20)]
    return raw.decode(errors="replace") if isinstance(data, str) else bytes(raw)


async def _attack(server: RemoteServer, luck: random.Random, codes: set[int]) -> None:
    """One client, until it is sent away or has said enough."""
    far, near = memory_connections()
    far.subprotocol = luck.choice((MESSAGEPACK, JSON))
    codec = make_codec(far.subprotocol, FromClient)
    serving_it = asyncio.ensure_future(server.serve(far))
    try:
        if luck.random() < 0.9:
            for data in codec.encode(SUBSCRIBE):
                await near.send(data)
        for _ in range(10):
            for data in mutated(luck, codec):
                await near.send(data)
                await asyncio.sleep(0)  # the server does something about it
    except Disconnected as end:
        codes.add(end.code)
    await near.close(1000, "")
    await serving_it  # an exception that escapes is raised here


async def test_mutated_messages_hurt_nobody(
    launched: Proxy, confdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    gc.collect()  # of earlier tests
    server, luck = RemoteServer(control), random.Random(6455)
    codes: set[int] = set()
    clients = MESSAGES // 10
    async with serving() as url, app(launched, url) as client:
        for number in range(clients):
            if number == clients // 10:
                gc.collect()
                tracemalloc.start()
                before = tracemalloc.get_traced_memory()[0]
            await _attack(server, luck, codes)
            if number % 50 == 0:
                await client.send(str(number))
                assert await client.recv() == str(number)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    server.stop()
    assert codes <= {1000, 1002, 1003, 1007}
    assert not server._sessions
    assert not launched._state.routes.rules
    assert grown < 1_000_000
    assert [record for record in caplog.records if record.name.startswith("wirewright")] == []
