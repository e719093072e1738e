"""A mitmproxy script that profiles its process from its first WebSocket on into the file $BENCH_PROFILE."""

import cProfile
import os

profile = cProfile.Profile()
started = False


def websocket_start(_: object) -> None:
    global started
    if not started:
        started = True
        profile.enable()


def done() -> None:
    profile.disable()
    profile.dump_stats(os.environ["BENCH_PROFILE"])
