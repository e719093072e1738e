"""The Autobahn test suite, run with two libraries, direct and through the proxy: `python -m conformance`."""
