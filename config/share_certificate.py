"""A script for mitmproxy: copies the CA's certificate, without its key, to where apps can read it.

mitmweb --scripts=config/share_certificate.py --set=shared_certificate=/certificate/ca.pem
"""

import shutil
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader


def load(loader: Loader) -> None:
    loader.add_option(
        "shared_certificate", str, "", "Copy the CA's certificate, without its key, to this file."
    )


def running() -> None:
    if ctx.options.shared_certificate:
        certificate = Path(ctx.options.confdir).expanduser() / "mitmproxy-ca-cert.pem"
        shutil.copy(certificate, ctx.options.shared_certificate)
