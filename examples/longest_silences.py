"""Where an app had to wait: the longest times between what it sent and the server's next message.

python examples/longest_silences.py session.db
"""

import sys

from wirewright import capture
from wirewright.capture import CaptureError, RecordedFrame


def main(path: str) -> None:
    waits: list[tuple[float, str, RecordedFrame]] = []
    with capture.open(path) as opened:
        for socket in opened.sockets():
            asked: RecordedFrame | None = None
            for frame in opened.frames(socket=socket.id):
                if not frame.is_message:
                    continue
                if frame.direction == "sent":
                    asked = frame
                elif asked is not None:
                    waits.append(((frame.time_ns - asked.time_ns) / 1e6, socket.url, asked))
                    asked = None
    for milliseconds, url, frame in sorted(waits, key=lambda wait: -wait[0])[:10]:
        print(f"{milliseconds:8.1f} ms  {url}  {frame.payload[:60]!r}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (CaptureError, TypeError) as error:
        raise SystemExit(f"usage: python examples/longest_silences.py FILE ({error})") from None
