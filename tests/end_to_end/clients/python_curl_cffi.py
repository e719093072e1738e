"""Usage: python python_curl_cffi.py URL PROXY CA."""

import sys

import curl_cffi

url, proxy, ca = sys.argv[1:]

session = curl_cffi.Session(proxy=proxy, verify=ca)
ws = session.ws_connect(url)

ws.send_str("buy é 🎉")
print("text", ws.recv_str())
ws.send_binary(bytes([0, 1, 254, 255]))
print("binary", ws.recv()[0].hex())
ws.close(4001, b"bye")
