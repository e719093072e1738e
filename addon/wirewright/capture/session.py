"""The one capture that runs in a process, if one does."""

import logging
from collections.abc import Iterable
from pathlib import Path

import wirewright
from wirewright.capture.recorder import Recorder
from wirewright.capture.redaction import DEFAULT
from wirewright.capture.schema import CaptureError
from wirewright.model.matching import UrlMatch
from wirewright.state import control

logger = logging.getLogger(__name__)


class CaptureSession:
    """Begins and ends it."""

    def __init__(self) -> None:
        self._recorder: Recorder | None = None

    def start(
        self, path: Path, url: UrlMatch | None, max_payload: int | None, redact: Iterable[str] | None
    ) -> None:
        """Record the sockets that are open and those that will be. Raises CaptureError if that cannot be."""
        if self._recorder is not None:
            raise CaptureError(f"a capture runs already: {self._recorder.path}")
        self._recorder = Recorder(
            path,
            f"wirewright {wirewright.__version__}",
            url=url,
            max_payload=max_payload,
            redact=DEFAULT if redact is None else redact,
        )
        control.start_recording(self._recorder)
        logger.info("WebSockets are recorded in %s", path)

    def stop(self) -> None:
        """Record no more; the file is complete on return. Nothing happens if no capture runs."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            control.stop_recording()
            recorder.stop()
