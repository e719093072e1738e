"""The private key of mitmproxy's CA."""

from functools import cache
from pathlib import Path

from mitmproxy import certs
from mitmproxy.options import CONF_BASENAME, KEY_SIZE


def make_ca(folder: Path) -> None:
    """Put a CA of mitmproxy into a folder that has none, and read it: as a proxy does when it starts."""
    certs.CertStore.from_store(folder, CONF_BASENAME, KEY_SIZE)


def check_each_private_key_once() -> None:
    """Have each private key read and checked once in this process.

    mitmproxy reads the key of its CA twice at each launch, at 35 ms each: longer than all the rest of it.
    """
    load = cache(certs.load_pem_private_key)
    certs.load_pem_private_key = lambda data, password: load(data, password)
