"""Playwright's WebSocket API for any app behind mitmproxy.

Importing this package imports no mitmproxy: only `launch` and the addon itself need it.
"""

from wirewright.requirements import INSIDE_MITMPROXY, require

require(["pyee"], with_them=INSIDE_MITMPROXY)  # before the modules that import it

from wirewright.launch import launch
from wirewright.model import public_names, socket_text
from wirewright.model.assertions import expect
from wirewright.model.public_names import *  # noqa: F403
from wirewright.state import proxy
from wirewright.values import VERSION


def _redactor() -> socket_text.Redactor:
    from wirewright.capture.redaction import Redaction  # an import of the package does not need it

    return Redaction()


socket_text.redact_with(_redactor)

__all__ = []
__all__ += public_names.__all__
__all__ += ["expect", "launch", "proxy"]

__version__ = VERSION
