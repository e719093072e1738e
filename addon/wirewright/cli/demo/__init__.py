"""A small service, a small app, the proxy between them, and a script that waits for a frame.

`wirewright demo`, or `make demo` in a checkout.
"""
