"""The error of captures that cannot be read or written."""

from wirewright.model.errors import Error


class CaptureError(Error):
    """A capture cannot be read or written, for a reason that a user can mend."""

    __module__ = "wirewright.capture"  # the name in tracebacks, which users import it by
