"""Cassettes: recorded servers of tests, in text files that are reviewed and kept with the tests."""
