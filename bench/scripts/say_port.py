"""A mitmproxy script that says on which port the proxy listens, and then leaves the chain of addons."""

import asyncio
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver


def running() -> None:
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    print("PORT", server.listen_addrs()[0][1], flush=True)
    asyncio.get_running_loop().call_soon(_leave)


def _leave() -> None:
    ctx.options.update(scripts=[path for path in ctx.options.scripts if Path(path).name != "say_port.py"])
