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
from wirewright.model.context_filter import ContextFilter
from wirewright.model.history import HistoryLimit
from wirewright.model.ownership import Owner
from wirewright.printable import get_logger
from wirewright.state import app_connections, tls_failures

logger = get_logger(__name__)


class MitmproxyHost:
    """The mitmproxy that this addon runs in."""

    def __init__(self, outage: Outage) -> None:
        self.begin_outage, self.end_outage = outage.begin, outage.end
        self.capture = CaptureSession()
        """The captures of the proxy itself."""
        self._captures: dict[ContextFilter | None, CaptureSession] = {None: self.capture}

    def start_capture(self, path: Path, context: ContextFilter | None, **options: Any) -> None:
        if context not in self._captures:
            self._captures[context] = CaptureSession(context)
        self._captures[context].start(path, **options)

    def stop_capture(self, context: ContextFilter | None) -> None:
        if context in self._captures:
            self._captures[context].stop()
        if context is not None:
            self._captures.pop(context, None)

    def annotate(self, text: str, context: ContextFilter | None) -> None:
        self._captures.get(context, CaptureSession(context)).annotate(text)  # which raises CaptureError

    def forget(self, owner: Owner) -> None:
        for capture in self._captures.values():
            capture.forget(owner)
        self.end_outage(holder=owner)

    def stop_captures(self) -> None:
        """End all captures."""
        for capture in self._captures.values():
            capture.stop()

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
