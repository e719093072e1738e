"""Modes that need rights: a sentence before mitmproxy's native code fails without them."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.processes import BIN, running
from wirewright import Error, launch
from wirewright.mitm import mode_rights
from wirewright.mitm.mode_rights import CAP_NET_ADMIN, missing_right

ALL = (1 << 41) - 1

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux has these rights")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Linux on which every mode can run; its folder of programs."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.8.0-45-generic"), raising=False)
    monkeypatch.setattr(mode_rights, "_capabilities", lambda name: ALL)
    monkeypatch.setattr(mode_rights, "TUN_DEVICE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    add_sudo(tmp_path, "exit 0")
    return tmp_path


def add_sudo(folder: Path, line: str) -> None:
    sudo = folder / "sudo"
    sudo.write_text(f"#!/bin/sh\n{line}\n")
    sudo.chmod(0o755)


@pytest.mark.parametrize(
    "mode", ["local", "local:curl", "LOCAL:curl,!x", "tun", "tun:utun3", "regular", "reverse:x"]
)
def test_machine_with_all_rights_runs_each_mode(machine: Path, mode: str) -> None:
    assert missing_right([mode]) is None


def test_local_mode_needs_sudo(machine: Path) -> None:
    (machine / "sudo").unlink()
    assert str(missing_right(["regular", "local:curl"])).startswith("--mode local:curl cannot run: ")
    assert str(missing_right(["local"])).endswith("install sudo")


def test_local_mode_needs_a_user_whom_sudo_makes_root(machine: Path) -> None:
    add_sudo(machine, "exit 1")
    assert "sudo did not grant" in str(missing_right(["local"]))


@pytest.mark.parametrize("release", ["6.7.12", "5.15.0-1-amd64", "6.1-rc2"])
def test_local_mode_needs_a_new_kernel(machine: Path, monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release), raising=False)
    assert f"needs Linux 6.8 or newer, and this is {release}" in str(missing_right(["local"]))


def test_local_mode_needs_the_capabilities_of_root(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_rights, "_capabilities", lambda name: ALL & ~(1 << CAP_NET_ADMIN))
    assert "the capabilities NET_ADMIN and BPF (in a container: --privileged)" in str(
        missing_right(["local"])
    )


def test_local_mode_gives_the_reason_of_mitmproxy(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redirector = SimpleNamespace(unavailable_reason=lambda: "not on this system")
    monkeypatch.setattr("mitmproxy_rs.local.LocalRedirector", redirector)
    assert missing_right(["local"]) == "--mode local cannot run: not on this system"


def test_tun_mode_needs_net_admin(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_rights, "_capabilities", lambda name: 0)
    assert missing_right(["tun"]) == (
        "--mode tun cannot run: it needs the capability NET_ADMIN: run it as root"
    )


def test_tun_mode_needs_its_device(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_rights, "TUN_DEVICE", machine / "missing")
    assert f"there is no {machine / 'missing'}" in str(missing_right(["tun:x"]))


def test_macos_asks_for_local_mode_itself_but_not_for_tun(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    assert missing_right(["local:Safari"]) is None
    assert "run it with sudo" in str(missing_right(["tun"]))


@on_linux
async def test_run_ends_with_a_sentence_and_no_crash(confdir: Path, tmp_path: Path) -> None:
    add_sudo(tmp_path, "exit 1")
    command = (BIN / "wirewright", "run", "--mode", "local:curl", "--set", f"confdir={confdir}")
    async with running(*command, PATH=str(tmp_path)) as run:
        text = await run.rest()
    assert run.process.returncode in (1, 2)
    assert "--mode local:curl cannot run: " in text
    assert "backtrace" not in text
    assert "Traceback" not in text


@on_linux
async def test_launch_raises_the_sentence(
    confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="--mode local:curl cannot run: "):
        async with launch(port=0, confdir=confdir, mode=["local:curl"]):
            pass
