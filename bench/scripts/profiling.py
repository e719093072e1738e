"""A mitmproxy script that profiles its process into $BENCH_PROFILE, from its first server connection on."""

import cProfile
import os
import time

profile = cProfile.Profile(time.thread_time)  # without what other processes do meanwhile
started = False


def server_connected(_: object) -> None:
    global started
    if not started:
        started = True
        profile.enable()


def done() -> None:
    profile.disable()
    profile.dump_stats(os.environ["BENCH_PROFILE"])
