"""Playwright's WebSocket API for any app behind mitmproxy.

Importing this package imports neither mitmproxy nor asyncio, as pytest imports it at each start. Its names
are those of `in_process_api`, which is imported when the first of them is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from wirewright.requirements import INSIDE_MITMPROXY, require

require(["pyee"], with_them=INSIDE_MITMPROXY)  # before the modules that import it

from wirewright.model import socket_text
from wirewright.values import VERSION

if TYPE_CHECKING:
    from wirewright.in_process_api import *  # noqa: F403
    from wirewright.in_process_api import __all__ as __all__
    from wirewright.model.public_names import *  # noqa: F403  mypy does not follow `__all__ +=`
else:

    def __getattr__(name: str) -> object:
        """A name of the package (PEP 562)."""
        try:
            return getattr(import_module("wirewright.in_process_api"), name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})


def _redactor() -> socket_text.Redactor:
    from wirewright.capture.redaction import Redaction  # an import of the package does not need it

    return Redaction()


socket_text.redact_with(_redactor)

__version__ = VERSION
