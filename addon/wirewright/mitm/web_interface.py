"""mitmweb's own web interface, where clients of the proxy can use it (CVE-2025-23217)."""

from mitmproxy import ctx, version

from wirewright.printable import get_logger
from wirewright.requirements import is_older

logger = get_logger(__name__)

SAFE_VERSION = "11.1.2"


class WebInterfaceCheck:
    """Warns at the start of a mitmweb that serves its interface to the proxy's clients, too."""

    name = "wirewright-web-interface"

    def running(self) -> None:
        if "web_port" in ctx.options and is_older(version.VERSION, SAFE_VERSION):
            logger.warning(
                "mitmweb %s lets every client of the proxy use its web interface, and run code with it "
                "(CVE-2025-23217). Use it only with apps that you trust, or install mitmproxy %s or newer "
                "(Python 3.12).",
                version.VERSION,
                SAFE_VERSION,
            )
