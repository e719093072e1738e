"""A phone rides a lift: does the app notice, and does it catch up?

mitmdump -s addon/wirewright/addon.py -s examples/flaky_lift.py
"""

import asyncio
import os

from wirewright import WebSocketRoute, proxy

ENTERS = float(os.environ.get("ENTERS", "5"))
"""Seconds after the opening."""
LEAVES = float(os.environ.get("LEAVES", "20"))


def ride(ws: WebSocketRoute) -> None:
    def enter() -> None:
        ws.conditions(stall_after=0)  # nothing passes, and nobody is told
        print(f"{ws.url}: in the lift")

    def leave() -> None:
        ws.conditions(latency=20)  # what was stuck arrives
        print(f"{ws.url}: out of it again")

    ws.connect_to_server()
    ws.conditions(latency=150, jitter=100, drop=0.02, seed=1)  # near its door
    loop = asyncio.get_running_loop()
    loop.call_later(ENTERS, enter)
    loop.call_later(LEAVES, leave)


proxy.route_web_socket("**", ride)
