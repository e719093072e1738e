"""Where a running proxy can be reached, and the token that it wants: a file that only its owner can read."""

import json
import os
import re
import secrets
import socket
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from wirewright.model.errors import EndpointError, Error

VARIABLE = "WIREWRIGHT_ENDPOINT"
"""The environment variable that names an endpoint: its file, or its address."""
AUTO = "auto"
"""The one that runs here."""


class Token(str):
    """The secret that a client sends. Its repr does not show it: tracebacks and test reports print those of
    local variables.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<token>"


@dataclass(frozen=True)
class Endpoint:
    """Where a proxy runs, and its token. Raises EndpointError for a token that no header can carry."""

    address: str
    """`ws://127.0.0.1:9000`, `wss://…`, or `unix:///run/….sock`."""
    token: str
    pid: int = 0
    """The process id of the proxy."""
    certificate: str = ""
    """The certificate of a `wss://` address, PEM. "" for one that a known authority has signed."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[!-~]*", self.token):  # RFC 9110, 5.5: a CR or LF would end the header
            raise EndpointError("a token has letters, digits and punctuation of ASCII only")
        object.__setattr__(self, "token", Token(self.token))


def new_token() -> Token:
    """A new random token of 256 bits, in hexadecimal."""
    return Token(secrets.token_hex(32))


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
        _running()  # sweeps
        half = path.with_suffix(".new")
        half.unlink(missing_ok=True)
        with open(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(asdict(endpoint), file)
        half.replace(path)
    except OSError as error:
        raise Error(f"{path}: {error.strerror}") from None
    return path


def find(endpoint: str | Path | None, token: str | None) -> Endpoint:
    """Find the endpoint of a proxy by its address or its file.

    An address is written as for `ws_remote`, or as a proxy prints it. None stands for WIREWRIGHT_ENDPOINT, or
    else for `auto`: the only proxy of this user on this machine. Raises Error if there is no such proxy or
    more than one, and EndpointError for text that is not an endpoint.
    """
    asked = str(endpoint or os.environ.get(VARIABLE) or AUTO)
    if asked == AUTO:
        found = _only_one()
    elif address := _address(asked):
        same = (each for each in _running() if _place(each.address) == _place(address))
        found = next(same, Endpoint(address, ""))
        if not (found.token or token):
            running = ", ".join(each.address for each in _running()) or "none"
            raise Error(f"{asked} wants a token: of this user's proxies ({running}) none has that address")
    else:
        found = _read(Path(asked))
    return found if token is None else replace(found, token=token)


def _address(asked: str) -> str | None:
    """`ws://host:port`, `wss://host:port` or `unix:///path`; None for what is the name of a file.

    Raises EndpointError for an address of another kind.
    """
    scheme, colon, rest = asked.partition("://")
    if asked.startswith("unix:"):
        return f"unix://{Path(asked.removeprefix('unix:').removeprefix('//')).absolute()}"
    if colon:
        if scheme not in ("ws", "wss"):
            raise EndpointError(
                f"an endpoint is ws://host:port, wss://host:port, unix:/path or a file, not {asked!r}"
            )
        return f"{scheme}://{rest.rstrip('/')}"
    is_place = re.fullmatch(r"[^/\\]+:[0-9]+", asked) is not None and not Path(asked).exists()
    return f"ws://{asked}" if is_place else None


def _place(address: str) -> str:
    return address.partition("://")[2].replace("localhost:", "127.0.0.1:")


def _only_one() -> Endpoint:
    running = _running()
    if len(running) > 1:  # the number of a process that was killed may be another one's now
        running = [each for each in running if _listens(each.address)]
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
        with suppress(Error, OSError):  # it may go in this moment, or be none
            endpoint = _read(path)
            if _is_alive(endpoint.pid):
                found.append(endpoint)
            else:
                path.unlink()  # of one that was killed
    return found


def _is_private(folder: Path) -> bool:
    """True if a folder belongs to this user, and nobody else can read it."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _read(path: Path) -> Endpoint:
    try:
        if path.stat().st_uid != os.getuid():
            raise Error(f"{path}: it is another user's")
        values = json.loads(path.read_text())
        certificate = str(values.get("certificate", ""))
        return Endpoint(str(values["address"]), str(values["token"]), int(values["pid"]), certificate)
    except OSError as error:
        raise Error(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Error(f"{path}: the file does not describe the API of a proxy") from None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listens(address: str) -> bool:
    """True if a program listens at an address of this machine."""
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(parts.path)
        else:
            socket.create_connection((parts.hostname, parts.port), timeout=1).close()
    except OSError:
        return False
    return True
