"""Good recordings of every readable format, and changes to them that a fault or a stranger makes."""

import copy
import gzip
import json
import zipfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow

from support.foreign_recordings import entry, message

Draw = Callable[[st.SearchStrategy[Any]], Any]
"""Chooses an example of a strategy: that of a composite one, or of `st.data()`."""
Place = list[Any]
"""Keys and indexes that lead to a value."""

JSON_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        3,
        300,
        70_000,
        2**70,
        -(2**70),
        1.5,
        1e300,
        "",
        "x",
        "7",
        "a\ud800b",
        "é" * 3,
        "2025-11-25T20:44:37",
        "../x.jsonl",
        "not base64!",
        "aborted",
        "wss://[bad/x",
        [],
        [None],
        [[]],
        {},
        {"a": {}},
    ]
)
FLOW_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        300,
        70_000,
        2**70,
        1.5,
        float("inf"),
        float("nan"),
        "",
        "é",
        b"",
        b"\xff",
        [],
        [None],
        {},
    ]
)


def good(name: str) -> dict[str, Any]:
    """A whole entry, with everything that an import reads."""
    found = entry(
        _webSocketMessages=[
            message(data=f"{name}: é"),
            message(type="receive", opcode=2, data="AP8="),
            message(type="receive", opcode=9, data="cGluZw==", time=1764103479),
            message(type="receive", opcode=8, data="D6FieWU=", time=1764103480.25),
        ],
        _webSocketClose={"code": 4001, "reason": "bye", "timestamp": 1764103481},
        _wirewright={"close_code": 4001, "opened_ns": 1764103477500000000, "closed_by": "server"},
    )
    found["request"]["url"] = f"wss://h/{name}"
    return found


def places(value: Any, place: Place | None = None) -> Iterator[Place]:
    """The places of all values in a value, but for itself."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    for key, each in inner:
        yield [*(place or []), key]
        yield from places(each, [*(place or []), key])


def mutated(draw: Draw, whole: Any, values: st.SearchStrategy[Any]) -> Any:
    """The same with one to three changes."""
    whole = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(whole))
        if not found:
            break
        *outer, key = draw(st.sampled_from(found))
        inner = whole
        for each in outer:
            inner = inner[each]
        match draw(st.sampled_from(["remove", "replace", "repeat"])):
            case "remove":
                del inner[key]
            case "repeat" if isinstance(inner, list):
                inner.insert(key, copy.deepcopy(inner[key]))
            case "repeat":
                inner[f"{key}2" if isinstance(key, str) else key] = copy.deepcopy(inner[key])
            case _:
                inner[key] = copy.deepcopy(draw(values))
    return whole


def har(entries: list[Any]) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": entries}}).encode()


def write_har(folder: Path, entries: list[Any]) -> Path:
    (path := folder / "source.har").write_bytes(har(entries))
    return path


def write_gzip(folder: Path, entries: list[Any]) -> Path:
    (path := folder / "source.har.gz").write_bytes(gzip.compress(har(entries)))
    return path


def attached(entries: list[Any], folder: str = "") -> tuple[list[Any], dict[str, bytes]]:
    """The entries with their messages in files, as Playwright attaches them."""
    files: dict[str, bytes] = {}
    changed, numbers = copy.deepcopy(entries), count(1)
    for each in changed:
        messages = each.pop("_webSocketMessages", None) if isinstance(each, dict) else None
        response = each.get("response") if isinstance(each, dict) else None
        if isinstance(messages, list) and isinstance(response, dict):
            name = f"{folder}{next(numbers)}.jsonl"
            response["content"] = {"_file": name}
            files[name] = b"".join(json.dumps(line).encode() + b"\n" for line in messages)
    return changed, files


def write_zip(folder: Path, entries: list[Any]) -> Path:
    changed, files = attached(entries)
    with zipfile.ZipFile(path := folder / "source.zip", "w") as file:
        file.writestr("har.har", har(changed))
        for name, data in files.items():
            file.writestr(name, data)
    return path


def write_trace(folder: Path, entries: list[Any]) -> Path:
    changed, files = attached(entries, "resources/")
    events = [{"type": "resource-snapshot", "snapshot": each} for each in changed]
    with zipfile.ZipFile(path := folder / "trace.zip", "w") as file:
        file.writestr("trace.network", b"".join(json.dumps(each).encode() + b"\n" for each in events))
        for name, data in files.items():
            file.writestr(name, data)
    return path


def good_flow(name: str) -> dict[str, Any]:
    flow = tflow.twebsocketflow()
    flow.request.path = f"/{name}"
    found: Any = tnetstring.loads(tnetstring.dumps(flow.get_state()))  # tuples become lists
    return dict(found)


def write_flows(folder: Path, states: list[Any]) -> Path:
    (path := folder / "source.mitm").write_bytes(b"".join(map(tnetstring.dumps, states)))
    return path
