"""mitmdump with Wirewright and its timeline, as `wirewright run` starts it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mitmproxy import ctx
from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options
from mitmproxy.optmanager import load_paths
from mitmproxy.tools import cmdline, main
from mitmproxy.tools.dump import DumpMaster
from rich.console import Console
from rich.markup import escape

from wirewright.addon import WirewrightAddon
from wirewright.cli import USAGE
from wirewright.model.matching import UrlMatch
from wirewright.remote_addon import RemoteAddon
from wirewright.state import proxy
from wirewright.timeline import Timeline

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

    def make_master(options: Options) -> DumpMaster:
        master = DumpMaster(options)
        options.update(**DEFAULTS)
        if config is not None and config.is_file():
            load_paths(options, config)
        master.addons.add(WirewrightAddon())
        # First, so that it sees what a server sent before a script changes it.
        master.addons.chain.insert(0, master.addons.chain.pop())
        if not quiet:
            master.addons.add(TimelineAddon(Terminal(), url, max_preview, remark))
        return master

    try:
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


class TimelineAddon:
    """Says how to reach the proxy once it runs, and prints the timeline."""

    name = "wirewright-timeline"

    def __init__(
        self, console: Console, url: UrlMatch | None, max_preview: int | None, remark: str | None = None
    ) -> None:
        self._console = console
        self._remark = remark
        self._timeline = Timeline(proxy, console, url=url, max_preview=max_preview)

    def running(self) -> None:
        remote = ctx.master.addons.get(RemoteAddon.name).shown
        if ctx.options.ws_remote and remote is None:
            return  # it has said why it cannot run
        text = greeting(_addresses(), self._remark, remote)
        self._console.print(text, highlight=False, soft_wrap=True)
        self._timeline.start()

    def done(self) -> None:
        self._timeline.stop()


def greeting(addresses: Sequence[str], remark: str | None = None, remote: str | None = None) -> str:
    """How to send an app's traffic here, and how to make the app trust it; rich markup."""
    where = " and ".join(addresses) or "no port: its mode captures traffic by itself"
    lines = [
        f"[bold]Wirewright[/] is listening on [bold]{where}[/].",
        f"  Trust the CA    {proxy.ca_certificate}",
        "                  or, with the proxy set on the device, open http://mitm.it in its browser",
    ]
    if addresses:
        lines.insert(1, "  Use the proxy   set it as the HTTP and HTTPS proxy of the device or the program")
    if ctx.options.ws_capture:
        lines.append(f"  Recorded in     {escape(ctx.options.ws_capture)}")
    if remote is not None:
        lines.append(f"  Serves its API  {escape(remote)}")
        lines.append("                  to connect() and to wirewright list, wait, send, attach")
    if remark is not None:
        lines.append(f"  Replay          {escape(remark)}")
    return "\n".join([*lines, "  Stop            Ctrl-C", ""])


def _addresses() -> list[str]:
    server = ctx.master.addons.get("proxyserver")
    found = dict.fromkeys(address[1] for address in server.listen_addrs())
    host = ctx.options.listen_host or "*"
    return [f"{host}:{port}" for port in found]


def _filters(arguments: Any) -> dict[str, str]:
    """mitmdump's own handling of the filter expression that may end its command line."""
    if not arguments.filter_args:
        return {}
    expression = " ".join(arguments.filter_args)
    return dict.fromkeys(("save_stream_filter", "readfile_filter", "dumper_filter"), expression)
