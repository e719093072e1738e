"""The sync API: calls between threads, and the wrappers of the async objects."""
