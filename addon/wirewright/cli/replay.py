"""`wirewright replay`: a recorded server for live apps, or a recorded app for a live server."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from wirewright.capture.errors import CaptureError
from wirewright.capture.filters import Filter
from wirewright.capture.reader import Capture
from wirewright.capture.reasons import why_no_socket
from wirewright.capture.records import was_open
from wirewright.capture.redaction import REDACTED
from wirewright.capture.replay.as_client import ClientSettings, Played, play_as_client
from wirewright.capture.replay.as_server import Replay
from wirewright.capture.replay.comparisons import SHOWN, Compare, comparison
from wirewright.capture.replay.lockstep import Mismatch
from wirewright.model.handshake import sendable_headers
from wirewright.model.matching import UrlMatch
from wirewright.printable import print_line
from wirewright.state import proxy


def serve(
    path: Path, url: UrlMatch | None, match: Any, speed: float, on_mismatch: Any, compare: Compare
) -> str:
    """Have a recorded server answer the sockets of this process's proxy. Returns a sentence with their URLs.

    Raises CaptureError, ValueError and TypeError, as `Replay` does.
    """
    replay = Replay(path, url=url, match=match, speed=speed, on_mismatch=on_mismatch, compare=compare)
    proxy.route_web_socket(replay.matches, replay)
    urls = list(dict.fromkeys(map(SHOWN.url, replay.urls)))  # an imported capture is not redacted
    return f"{path} answers {', '.join(urls[:3])}{f' and {len(urls) - 3:,} more' if len(urls) > 3 else ''}"


def play_to_server(console: Console, path: Path, chosen: Filter, url: str, settings: ClientSettings) -> bool:
    """Play the app's side of each chosen socket, one after the other; True if all went as it was recorded."""
    with Capture(path) as capture:
        spans = capture.spans()
        sockets = [
            socket
            for socket in chosen.sockets(capture).values()
            if was_open(socket, has_frames=socket.id in spans)
        ]
        if not sockets:
            reason = why_no_socket(capture, chosen)
            raise CaptureError(f"{path}: no such socket was ever open{f': {reason}' if reason else ''}")
        capture.index_by_socket()
        results = []
        for socket in sockets:
            played = asyncio.run(
                play_as_client(capture, socket, url, settings, lambda each: _show_mismatch(console, each))
            )
            _show_result(console, played)
            results.append(played.is_as_recorded)
    return all(results)


def client_settings(
    compare: Compare, speed: float, timeout: float, headers: Sequence[str], insecure: bool
) -> ClientSettings:
    """The options of the command line as a ClientSettings. Raises ValueError for a bad one."""
    if not speed > 0:
        raise ValueError(f"--speed must be more than 0, not {speed!r}")
    tls = None
    if insecure:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return ClientSettings(comparison(compare), speed, timeout, sendable_headers(map(_header, headers)), tls)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise ValueError(f"--header must be NAME:VALUE, not {text!r}")
    if name.strip().lower() == "host":
        raise ValueError("--header cannot set Host: it is that of the URL")
    return name.strip(), value.strip()


def _show_mismatch(console: Console, mismatch: Mismatch) -> None:
    head, *lines = str(mismatch).splitlines()
    print_line(console, head, "bold red")
    for line in lines:
        print_line(console, f"  {line}", {"-": "red", "+": "green"}.get(line[:1], ""))


def _show_result(console: Console, played: Played) -> None:
    url = SHOWN.url(played.url)
    what = f"#{played.socket.id} {url}: {played.sent:,} messages sent, {played.answers:,} answers"
    if played.is_as_recorded:
        print_line(console, f"{what}, all as recorded", "green")
    else:
        wrong = [f"{len(played.mismatches):,} differ"] if played.mismatches else []
        wrong += [SHOWN.text(played.failure)] if played.failure else []
        print_line(console, f"{what}; {'; '.join(wrong)}", "bold red")
    secrets = [f"{played.redacted:,} messages"] if played.redacted else []
    secrets += ["the URL"] if REDACTED in played.url else []
    if played.withheld:
        names = ", ".join(played.withheld)
        what = f"  {names}: redacted in the recording, and not sent; --header NAME:VALUE sends a value"
        print_line(console, what, "yellow")
    if secrets:
        what = f"  {' and '.join(secrets)} had {REDACTED} where the app had sent a secret"
        print_line(console, what, "yellow")
