"""mitmdump with Wirewright and its timeline, as `wirewright run` starts it."""

import logging
import os
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from mitmproxy import ctx
from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options
from mitmproxy.optmanager import load_paths
from mitmproxy.tools import cmdline, main
from mitmproxy.tools.dump import DumpMaster
from rich.console import Console

from wirewright.capture.redaction import Redaction
from wirewright.cli.banner import greeting
from wirewright.cli.program import USAGE
from wirewright.cli.timeline import Timeline
from wirewright.mitm.addon import WirewrightAddon
from wirewright.mitm.mode_rights import missing_right
from wirewright.mitm.remote_addon import RemoteAddon
from wirewright.mitm.unsafe_options import UnsafeOptionsCheck
from wirewright.model.matching import UrlMatch
from wirewright.printable import PrintableRecords, printable
from wirewright.state import control, tls_failures

PROGRAM = "wirewright"
LAST_PORT = 65535
DEFAULTS = {
    "connection_strategy": "lazy",  # a server that cannot be reached is then seen as its socket's failure
    "flow_detail": 0,  # the timeline says it better
    "termlog_verbosity": "warn",
}


def run_mitmdump(
    arguments: Sequence[str],
    *,
    url: UrlMatch | None = None,
    max_preview: int | None = None,
    quiet: bool = False,
    config: Path | None = None,
    remark: str | None = None,
) -> None:
    """Run until it is interrupted. `arguments` are mitmdump's own; they and `config` win over `DEFAULTS`."""
    arguments = list(arguments)
    if config is not None and config.is_dir():
        arguments = ["--set", f"confdir={config}", *arguments]
    addons: list[object] = [checks := StartChecks()]
    if not quiet:
        terminal = Terminal(file=sys.stdout)
        timeline = Timeline(control, tls_failures, terminal, url=url, max_preview=max_preview)
        addons.append(TimelineAddon(timeline, remark))
        # Other output, mitmproxy's log included, comes after the waiting lines.
        sys.stdout, sys.stderr = OrderedStream(sys.stdout, timeline), OrderedStream(sys.stderr, timeline)
    logging.getLogger("mitmproxy.proxy.server").addFilter(HandshakeFailureFilter(is_shown=quiet))
    try:
        sys.argv[0] = PROGRAM  # mitmproxy's messages begin with it
        make_master = partial(_make_master, config=config, addons=addons)
        main.run(make_master, cmdline.mitmdump, arguments, checks.read)  # type: ignore[arg-type]
    except SystemExit as end:
        reason = end.__context__  # mitmproxy ends with 1 for every mistake, and for `--version`
        if isinstance(reason, OptionsError):
            raise SystemExit(USAGE) from None
        if isinstance(reason, SystemExit):  # argparse's
            raise SystemExit(reason.code) from None
        raise


def _make_master(options: Options, *, config: Path | None, addons: Sequence[object]) -> DumpMaster:
    master = DumpMaster(options)
    for handler in logging.getLogger().handlers:  # of mitmproxy's lines and those of scripts
        handler.addFilter(PrintableRecords())
    try:
        options.update(**DEFAULTS)
        if config is not None and config.is_file():
            load_paths(options, config)
        wirewright = WirewrightAddon()
        master.addons.add(UnsafeOptionsCheck(), wirewright, *addons)
    except OptionsError as error:  # in `config`; mitmproxy expects none here
        print(printable(f"{PROGRAM}: {error}"), file=sys.stderr)
        sys.exit(1)
    # First, so that it sees what a server sent before a script changes it.
    master.addons.chain.remove(wirewright)
    master.addons.chain.insert(0, wirewright)
    return master


class Terminal(Console):
    """stdout. The proxy ends when its reader is gone, as with `| head`."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        ctx.master.shutdown()


class OrderedStream:
    """An output stream. The timeline's waiting lines are printed before anything is written to it."""

    def __init__(self, stream: IO[str], timeline: Timeline) -> None:
        self._stream = stream
        self._timeline = timeline
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        """Write after the waiting lines; other threads have no order with them."""
        if threading.get_ident() == self._thread:
            self._timeline.draw()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class HandshakeFailureFilter(logging.Filter):
    """Shows or hides mitmproxy's log line about an app that refuses the proxy's certificate.

    The timeline has a line of its own instead. Without a timeline the line is shown as a warning: mitmproxy
    logs it as INFO if the app hangs up, although it may be the only trace of the app.
    """

    def __init__(self, *, is_shown: bool) -> None:
        super().__init__()
        self._is_shown = is_shown

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.getMessage().startswith("Client TLS handshake failed."):
            return True
        record.levelno = max(record.levelno, logging.WARNING)
        return self._is_shown


class StartChecks:
    """Ends the program before it takes another port than it was given, or a mode that this user may not use.

    Warns of options that the command line sets and that do not exist.
    """

    name = "wirewright-start-checks"

    def __init__(self) -> None:
        self._names_set: set[str] = set()

    def read(self, arguments: Any) -> dict[str, str]:
        """The options for the filter expression that may end the command line, as mitmdump sets them."""
        self._names_set = {each.partition("=")[0] for each in arguments.setoptions}
        if not arguments.filter_args:
            return {}
        expression = " ".join(arguments.filter_args)
        return dict.fromkeys(("save_stream_filter", "readfile_filter", "dumper_filter"), expression)

    def configure(self, updated: set[str]) -> None:
        port = ctx.options.listen_port
        if port is not None and not 0 <= port <= LAST_PORT:  # asyncio takes the remainder of a larger one
            raise OptionsError(f"{port} is not a port: use 0 (any free port) to {LAST_PORT}")
        if "mode" in updated and (missing := missing_right(ctx.options.mode)):
            raise OptionsError(missing)

    def running(self) -> None:
        for name in ctx.options.deferred:
            if name in self._names_set:
                logging.warning("--set %s: no such option; `mitmdump --options` lists mitmproxy's", name)


class TimelineAddon:
    """Prints the banner once the proxy runs, and then the timeline."""

    name = "wirewright-timeline"

    def __init__(self, timeline: Timeline, remark: str | None = None) -> None:
        self._timeline = timeline
        self._remark = remark

    def configure(self, updated: set[str]) -> None:
        if "ws_capture_redact" in updated:
            self._timeline.redaction = Redaction(ctx.options.ws_capture_redact)

    def running(self) -> None:
        remote = ctx.master.addons.get(RemoteAddon.name).shown
        if ctx.options.ws_remote and remote is None:
            return  # it has said why it cannot run
        servers = list(ctx.master.addons.get("proxyserver").servers)
        self._timeline.head(greeting(servers, self._remark, remote))
        self._timeline.start()

    def done(self) -> None:
        self._timeline.stop()
