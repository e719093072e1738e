"""Where a running proxy can be reached, and the token that it wants: a file that only its owner can read."""

import json
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wirewright.model.errors import Error

VARIABLE = "WIREWRIGHT_ENDPOINT"
"""The environment variable that names an endpoint: its file, or its address."""


@dataclass(frozen=True)
class Endpoint:
    """What `connect` needs to know."""

    address: str
    """`ws://127.0.0.1:9000`, `wss://…`, or `unix:///run/….sock`."""
    token: str
    pid: int = 0
    """Of the proxy."""


def new_token() -> str:
    """256 bits of luck."""
    return secrets.token_hex(32)


def runtime_folder() -> Path:
    """The user's own: that of the session, or one in the temporary folder."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "wirewright" if base else Path(tempfile.gettempdir()) / f"wirewright-{os.getuid()}"


def publish(endpoint: Endpoint) -> Path:
    """Write the file that `find` finds. Raises Error where it cannot be, or somebody else could read it."""
    folder = runtime_folder()
    path = folder / f"{endpoint.pid}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(folder):
            raise Error(f"{folder}: it must be a folder of your own that nobody else can read (mode 0700)")
        half = path.with_suffix(".new")
        half.unlink(missing_ok=True)
        with open(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(asdict(endpoint), file)
        half.replace(path)
    except OSError as error:
        raise Error(f"{path}: {error.strerror}") from None
    return path


def find(endpoint: str | Path | None, token: str | None) -> Endpoint:
    """The endpoint that is meant: an address, a file, that of WIREWRIGHT_ENDPOINT, or the one that runs here.

    Raises Error if there is none, or more than one.
    """
    asked = endpoint or os.environ.get(VARIABLE)
    if asked:
        shown = str(asked)
        if "://" not in shown:
            found = _read(Path(shown))
            return found if token is None else Endpoint(found.address, token, found.pid)
        if urlsplit(shown).scheme not in ("ws", "wss", "unix"):
            raise Error(
                f"an endpoint is ws://host:port, wss://host:port, unix:///path or a file, not {shown!r}"
            )
        if token is not None:
            return Endpoint(shown, token)
        known = [each for each in _running() if each.address == shown]
        if not known:
            raise Error(f"{shown} wants a token, and none of this user's proxies has that address")
        return known[0]
    running = _running()
    if not running:
        raise Error("no proxy with ws_remote runs here: start one with `wirewright run --remote 127.0.0.1:0`")
    if len(running) > 1:
        addresses = ", ".join(each.address for each in running)
        raise Error(f"several proxies run here: say which one, or set {VARIABLE}: {addresses}")
    return running[0]


def _running() -> list[Endpoint]:
    folder = runtime_folder()
    paths = sorted(folder.glob("*.json")) if folder.is_dir() and _is_private(folder) else []
    found = []
    for path in paths:
        with suppress(Error):  # it may go in this moment, or be none
            found.append(_read(path))
    return [each for each in found if _is_alive(each.pid)]


def _is_private(folder: Path) -> bool:
    """Whether a folder is this user's own, and nobody else can read it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _read(path: Path) -> Endpoint:
    try:
        if path.stat().st_uid != os.getuid():
            raise Error(f"{path}: it is another user's")
        values = json.loads(path.read_text())
        return Endpoint(str(values["address"]), str(values["token"]), int(values["pid"]))
    except OSError as error:
        raise Error(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise Error(f"{path}: it is no endpoint of a proxy") from None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
