"""Relays: programs that pass on what comes, and do not look at it. They bound what a proxy can be."""

import asyncio
import shutil
import socket
import sys
from dataclasses import dataclass

from bench.processes import SERVER_NAME, Child, Failure
from bench.proxies import HOST, SCRIPTS, Carrier, Route, Workplace, first_word


@dataclass(frozen=True)
class TlsRelay(Carrier):
    """A program that ends the TLS of its clients, and passes what they send on to the one server over TLS.

    It needs no CONNECT, so that it does less than a proxy.
    """

    @property
    def is_proxy(self) -> bool:
        return True

    async def start(self, place: Workplace) -> Route:
        command = (sys.executable, SCRIPTS / "picows_relay.py", place.server_certificate, place.server_ca)
        process = await Child.start(*command, f"wss://{SERVER_NAME}:{place.server_port}/live")
        return _to_relay(place, process, int(await first_word(process, "PORT ")))


@dataclass(frozen=True)
class HAProxy(TlsRelay):
    """HAProxy with one thread. It looks at the handshake and passes bytes afterwards."""

    def missing(self) -> str:
        return "" if shutil.which("haproxy") else "HAProxy is not installed"

    async def start(self, place: Workplace) -> Route:
        port = _free_port()
        configuration = place.folder / f"haproxy-{port}.cfg"
        configuration.write_text(_HAPROXY.format(place=place, host=HOST, port=port))
        process = await Child.start("haproxy", "-q", "-db", "-f", configuration)
        await _accepts(process, port)
        return _to_relay(place, process, port)


_HAPROXY = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend app
    bind {host}:{port} ssl crt {place.server_certificate}
    default_backend server
backend server
    default-server ssl ca-file {place.server_ca} verify required
    server server {host}:{place.server_port} sni str(localhost) verifyhost localhost
"""


def _to_relay(place: Workplace, process: Child, port: int) -> Route:
    return Route(place.server_ca, process=process, server=f"wss://{SERVER_NAME}:{port}/live")


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


async def _accepts(process: Child, port: int) -> None:
    """Wait until a process takes connections."""
    while process.alive:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)  # the interval at which it is tried
        else:
            writer.close()
            return
    raise Failure("it ended")
