"""URLs as a browser writes them: https://url.spec.whatwg.org, as far as a WebSocket's URL needs it."""

import re
import socket
from urllib.parse import quote

_DEFAULT_PORTS = {"ws": "80", "http": "80", "wss": "443", "https": "443"}
_WILD = re.compile(r"[*?{}\\]")
"""The characters that make a part of a glob a pattern."""
_KEPT_IN_PATHS = "!$%&'()*+,:;=@[]|"


def normalize_url(url: str) -> str:
    """A URL with its origin in lower case, without the scheme's own port, and with a path.

    What an app put into the path and the query is left as it is. Raises ValueError for a host that no browser
    accepts.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    scheme = scheme.lower()
    authority, delimiter, rest = _partition(rest, "/?#")
    path = "/" if delimiter == "/" else f"/{delimiter}"
    return f"{scheme}://{_normalize_authority(authority, scheme)}{path}{rest}"


def normalize_glob(glob: str) -> str:
    """A glob as a browser would write the URL that it stands for, by Playwright's rules.

    A part that has glob characters in it is a pattern, and stays as it is; so does a glob that starts with
    `*`, or with no scheme of the web. Raises ValueError for a host that no browser accepts.
    """
    if glob.startswith("*"):
        return glob
    scheme, separator, rest = glob.replace(r"\\?", "?").partition("://")
    if not separator or "/" in scheme:
        return glob
    if not _WILD.search(scheme):
        scheme = scheme.lower()
        if scheme not in _DEFAULT_PORTS:
            return glob
    authority, delimiter, rest = _partition(rest, "/?#")
    is_pattern = _WILD.search(authority) or delimiter == "?"
    origin = authority.lower() if is_pattern else _normalize_authority(authority, scheme)
    if delimiter != "/":
        return f"{scheme}://{origin}/{delimiter}{rest}"
    path, delimiter, rest = _partition(rest, "?#")
    return f"{scheme}://{origin}/{_normalize_path(path)}{delimiter}{rest}"


def _partition(text: str, delimiters: str) -> tuple[str, str, str]:
    """`str.partition` at the first of several characters."""
    found = re.search(f"[{delimiters}]", text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _normalize_authority(authority: str, scheme: str) -> str:
    user, at, host = authority.rpartition("@")
    port = ""
    if found := re.fullmatch(r"(.*?):(\d*)", host):
        host, port = found.groups()
    host = host.lower()
    if not host.isascii():
        host = host.encode("idna").decode()
    if re.fullmatch(r"[0-9.]*[0-9]", host):
        try:
            host = socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            raise ValueError(f"not an IPv4 address: {host!r}") from None
    # The scheme of a glob may be a pattern itself; Playwright reads it as "http".
    has_own_port = port not in ("", _DEFAULT_PORTS.get(scheme, "80"))
    return f"{user}{at}{host}" + (f":{port}" if has_own_port else "")


def _normalize_path(path: str) -> str:
    kept: list[str] = []
    *folders, name = path.split("/")
    for folder in folders:
        if folder == "..":
            del kept[-1:]
        elif folder != ".":
            kept.append(_quote(folder))
    if name == "..":
        del kept[-1:]
    return "/".join([*kept, "" if name in (".", "..") else _quote(name)])


def _quote(segment: str) -> str:
    return segment if _WILD.search(segment) else quote(segment, safe=_KEPT_IN_PATHS)
