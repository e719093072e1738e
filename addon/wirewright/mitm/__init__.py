"""Everything that knows mitmproxy: the addon, its hooks, its layers, and the changes to mitmproxy itself."""
