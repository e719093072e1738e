"""What people can do to sockets in mitmweb and the console."""

from pathlib import Path

import pytest
import websockets
from mitmproxy import ctx
from mitmproxy.addons.view import View
from mitmproxy.exceptions import CommandError
from mitmproxy.log import ALERT
from mitmproxy.types import CommandTypes

from support.event_log import Recording, Recordings
from support.processes import ADDON, BIN
from support.raw_peers import RawSocket, raw_socket
from support.scripts import write_script
from support.servers import serving
from support.terminals import terminal
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


@pytest.fixture
def view(proxy: Proxy) -> View:
    """The list of flows of the console and of mitmweb."""
    view = View()
    ctx.master.addons.add(view)
    return view


def alerts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The text in the status line of the console."""
    return [record.getMessage() for record in caplog.records if record.levelno == ALERT]


async def test_the_flow_in_focus_is_a_socket(
    view: View, proxy: Proxy, recordings: Recordings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(ALERT)
    async with raw_socket(proxy.port, path="/a") as first, raw_socket(proxy.port, path="/b") as second:
        names = [name_of(seen) for seen in recordings.all]
        run("ws.send @focus client 'to the first'")
        assert await first.app.message() == "to the first"
        view.focus.flow = recordings.all[1].ws.flow
        run("ws.send @focus server 'to the second'")
        assert await second.server.message() == "to the second"
        run("ws.close @focus 3001 bye")
        assert await second.app.ending() == (3001, "bye")
        view.focus.flow = recordings.all[0].ws.flow
        run("ws.abort @focus")
        assert await first.app.rest() == b""
    assert alerts(caplog) == [
        f"Sent 'to the first' to the client of {names[0]}",
        f"Sent 'to the second' to the server of {names[1]}",
        f"Closed {names[1]} with code 3001",
        f"Cut the connections of {names[0]}",
    ]


async def test_several_flows_of_the_view_are_sockets(
    view: View, proxy: Proxy, recordings: Recordings
) -> None:
    async with raw_socket(proxy.port, path="/a") as first, raw_socket(proxy.port, path="/b") as second:
        run("ws.send @all client hello")
        assert [await first.app.message(), await second.app.message()] == ["hello", "hello"]
        recordings.all[1].ws.flow.marked = ":default:"
        run("ws.send @marked client marked")
        assert await second.app.message() == "marked"
        await first.server.send("only this")
        assert await first.app.message() == "only this"


async def test_the_view_is_offered_where_there_is_one(view: View, proxy: Proxy) -> None:
    async with raw_socket(proxy.port):
        choices = run("ws.choices")
        assert isinstance(choices, list)
        assert choices[1:] == ["@focus", "@marked", "@shown", "@all"]


async def test_a_flow_in_focus_that_is_no_open_socket_is_refused(view: View, proxy: Proxy) -> None:
    with pytest.raises(
        CommandError, match=r"no open WebSocket matches @focus: ws\.list shows those that are open"
    ):
        run("ws.send @focus client hello")


async def test_capture_commands_say_what_they_did(
    proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(ALERT)
    path = tmp_path / "session.db"
    run(f"ws.capture.start {path}")
    run("ws.capture.annotate hello")
    run("ws.capture.stop")
    assert alerts(caplog) == [
        f"Recording all WebSockets in {path}",
        "The remark is in the capture",
        "No WebSocket is recorded now",
    ]


async def test_the_console_sends_to_the_flow_in_focus(confdir: Path, tmp_path: Path) -> None:
    script = write_script(
        tmp_path / "script.py",
        "from wirewright import proxy\ndef running():\n    print('PORT', proxy.port, '.', flush=True)\n",
    )
    options = ("--listen-host", "127.0.0.1", "-p", "0", "--set", f"confdir={confdir}")
    async with terminal(BIN / "mitmproxy", *options, "-s", ADDON, "-s", script) as screen, serving() as url:
        port = (await screen.shows(r"PORT (\d+) \."))[1]
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}") as client:
            await client.send("first")
            assert await client.recv() == "first"
            screen.type(":ws.send @focus client hi\r")
            assert await client.recv() == "hi"
            await screen.shows("Sent 'hi' to the client of")


async def test_bad_input_is_told_in_one_sentence(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port) as socket:
        name = name_of(recordings.only)
        for line, said in (
            (f"ws.close {name} 1006", "code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999, not 1006"),
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
