"""The private key of mitmproxy's CA."""

from functools import cache

from mitmproxy import certs


def check_each_private_key_once() -> None:
    """Have each private key read and checked once in this process.

    mitmproxy reads the key of its CA twice at each launch, at 35 ms each: longer than all the rest of it.
    """
    certs.load_pem_private_key = cache(certs.load_pem_private_key)
