"""Changes to mitmproxy, which are taken back when the addon is unloaded."""
