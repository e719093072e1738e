"""What users find in our classes."""

from wirewright.model.emitter import Emitter
from wirewright.model.waiting_methods import ProxyWaits, SocketWaits


def members(kind: type) -> set[str]:
    """What a class of ours adds to pyee's emitter."""
    ours = [base for base in kind.__mro__ if base in (kind, Emitter, ProxyWaits, SocketWaits)]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}
