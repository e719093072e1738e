"""mitmproxy's commands for sockets, for people in mitmweb and the console: `:ws.send`, ...

A socket goes by its URL and the beginning of its flow's id, which the console completes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mitmproxy import command, exceptions, types

from wirewright.model.errors import Error
from wirewright.model.websocket import WebSocket
from wirewright.state import control

ID_LENGTH = 8
"""How much of a flow's id tells sockets of one URL apart."""
ENDS = ("client", "server")


class SocketCommands:
    """Act on a socket that is open."""

    name = "wirewright-commands"

    @command.command("ws.list")
    def list_sockets(self) -> Sequence[str]:
        """The sockets that are open now, oldest first."""
        return list(_open_sockets())

    @command.command("ws.ends")
    def list_ends(self) -> Sequence[str]:
        """The two ends of a socket."""
        return ENDS

    @command.command("ws.send")
    @command.argument("socket", type=types.Choice("ws.list"))
    @command.argument("end", type=types.Choice("ws.ends"))
    def send(self, socket: str, end: str, message: str) -> None:
        """Send one end of a socket a text message, as if the other end had."""
        opened = _socket(socket)
        _try(lambda: opened.send_to_client(message) if end == "client" else opened.send_to_server(message))

    @command.command("ws.close")
    @command.argument("socket", type=types.Choice("ws.list"))
    def close(self, socket: str, code: int = 1000, reason: str = "") -> None:
        """Close a socket on both ends, with a code (1000, or 3000 to 4999) and a reason."""
        _try(lambda: _socket(socket).close(code, reason))

    @command.command("ws.abort")
    @command.argument("socket", type=types.Choice("ws.list"))
    def abort(self, socket: str) -> None:
        """Cut a socket's connections with no close frame."""
        _try(lambda: _socket(socket).abort())

    @command.command("ws.capture.start")
    def start_capture(self, path: types.Path) -> None:
        """Record all sockets in a file; a capture that is there gets another session."""
        _try(lambda: control.proxy.start_capture(Path(str(path)).expanduser()))

    @command.command("ws.capture.annotate")
    def annotate_capture(self, text: str) -> None:
        """Put a remark into the capture that runs."""
        _try(lambda: control.proxy.annotate(text))

    @command.command("ws.capture.stop")
    def stop_capture(self) -> None:
        """Record no more."""
        control.proxy.stop_capture()


def _open_sockets() -> dict[str, WebSocket]:
    return {
        f"{socket.url}#{key[:ID_LENGTH]}": socket
        for key, socket in control.sockets()
        if socket.opened_at is not None
    }


def _socket(name: str) -> WebSocket:
    socket = _open_sockets().get(name)
    if socket is None:
        raise exceptions.CommandError(f"no socket {name} is open: ws.list has those that are")
    return socket


def _try(act: Callable[[], object]) -> None:
    try:
        act()
    except (Error, ValueError) as error:
        raise exceptions.CommandError(str(error)) from None
