"""mitmdump with Wirewright and its timeline, as `wirewright run` starts it."""

import logging
import os
import sys
import threading
from collections.abc import Collection, Sequence
from itertools import pairwise
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
from wirewright.cli.main import USAGE
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
    timeline = None
    if not quiet:
        timeline = Timeline(control, Terminal(file=sys.stdout), url=url, max_preview=max_preview)
        # All that others print, mitmproxy's log included, comes after the lines that wait.
        sys.stdout, sys.stderr = InOrder(sys.stdout, timeline), InOrder(sys.stderr, timeline)
    logging.getLogger("mitmproxy.proxy.server").addFilter(HandshakeFailures(is_shown=quiet))

    def make_master(options: Options) -> DumpMaster:
        try:
            return master_with(options)
        except OptionsError as error:  # in `config`; mitmproxy expects none here
            print(printable(f"{PROGRAM}: {error}"), file=sys.stderr)
            sys.exit(1)

    def master_with(options: Options) -> DumpMaster:
        master = DumpMaster(options)
        for handler in logging.getLogger().handlers:  # of mitmproxy's lines and those of scripts
            handler.addFilter(PrintableRecords())
        options.update(**DEFAULTS)
        if config is not None and config.is_file():
            load_paths(options, config)
        master.addons.add(UnsafeOptionsCheck())
        master.addons.add(WirewrightAddon(), StartChecks(_names_set(arguments)))
        # First, so that it sees what a server sent before a script changes it.
        master.addons.chain.insert(0, master.addons.chain.pop(-2))
        if timeline is not None:
            master.addons.add(TimelineAddon(timeline, remark))
        return master

    try:
        sys.argv[0] = PROGRAM  # mitmproxy's messages begin with it
        main.run(make_master, cmdline.mitmdump, arguments, _filters)  # type: ignore[arg-type]
    except SystemExit as end:
        reason = end.__context__  # mitmproxy ends with 1 for every mistake, and for `--version`
        if isinstance(reason, OptionsError):
            raise SystemExit(USAGE) from None
        if isinstance(reason, SystemExit):  # argparse's
            raise SystemExit(reason.code) from None
        raise


class Terminal(Console):
    """stdout. Where nobody reads it any more, such as behind `| head`, the proxy ends."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        ctx.master.shutdown()


class InOrder:
    """An output stream that has the timeline's waiting lines printed before anything is written to it."""

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


class HandshakeFailures(logging.Filter):
    """mitmproxy's line about an app that refuses the proxy's certificate.

    It is INFO where the app just hangs up, although it is often the only trace of the app. The timeline has a
    line of its own instead.
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

    `names_set` are the options that the command line sets: a warning names those that do not exist.
    """

    name = "wirewright-start-checks"

    def __init__(self, names_set: Collection[str]) -> None:
        self._names_set = names_set

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
    """Says how to reach the proxy once it runs, and prints the timeline."""

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
        self._timeline.start(tls_failures)

    def done(self) -> None:
        self._timeline.stop()


def _names_set(arguments: Sequence[str]) -> set[str]:
    """The options in `--set NAME=VALUE`."""
    settings = [value for flag, value in pairwise(arguments) if flag == "--set"]
    settings += [each.removeprefix("--set=") for each in arguments if each.startswith("--set=")]
    return {each.partition("=")[0] for each in settings}


def _filters(arguments: Any) -> dict[str, str]:
    """mitmdump's own handling of the filter expression that may end its command line."""
    if not arguments.filter_args:
        return {}
    expression = " ".join(arguments.filter_args)
    return dict.fromkeys(("save_stream_filter", "readfile_filter", "dumper_filter"), expression)
