"""The API from another process: the protocol between a running proxy and its clients, and both ends."""
