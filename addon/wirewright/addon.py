"""`mitmdump -s addon/wirewright/addon.py` loads this file. The addon itself is `wirewright.mitm.addon`.

mitmproxy executes this file again whenever it is saved, so it keeps no state.
"""

import asyncio
import sys
from pathlib import Path

if "wirewright" not in sys.modules:
    # A plain checkout, not installed: mitmproxy puts this file's folder on the path, and only while it loads.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mitmproxy import ctx

try:
    from wirewright.requirements import require_mitmproxy

    require_mitmproxy()
except ImportError as error:
    # mitmproxy would go on without the addon, after a traceback for it and for each script that uses it.
    loader = hasattr(ctx, "master") and ctx.master.addons.get("scriptloader")
    if not loader or loader.is_running:
        raise
    if asyncio.current_task() not in [script.reloadtask for script in loader.addons]:
        sys.exit(str(error))
    for script in loader.addons:
        script.done()  # it is not loaded any more
    # mitmproxy 11 swallows a SystemExit that a script raises.
    asyncio.get_running_loop().call_soon(sys.exit, str(error))
    raise asyncio.CancelledError from None

from wirewright.mitm.addon import WirewrightAddon

addons = [WirewrightAddon()]
