"""Rights that mitmproxy's modes `local` and `tun` need from the operating system.

Without them the native code of mitmproxy prints a backtrace, and often crashes when the program ends.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mitmproxy_rs.local

OLDEST_KERNEL = (6, 8)
"""mitmproxy's requirement for `local` on Linux."""
CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF = 12, 21, 39
"""Linux capabilities, as bits (capabilities(7))."""
TUN_DEVICE = Path("/dev/net/tun")


def missing_right(modes: Sequence[str]) -> str | None:
    """A sentence about the right that one of these modes lacks here; None if none is known to be missing.

    For `local` on Linux this asks sudo for root's rights, as mitmproxy does a moment later.
    """
    for mode in modes:
        name = mode.partition("@")[0].partition(":")[0].lower()
        missing = {"local": _missing_for_local, "tun": _missing_for_tun}.get(name, lambda: None)()
        if missing:
            return f"--mode {mode} cannot run: {missing}"
    return None


def _missing_for_local() -> str | None:
    reason: Callable[[], str | None] | None = getattr(
        mitmproxy_rs.local.LocalRedirector, "unavailable_reason", None
    )
    if reason is not None and (unavailable := reason()):  # mitmproxy 11.0 does not have it
        return unavailable
    if sys.platform != "linux":
        return None  # macOS and Windows ask the user themselves
    if _kernel() < OLDEST_KERNEL:
        return (
            f"it needs Linux {'.'.join(map(str, OLDEST_KERNEL))} or newer, and this is {os.uname().release}"
        )
    if not _may_have(CAP_NET_ADMIN) or not (_may_have(CAP_BPF) or _may_have(CAP_SYS_ADMIN)):
        return "it needs the capabilities NET_ADMIN and BPF (in a container: --privileged)"
    sudo = shutil.which("sudo")
    if sudo is None:
        return "mitmproxy starts its redirector with sudo, also as root: install sudo"
    if subprocess.run([sudo, "true"], check=False).returncode:  # noqa: S603  mitmproxy does the same
        return "it needs root's rights, and sudo did not grant them to this user"
    return None


def _missing_for_tun() -> str | None:
    if sys.platform == "linux":
        if not TUN_DEVICE.exists():
            return f"there is no {TUN_DEVICE} (in a container: --device {TUN_DEVICE})"
        if not _capabilities("CapEff") >> CAP_NET_ADMIN & 1:
            return "it needs the capability NET_ADMIN: run it as root"
    elif sys.platform == "darwin" and os.geteuid() != 0:
        return "it needs root's rights: run it with sudo"
    return None


def _kernel() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else OLDEST_KERNEL


def _may_have(capability: int) -> bool:
    """True if a program that this one starts can have a capability (the bounding set)."""
    return bool(_capabilities("CapBnd") >> capability & 1)


def _capabilities(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1], 16)
    return -1  # a kernel without them: nothing is known to be missing
