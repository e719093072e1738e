"""The objects that users hold, without I/O and without mitmproxy."""
