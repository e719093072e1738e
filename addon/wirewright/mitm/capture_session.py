"""The captures of the proxy and of its contexts: each of them has at most one."""

import atexit
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wirewright.capture.errors import CaptureError
from wirewright.capture.recorder import Recorder
from wirewright.capture.redaction import DEFAULT
from wirewright.model.context_filter import ContextFilter
from wirewright.model.event_loops import call_in_loop, running_loop
from wirewright.model.ownership import Owner
from wirewright.printable import get_logger
from wirewright.state import control
from wirewright.values import VERSION

logger = get_logger(__name__)


class CaptureSession:
    """Begins and ends captures of the proxy or of one of its contexts."""

    def __init__(self, context: ContextFilter | None = None) -> None:
        self._context = context
        self._recorder: Recorder | None = None
        self._owner: Owner | None = None

    def start(
        self,
        path: Path,
        *,
        redact: Iterable[str] | None = None,
        owner: Owner | None = None,
        **options: Any,
    ) -> None:
        """Record the sockets that are open and those that will be. `options` are the recorder's.

        With an owner, a script, it ends when that is forgotten.

        Raises CaptureError if that cannot be.
        """
        self._drop_ended()
        if self._recorder is not None:
            raise CaptureError(f"a capture runs already: {self._recorder.path}")
        loop = running_loop()

        def over(_: Recorder) -> None:
            if loop is not None:
                call_in_loop(loop, self._drop_ended)

        self._recorder = Recorder(
            path,
            f"wirewright {VERSION}",
            redact=DEFAULT if redact is None else redact,
            on_over=over,
            **options,
        )
        self._owner = owner
        control.start_recording(self._recorder, self._context)
        # mitmproxy does not call the addons' `done` if an error or a closed terminal ends it.
        atexit.register(self.stop)
        logger.info("WebSockets are recorded in %s", path)

    def annotate(self, text: str) -> None:
        """Add a remark. Raises CaptureError while no capture runs."""
        self._drop_ended()
        if self._recorder is None:
            raise CaptureError("no capture runs that a remark could go into")
        self._recorder.annotate(text)

    def forget(self, owner: Owner) -> None:
        """End the capture if a script that is gone has begun it."""
        if self._owner is owner:
            self.stop()

    def _drop_ended(self) -> None:
        """End a recording that has ended by itself, for lack of free space."""
        if self._recorder is not None and self._recorder.has_ended:
            self.stop()

    def stop(self) -> None:
        """Record no more; the file is complete on return. Nothing happens if no capture runs."""
        recorder, self._recorder = self._recorder, None
        self._owner = None
        if recorder is not None:
            atexit.unregister(self.stop)
            control.stop_recording(self._context)
            recorder.stop()
