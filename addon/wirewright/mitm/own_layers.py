"""Puts Wirewright's layers into mitmproxy, if they work there."""

from wirewright.mitm import admission
from wirewright.mitm.patches import installation, websocket_layer
from wirewright.mitm.patches.table import SPLICE_TABLE
from wirewright.mitm.trial_socket import try_layer
from wirewright.printable import get_logger

logger = get_logger(__name__)


def install() -> str | None:
    """Change mitmproxy so that Wirewright's layers carry WebSockets.

    Returns None, or the reason why that does not work in this mitmproxy, which then is not changed.
    """
    installation.uninstall()  # mitmproxy's own objects are checked
    if missing := installation.missing_internal():
        return f"this mitmproxy has no {missing}"
    try:
        installation.install()
        try_layer()
    except Exception as error:
        installation.uninstall()
        return f"a socket that was tried in memory failed ({type(error).__name__}: {error})"
    websocket_layer.observe_with(admission.admit)
    websocket_layer.call_when_open(_splicing())
    return None


def _splicing() -> websocket_layer.Opened:
    """The function that splices an open socket. It does nothing if this mitmproxy is not as expected."""
    missing = installation.missing_internal(SPLICE_TABLE)
    try:
        from wirewright.mitm.splice import takeover  # it imports what a mitmproxy may not have
    except (ImportError, AttributeError) as error:
        missing = str(error)
    if missing is None:
        return takeover.splice_soon
    logger.warning(
        "Wirewright carries WebSockets through mitmproxy's layers (ws_splice=false): "
        "this mitmproxy has no %s",
        missing,
    )
    return websocket_layer.do_nothing
