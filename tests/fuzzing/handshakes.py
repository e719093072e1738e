"""Handshakes of hostile apps and answers of hostile servers."""

from collections.abc import Callable
from random import Random

from support.raw_peers import accepting, asking

Heads = Callable[[Random, str, str, str], bytes]


def good(random: Random, target: str, host: str, extensions: str) -> bytes:
    return asking(target, host, extensions)


def odd_host(random: Random, target: str, host: str, extensions: str) -> bytes:
    odd = random.choice(["1.2.3.4.5", "ä..b", "ä" * 64, "[::1", "", "a b", "%00", "\x1b[31m", "x" * 70_000])
    return asking(target, odd, extensions)


def many_fields(random: Random, target: str, host: str, extensions: str) -> bytes:
    head = asking(target, host, extensions)
    return head[:-2] + b"X-Same: a\r\n" * random.choice([1_000, 5_000]) + b"\r\n"


def odd_field(random: Random, target: str, host: str, extensions: str) -> bytes:
    field = random.choice(
        [
            b"X: \x1b[31m",
            b"X: \xff\xfe",
            b"Connection: close",
            b"Sec-WebSocket-Protocol: \x00",
            b"A:b\nC:d",
            b":",
        ]
    )
    return asking(target, host, extensions)[:-2] + field + b"\r\n\r\n"


def other_upgrade(random: Random, target: str, host: str, extensions: str) -> bytes:
    odd = random.choice([b"websocket/13", b"WebSocket", b"websocket, h2c", b"h2c"])
    return asking(target, host, extensions).replace(b"Upgrade: websocket", b"Upgrade: " + odd)


def post(random: Random, target: str, host: str, extensions: str) -> bytes:
    return asking(target, host, extensions).replace(b"GET ", b"POST ", 1)


REQUESTS: tuple[Heads, ...] = (*(good,) * 12, odd_host, many_fields, odd_field, other_upgrade, post)


def answer(random: Random, extensions: str) -> bytes:
    """A server's answer: nearly always a 101."""
    good_answer = accepting(extensions)
    match random.randrange(16):
        case 0:
            return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n\x1b[2J"
        case 1:
            return good_answer[:-2] + b"X-Same: a\r\n" * 5_000 + b"\r\n"
        case 2:
            return random.randbytes(200)
        case 3:
            return good_answer.replace(b"101", random.choice([b"200", b"101 \x1b[31m", b"999", b"-1"]), 1)
        case 4:
            return good_answer[:-2] + b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n"
        case _:
            return good_answer
