"""A program that another process forks. forked_programs.py puts this file beside the socket of its server."""

import json
import os
import signal
import socket
import sys

program = 0
early: list[int] = []


def hand_on(number: int, _: object) -> None:
    if program:
        os.kill(program, number)
    else:
        early.append(number)


for handed_on in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(handed_on, hand_on)
server = socket.socket(socket.AF_UNIX)
folder, name = os.path.split(sys.argv[0])
server.connect(os.path.join(folder, "server"))
request = {
    "program": name,
    "arguments": sys.argv[1:],
    "folder": os.getcwd(),
    "environment": dict(os.environ),
}
data = json.dumps(request).encode() + b"\n"
sent = socket.send_fds(server, [data], [0, 1, 2])
server.sendall(data[sent:])
answers = server.makefile()
program = int(answers.readline())
for waiting in early:
    os.kill(program, waiting)
code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
