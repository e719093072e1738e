"""The banner of `wirewright run`: how to send an app's traffic to the proxy, and how to trust its CA."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from mitmproxy import ctx
from mitmproxy.proxy import mode_servers, mode_specs
from mitmproxy.utils import human
from rich.markup import escape

from wirewright.cli.timeline import HEAD_INDENT
from wirewright.mitm.network_addresses import network_addresses
from wirewright.printable import printable
from wirewright.state import proxy

TRANSPARENT_GUIDE = "https://docs.mitmproxy.org/stable/howto/transparent/"
ALL_INTERFACES = ("", "0.0.0.0", "::")  # noqa: S104  it is recognised here, not listened on
WEB_SOCKETS = {"http": ("ws", 80), "https": ("wss", 443)}
"""The scheme and default port of the WebSockets of an HTTP server."""
WITH_CA_PAGE = (mode_specs.RegularMode, mode_specs.UpstreamMode, mode_specs.WireGuardMode)
"""Modes in which a device's browser can open http://mitm.it."""
_MARGIN = "  "

Server = mode_servers.ServerInstance[Any]
Row = tuple[str, str]
"""A heading, and a text in rich markup."""


def greeting(servers: Sequence[Server], remark: str | None = None, remote: str | None = None) -> str:
    """The banner, in rich markup. `remark` is about a replay, `remote` is the address of the remote API."""
    listening = [f"{_host(server) or '*'}:{port}" for server in servers if (port := _port(server))]
    where = " and ".join(dict.fromkeys(listening))
    rows = [row for server in servers for row in _rows_of(server)]
    rows.append(("Trust the CA", _markup(proxy.ca_certificate)))
    if any(isinstance(server.mode, WITH_CA_PAGE) for server in servers):
        rows.append(("", "or open http://mitm.it in the device's browser, once its traffic comes here"))
    rows += _rows_of_capture()
    if remote is not None:
        rows.append(("Serves its API", _markup(remote)))
        rows.append(("", "to connect() and to wirewright list, wait, send, attach"))
    if remark is not None:
        rows.append(("Replay", _markup(remark)))
    rows.append(("Stop", "Ctrl-C"))
    head = f"[bold]Wirewright[/] is {f'listening on [bold]{_markup(where)}[/]' if where else 'running'}."
    lines = [head, *(f"{_MARGIN + name:{HEAD_INDENT}}{text}" for name, text in rows), ""]
    for server in servers:
        if isinstance(server, mode_servers.WireGuardServerInstance):
            lines += [escape(_wireguard_configuration(server)), ""]  # flush left, so that it can be copied
    return "\n".join(lines)


def _rows_of_capture() -> list[Row]:
    if not ctx.options.ws_capture:
        return []
    if ctx.options.ws_capture_redact:
        remark = "secrets such as tokens and cookies are redacted; --no-redact records them"
    else:
        remark = "[bold]with all secrets[/], such as tokens and cookies"
    return [("Recorded in", _markup(ctx.options.ws_capture)), ("", remark)]


def _rows_of(server: Server) -> list[Row]:
    """How traffic gets to a server of this mode."""
    mode = server.mode
    if isinstance(mode, mode_specs.LocalMode):
        programs = f"programs that match [bold]{_markup(mode.data)}[/]" if mode.data else "all programs here"
        return [("Captures", f"the traffic of {programs}, which need no proxy setting")]
    if isinstance(server, mode_servers.TunInstance):
        return [
            ("Captures", f"all that is routed to the interface [bold]{_markup(server.tun_name or '')}[/]")
        ]
    if isinstance(server, mode_servers.WireGuardServerInstance):
        return [("Connect", "a device by its WireGuard app, with the configuration below as its tunnel")]
    if isinstance(mode, mode_specs.TransparentMode):
        guide = f"the traffic of a router or a virtual machine to port {_port(server)}: {TRANSPARENT_GUIDE}"
        return [("Redirect", guide)]
    if isinstance(mode, mode_specs.ReverseMode):
        return list(_rows_of_reverse(mode, _addresses(server)))
    if isinstance(mode, (mode_specs.RegularMode, mode_specs.UpstreamMode, mode_specs.Socks5Mode)):
        return list(_rows_of_proxy(mode, _addresses(server)))
    return [("Serves", f"{_markup(mode.description)} at {' or '.join(_addresses(server))}")]


def _rows_of_proxy(mode: mode_specs.ProxyMode, addresses: Sequence[str]) -> Iterator[Row]:
    here, elsewhere = addresses[0], " or ".join(addresses[1:])
    kind = "SOCKS5 proxy" if isinstance(mode, mode_specs.Socks5Mode) else "HTTP and HTTPS proxy"
    yield "Use the proxy", f"set [bold]{here}[/] as the {kind} of a program on this machine,"
    if elsewhere:
        yield "", f"or [bold]{elsewhere}[/] as that of a phone or another machine"
    if isinstance(mode, mode_specs.UpstreamMode):
        yield "Leads to", f"the proxy [bold]{mode.scheme}://{_markup(human.format_address(mode.address))}[/]"


def _rows_of_reverse(mode: mode_specs.ReverseMode, addresses: Sequence[str]) -> Iterator[Row]:
    scheme, default_port = WEB_SOCKETS.get(mode.scheme, (mode.scheme, None))
    host, port = mode.address
    target = host if port == default_port else human.format_address(mode.address)
    prefix = "ws://" if default_port else ""
    yield "Connect", f"the app to [bold]{' or '.join(f'{prefix}{each}' for each in addresses)}[/]"
    yield "Leads to", f"[bold]{scheme}://{_markup(target)}[/]"
    if default_port:
        yield "", "wss:// to this proxy works, too; then the app must trust the CA"


def _wireguard_configuration(server: mode_servers.WireGuardServerInstance) -> str:
    """The client's configuration file."""
    # mitmproxy writes the port that it was asked for, also if that is 0.
    return re.sub(r":0$", f":{_port(server)}", server.client_conf() or "")


def _markup(value: object) -> str:
    """A value in rich markup."""
    return escape(printable(str(value)))


def _addresses(server: Server) -> list[str]:
    """The addresses at which the server can be reached; that for this machine is first."""
    host = _host(server)
    hosts = ["127.0.0.1", *network_addresses()] if host in ALL_INTERFACES else [host]
    return [human.format_address((each, _port(server) or 0)) for each in hosts]


def _host(server: Server) -> str:
    host: str = server.mode.listen_host(ctx.options.listen_host)
    return host


def _port(server: Server) -> int | None:
    addresses = server.listen_addrs
    return addresses[0][1] if addresses else None
