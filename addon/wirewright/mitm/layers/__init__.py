"""The wire's place among mitmproxy's layers."""
