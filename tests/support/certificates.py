"""The certificates of the tests' own servers."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """A CA of the servers' side: what the proxy must trust, and what a server presents."""

    ca_file: Path
    server_context: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    ca = trustme.CA()
    ca_file = folder / "servers-ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return Certificates(ca_file, context)


def trusting(ca_certificate: Path) -> ssl.SSLContext:
    """What an app uses that trusts the proxy's CA, and nothing else."""
    return ssl.create_default_context(cafile=str(ca_certificate))
