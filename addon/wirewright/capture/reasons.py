"""Sentences that say why a filter chooses nothing of a capture."""

from collections.abc import Iterable
from datetime import datetime

from wirewright.capture.filters import Filter
from wirewright.capture.reader import Capture
from wirewright.capture.records import oldest_first
from wirewright.capture.selection import Selection

MOST_NAMED = 3
"""How many URLs are named."""


def why_no_frame(capture: Capture, chosen: Filter) -> str:
    """The reason why no frame is chosen: no session, no socket, no URL, or none of their frames."""
    chosen = chosen.resolved(capture)
    if reason := why_no_socket(capture, chosen):
        return f"No frame matches. {reason}"
    sockets = chosen.sockets(capture)
    urls = named(socket.url for socket in sockets.values())
    with Selection(capture, dict.fromkeys(sockets, 0), until=capture.newest()) as frames:
        spans = frames.spans().values()
    if not capture.newest():
        return f"There is no frame yet. The sockets are {urls}." if urls else "There is no frame yet."
    if not spans:
        return f"No frame matches. There is no frame of {urls}."
    first, last = min(first for first, _ in spans), max(last for _, last in spans)
    there = f"The frames of {urls} are from {shown(first)} to {shown(last)}"
    if chosen.since_ns is not None and chosen.since_ns > last:
        return f"No frame matches. {there}, before {shown(chosen.since_ns)}."
    which = "them" if chosen.since_ns is None else f"those since {shown(chosen.since_ns)}"
    wanted = [] if chosen.direction is None else [f"was {chosen.direction}"]
    wanted += [] if not chosen.texts else [f"contains {' or '.join(map(repr, chosen.texts))}"]
    wanted += [f"has {path}={value}" for path, value in chosen.values]
    return f"No frame matches. {there}. None of {which} {' and '.join(wanted)}."


def why_no_socket(capture: Capture, chosen: Filter) -> str | None:
    """The reason why no socket is chosen; None if one is chosen, and if the capture has no socket."""
    chosen = chosen.resolved(capture)
    sessions, sockets = capture.sessions(), oldest_first(capture.sockets())
    if not any(chosen.holds_session(session.id) for session in sessions):
        return f"No session has such a number. Sessions: {numbers(each.id for each in sessions)}."
    sockets = [socket for socket in sockets if chosen.holds_session(socket.session_id)]
    of_sessions = "" if chosen.sessions is None else " in this session"
    numbered = [socket for socket in sockets if chosen.holds_socket(socket.id)]
    if sockets and not numbered:
        there = numbers((socket.id for socket in sockets), "#")
        return f"No socket has such a number{of_sessions}. Sockets: {there}."
    if numbered and not any(chosen.matches_url(socket.url) for socket in numbered):
        return f"No URL matches{of_sessions}: there are {named(each.url for each in numbered)}."
    return None


def named(urls: Iterable[str]) -> str:
    """A few URLs, each once, and how many more there are."""
    unique = list(dict.fromkeys(urls))
    more = f" and {len(unique) - MOST_NAMED:,} more" if len(unique) > MOST_NAMED else ""
    return ", ".join(unique[:MOST_NAMED]) + more


def numbers(ids: Iterable[int], mark: str = "") -> str:
    """Numbers as ranges: 1 to 3, 7."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(ids):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ", ".join(
        f"{mark}{first}" if first == last else f"{mark}{first} to {mark}{last}" for first, last in ranges
    )


def shown(time_ns: int) -> str:
    """A local time to the millisecond, as `--since` takes it."""
    return f"{datetime.fromtimestamp(time_ns // 1_000_000 / 1e3):%Y-%m-%d %H:%M:%S.%f}"[:-3]
