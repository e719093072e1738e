"""A mitmproxy script that prints the port once the proxy runs."""

from wirewright import proxy


def running() -> None:
    print("PORT", proxy.port, flush=True)
