"""The running mitmproxy, as `wirewright.proxy` sees it."""

import sys
from pathlib import Path
from typing import Any

from mitmproxy import ctx

from wirewright.capture.replay.as_server import Replay
from wirewright.mitm.capture_session import CaptureSession
from wirewright.mitm.flow_socket import proxyserver
from wirewright.mitm.outage import Outage
from wirewright.model.app_connections import AppsSeen
from wirewright.model.history import HistoryLimit
from wirewright.model.ownership import Owner
from wirewright.printable import get_logger
from wirewright.state import app_connections, tls_failures

logger = get_logger(__name__)


class MitmproxyHost:
    """The mitmproxy that this addon runs in."""

    def __init__(self, capture: CaptureSession, outage: Outage) -> None:
        self.start_capture, self.stop_capture = capture.start, capture.stop
        self.annotate = capture.annotate
        self.begin_outage, self.end_outage = outage.begin, outage.end
        self._capture = capture

    def forget(self, owner: Owner) -> None:
        self._capture.forget(owner)
        self.end_outage(owner)

    async def apps_seen(self) -> AppsSeen:
        return AppsSeen.now(app_connections, tls_failures)

    def replay(self, path: Path, **options: Any) -> Replay:
        if ctx.options.connection_strategy == "eager":
            logger.warning(
                "connection_strategy is eager: the server of a wss:// or tunnelled socket is still contacted "
                "before %s can answer; set it to lazy",
                path,
            )
        return Replay(path, **options)

    @property
    def port(self) -> int | None:
        addresses = proxyserver().listen_addrs()
        return addresses[0][1] if addresses else None

    @property
    def ca_certificate(self) -> Path:
        return Path(ctx.options.confdir).expanduser() / "mitmproxy-ca-cert.pem"

    @property
    def history(self) -> HistoryLimit:
        return history_limit()


def history_limit(*, keep_all: bool = False) -> HistoryLimit:
    """The limit that the options set; without them, and with `keep_all`, there is none."""
    messages, size = ctx.options.ws_history, ctx.options.ws_history_bytes
    if messages is None and size is None and keep_all:
        return HistoryLimit(sys.maxsize, sys.maxsize)
    default = HistoryLimit()
    return HistoryLimit(
        default.messages if messages is None else messages, default.size if size is None else size
    )
