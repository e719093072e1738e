"""Usage: python wscat.py URL PROXY CA. It runs on a terminal, and has text messages only."""

import os
import pty
import re
import subprocess
import sys

url, proxy, ca = sys.argv[1:]
command = ["wscat", "--proxy", proxy, "--ca", ca, "--connect", url]

screen, terminal = pty.openpty()
process = subprocess.Popen([*command, "--slash", "--no-color"], stdin=terminal, stdout=terminal)
os.close(terminal)


def shown(pattern: str) -> str:
    text = b""
    while not (found := re.search(pattern.encode(), text)):
        text += os.read(screen, 4096)
    return found[1].decode()


shown("(Connected)")
os.write(screen, "buy é 🎉\n".encode())
print("text", shown("< ([^\r\n\x1b]+)[\r\n\x1b]"))
os.write(screen, b"/close 4001 bye\n")
print("closed", shown(r"Disconnected \(code: (\d+, reason: .*)\)").replace(", reason:", "").replace('"', ""))
sys.exit(process.wait())
