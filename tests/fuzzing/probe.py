"""Round trips of another client: through the attacked proxy, and at the same time through an idle one.

The idle proxy is the control: a pause of the machine makes both round trips long, and counts for nothing.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median

import websockets

from support.servers import serving

PAUSE_SECONDS = 0.05
LIMIT_SECONDS = 0.2
"""A round trip through the attacked proxy that takes longer is late, if the control's is not."""
CONTROL_SECONDS = 0.05
"""A control that takes longer says that the machine is busy."""


@dataclass
class RoundTrips:
    """Of one run, in milliseconds."""

    count: int
    median: float
    worst: float
    """The longest one while the control was quick."""
    control_median: float
    late: list[float]
    """When each late one began, in seconds since the epoch."""


async def probe(attacked: int, idle: int, stop: asyncio.Event) -> RoundTrips:
    """Measure until `stop` is set."""
    trips: list[tuple[float, float, float]] = []
    async with (
        serving() as url,
        websockets.connect(f"{url}/probe", proxy=f"http://127.0.0.1:{attacked}", ping_interval=None) as one,
        websockets.connect(f"{url}/probe", proxy=f"http://127.0.0.1:{idle}", ping_interval=None) as other,
    ):
        while not stop.is_set():
            at = time.time()
            through = asyncio.ensure_future(_round_trip(one))
            controls = [await _round_trip(other)]
            while not through.done():
                await asyncio.wait([through], timeout=PAUSE_SECONDS)
                controls.append(await _round_trip(other))
            trips.append((at, await through, max(controls)))
            await asyncio.sleep(PAUSE_SECONDS)
    quick = [(at, took) for at, took, control in trips if control < CONTROL_SECONDS]
    return RoundTrips(
        len(trips),
        1000 * median(took for _, took, _ in trips),
        1000 * max((took for _, took in quick), default=0.0),
        1000 * median(control for _, _, control in trips),
        [at for at, took in quick if took > LIMIT_SECONDS],
    )


async def _round_trip(connection: websockets.ClientConnection) -> float:
    began = time.perf_counter()
    await connection.send("probe")
    await connection.recv()
    return time.perf_counter() - began


async def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzzing.probe", description=__doc__)
    parser.add_argument("attacked", type=int, help="port of a proxy")
    parser.add_argument("idle", type=int, help="port of a proxy")
    arguments = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)  # its end
    print(json.dumps(asdict(await probe(arguments.attacked, arguments.idle, stop))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
