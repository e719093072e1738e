"""Sockets whose connections Wirewright reads and writes itself, without mitmproxy's layers in between."""
