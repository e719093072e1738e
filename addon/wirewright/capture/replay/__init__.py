"""Replay of a capture: as the server for live apps, or as the app for a live server."""
