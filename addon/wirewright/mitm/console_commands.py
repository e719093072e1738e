"""mitmproxy's commands for sockets, for people in mitmweb and the console: `:ws.send`, ...

A socket goes by its URL and the beginning of its flow's id, which the console completes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mitmproxy import command, ctx, exceptions, types
from mitmproxy.log import ALERT

from wirewright.model.errors import Error
from wirewright.model.websocket import WebSocket
from wirewright.printable import get_logger, printable
from wirewright.state import control

logger = get_logger(__name__)

ID_LENGTH = 8
"""How much of a flow's id tells sockets of one URL apart."""
ENDS = ("client", "server")
FLOWS = ("@focus", "@marked", "@shown", "@all")
"""mitmproxy's names of flows in its views."""


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

    @command.command("ws.choices")
    def list_choices(self) -> Sequence[str]:
        """Values that the other commands take for a socket: an open socket, or flows of the view."""
        has_view = ctx.master.addons.get("view") is not None
        return [*_open_sockets(), *(FLOWS if has_view else ())]

    @command.command("ws.send")
    @command.argument("socket", type=types.Choice("ws.choices"))
    @command.argument("end", type=types.Choice("ws.ends"))
    def send(self, socket: str, end: str, message: str) -> None:
        """Send one end of a socket a text message, as if the other end had."""
        for name, opened in _chosen(socket).items():
            sending = opened.send_to_client if end == "client" else opened.send_to_server
            _try(partial(sending, message))
            logger.log(ALERT, "Sent %r to the %s of %s", message, end, name)

    @command.command("ws.close")
    @command.argument("socket", type=types.Choice("ws.choices"))
    def close(self, socket: str, code: int = 1000, reason: str = "") -> None:
        """Close a socket on both ends, with a code such as 1000 or 1011, and a reason."""
        for name, opened in _chosen(socket).items():
            _try(partial(opened.close, code, reason))
            logger.log(ALERT, "Closed %s with code %d", name, code)

    @command.command("ws.abort")
    @command.argument("socket", type=types.Choice("ws.choices"))
    def abort(self, socket: str) -> None:
        """Cut a socket's connections with no close frame."""
        for name, opened in _chosen(socket).items():
            _try(opened.abort)
            logger.log(ALERT, "Cut the connections of %s", name)

    @command.command("ws.capture.start")
    def start_capture(self, path: types.Path) -> None:
        """Record all sockets in a file; a capture that is there gets another session."""
        _try(lambda: control.proxy.start_capture(Path(str(path)).expanduser()))
        logger.log(ALERT, "Recording all WebSockets in %s", path)

    @command.command("ws.capture.annotate")
    def annotate_capture(self, text: str) -> None:
        """Put a remark into the capture that runs."""
        _try(lambda: control.proxy.annotate(text))
        logger.log(ALERT, "The remark is in the capture")

    @command.command("ws.capture.stop")
    def stop_capture(self) -> None:
        """Record no more."""
        control.proxy.stop_capture()
        logger.log(ALERT, "No WebSocket is recorded now")


def _open_sockets() -> dict[str, WebSocket]:
    return {
        f"{printable(socket.url)}#{key[:ID_LENGTH]}": socket
        for key, socket in control.sockets()
        if socket.opened_at is not None
    }


def _chosen(name: str) -> dict[str, WebSocket]:
    """The open sockets that a command's argument chooses, by name. Raises CommandError if there is none."""
    opened = _open_sockets()
    if name not in FLOWS:
        meant = {name: opened[name]} if name in opened else {}
    else:
        flows = {flow.id for flow in ctx.master.commands.call("view.flows.resolve", name)}
        meant = {each: socket for each, socket in opened.items() if socket.flow.id in flows}
    if not meant:
        raise exceptions.CommandError(f"no open WebSocket matches {name}: ws.list shows those that are open")
    return meant


def _try(act: Callable[[], object]) -> None:
    try:
        act()
    except (Error, ValueError) as error:
        raise exceptions.CommandError(str(error)) from None
