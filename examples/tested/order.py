"""The app under test, in Python: buys as many as it is told, and says when that is filled.

python order.py ws://service/orders 3           with HTTP_PROXY set to the proxy
"""

import json
import os
import sys

from websockets.sync.client import connect


def main(url: str, count: str) -> None:
    with connect(url, proxy=os.environ.get("HTTP_PROXY")) as service:
        service.send(json.dumps({"buy": int(count)}))
        print(f"filled {json.loads(service.recv())['filled']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
