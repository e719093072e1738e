"""Hostile traffic and hostile files for ten minutes: `make fuzz`."""
