"""What people can do to sockets in mitmweb and the console."""

import pytest
from mitmproxy import ctx
from mitmproxy.exceptions import CommandError
from mitmproxy.types import CommandTypes

from support.raw import RawSocket, raw_socket
from support.recording import Recording, Recordings
from wirewright import Proxy


def run(line: str) -> object:
    return ctx.master.commands.execute(line)


def name_of(seen: Recording) -> str:
    return f"{seen.ws.url}#{seen.ws.flow.id[:8]}"


async def test_sockets_are_listed_while_they_are_open(proxy: Proxy, recordings: Recordings) -> None:
    assert run("ws.list") == []
    async with raw_socket(proxy.port, path="/a") as first, raw_socket(proxy.port, path="/b"):
        names = [name_of(seen) for seen in recordings.all]
        assert run("ws.list") == names
        assert [name.partition("#")[0].rpartition("/")[2] for name in names] == ["a", "b"]
        first.app.hang_up()
        await recordings.all[0].closed.wait()
        assert run("ws.list") == names[1:]


async def test_console_completes_sockets_and_ends(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port):
        commands = ctx.master.commands
        for parameter, options in zip(
            commands.commands["ws.send"].parameters[:2],
            ([name_of(recordings.only)], ["client", "server"]),
            strict=True,
        ):
            kind = CommandTypes.get(parameter.type, None)
            assert kind is not None
            assert list(kind.completion(commands, parameter.type, "")) == options


async def test_each_end_is_sent_a_message(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port) as socket:
        name = name_of(recordings.only)
        run(f"ws.send {name} client 'hello app'")
        run(f"ws.send {name} server 'hello server'")
        assert await socket.app.message() == "hello app"
        assert await socket.server.message() == "hello server"


@pytest.mark.parametrize(
    ("arguments", "ending"), [("", (1000, "")), ("3001", (3001, "")), ("4000 'bye é'", (4000, "bye é"))]
)
async def test_socket_is_closed(
    proxy: Proxy, recordings: Recordings, arguments: str, ending: tuple[int, str]
) -> None:
    async with raw_socket(proxy.port) as socket:
        run(f"ws.close {name_of(recordings.only)} {arguments}")
        for end in (socket.app, socket.server):
            assert await end.ending() == ending


async def test_socket_is_cut(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port) as socket:
        run(f"ws.abort {name_of(recordings.only)}")
        assert [await socket.app.rest(), await socket.server.rest()] == [b"", b""]
    seen = recordings.only
    await seen.closed.wait()
    assert (seen.ws.close_code, seen.ws.closed_by) == (1006, "proxy")


async def test_bad_input_is_told_in_one_sentence(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port) as socket:
        name = name_of(recordings.only)
        for line, said in (
            (f"ws.close {name} 1006", "code must be 1000 or 3000 to 4999, not 1006"),
            (f"ws.close {name} 1000 '{'x' * 124}'", "123 bytes"),
            ("ws.close ws://nowhere/#0", "Invalid choice"),
            (f"ws.send {name} nobody hello", "Invalid choice"),
        ):
            with pytest.raises(CommandError, match=said):
                run(line)
        await still_open(socket)


async def still_open(socket: RawSocket) -> None:
    await socket.app.send("hello")
    assert await socket.server.message() == "hello"
