"""Captures: files with recorded WebSockets, and their readers. docs/capture.md describes the file."""

from wirewright.capture.errors import CaptureError
from wirewright.capture.reader import Capture, open  # noqa: A004
from wirewright.capture.records import Annotation, FrameFlag, Gap, RecordedFrame, Session, Socket
from wirewright.capture.replay.comparisons import ignoring, ignoring_keys

__all__ = [
    "Annotation",
    "Capture",
    "CaptureError",
    "FrameFlag",
    "Gap",
    "RecordedFrame",
    "Session",
    "Socket",
    "ignoring",
    "ignoring_keys",
    "open",
]
