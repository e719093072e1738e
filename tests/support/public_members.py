"""What users find in our classes."""

from wirewright.model.emitter import Emitter
from wirewright.model.route import WebSocketRoute
from wirewright.model.waiter import WaitingEmitter

FOR_US = {
    *("ENDS", "EVENTS", "check_event", "emit_each", "forget", "listen", "put_behind", "replay"),
    *(
        "answers_the_app",
        "closed",
        "decided",
        "handles_close",
        "handles_messages",
        "is_connected",
        "is_decided",
        "opened",
        "receive",
        "run",
        "server",
        "socket",
        "stand_in_for_server",
    ),
}
"""Public to our other modules, and of no use to a user."""


def members(kind: type) -> set[str]:
    """What a class of ours adds to pyee's emitter."""
    ours = [base for base in kind.__mro__ if base in (kind, WebSocketRoute, WaitingEmitter, Emitter)]
    return {name for base in ours for name in vars(base) if not name.startswith("_")} - FOR_US
