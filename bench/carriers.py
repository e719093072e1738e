"""All carriers: the columns of the tables.

A new one is one entry in `CARRIERS`, and its name in the measures that it shall be part of.
"""

from collections.abc import Mapping

from bench.proxies import ADDON, SCRIPTS, Carrier, Launched, Mitmdump, Mockttp, subscribed
from bench.relays import HAProxy, TlsRelay

DIRECT = Carrier("direct", "direct")
BARE = Mitmdump("bare", "mitmdump")
LISTENER = Mitmdump("listener", "Wirewright, one listener", (ADDON, SCRIPTS / "counting.py"))
SEARCHING = Mitmdump("searching", "Wirewright, one `next_frame`", (ADDON, SCRIPTS / "searching.py"))
LAYERS = Mitmdump(
    "layers",
    "Wirewright, one listener, `ws_splice=false`",
    (ADDON, SCRIPTS / "counting.py"),
    options=("ws_splice=false",),
)
NO_LISTENER = Mitmdump("no-listener", "Wirewright, no listener", (ADDON,))
CEILING = Mitmdump("ceiling", "the ceiling", (SCRIPTS / "ceiling.py",))
MOCKTTP = Mockttp("mockttp", "mockttp")
HAPROXY = HAProxy("haproxy", "HAProxy")
PICOWS = TlsRelay("picows", "a relay of picows")
BARE_CHANGING = Mitmdump("bare-changing", "mitmdump and an addon", (SCRIPTS / "changing.py",))
HOOK_CHANGING = Mitmdump("hook-changing", "Wirewright and the same addon", (ADDON, SCRIPTS / "changing.py"))
ROUTE_CHANGING = Mitmdump("route-changing", "Wirewright and a route", (ADDON, SCRIPTS / "routing.py"))
UNMATCHED = Mitmdump(
    "unmatched",
    "Wirewright, one listener, a route that matches nothing",
    (ADDON, SCRIPTS / "counting.py", SCRIPTS / "unmatched.py"),
)
MOCKED = Mitmdump("mocked", "Wirewright, a route that is the server", (ADDON, SCRIPTS / "mocking.py"))
RECORDING = Mitmdump(
    "recording",
    "Wirewright, one listener, recording",
    (ADDON, SCRIPTS / "counting.py"),
    captures=True,
)

OTHER = subscribed("other", "Wirewright, a client that follows other sockets")
STALLED = subscribed("stalled", "Wirewright, a client that has stopped reading")
LAUNCHED_ASYNC = Launched("launched-async", "`async_api.launch`")
LAUNCHED_SYNC = Launched("launched-sync", "`sync_api.launch`", "sync")
LAUNCHED_ASYNC_LISTENER = Launched(
    "launched-async-listener", "`async_api.launch`, one listener", "async", listens=True
)
LAUNCHED_SYNC_LISTENER = Launched(
    "launched-sync-listener", "`sync_api.launch`, one listener", "sync", listens=True
)

CARRIERS: Mapping[str, Carrier] = {
    carrier.name: carrier
    for carrier in (
        DIRECT,
        BARE,
        LISTENER,
        LAYERS,
        NO_LISTENER,
        CEILING,
        MOCKTTP,
        HAPROXY,
        PICOWS,
        BARE_CHANGING,
        HOOK_CHANGING,
        ROUTE_CHANGING,
        UNMATCHED,
        SEARCHING,
        MOCKED,
        RECORDING,
        OTHER,
        STALLED,
        LAUNCHED_ASYNC,
        LAUNCHED_SYNC,
        LAUNCHED_ASYNC_LISTENER,
        LAUNCHED_SYNC_LISTENER,
    )
}
