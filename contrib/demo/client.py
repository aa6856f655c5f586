# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes bounded load for ever: `client.py URL REQUESTS_PER_SECOND`; IPv4 and IPv6 in turn.

One line a second: the number answered and the number failed so far.
"""
import socket
import sys
import time
from urllib.parse import urlsplit

url, rate = urlsplit(sys.argv[1]), float(sys.argv[2])
port = url.port or 80
answered = failed = 0
last = time.monotonic()


def get(family):
    info = socket.getaddrinfo(url.hostname, port, family, socket.SOCK_STREAM)[0]
    with socket.socket(info[0], socket.SOCK_STREAM) as s:
        s.settimeout(3)
        s.connect(info[4])
        s.sendall(("GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" % (url.path or "/", url.hostname)).encode())
        return s.recv(200).split(b" ", 2)[1] == b"200"


started = False
for n in range(1000000):
    try:
        ok = get((socket.AF_INET, socket.AF_INET6)[n % 2])
    except (OSError, IndexError):
        ok = False
    started = started or ok
    if started:
        answered, failed = answered + ok, failed + (not ok)
    if time.monotonic() - last >= 1:
        last = time.monotonic()
        print("answered %d failed %d" % (answered, failed), flush=True)
    time.sleep(1 / rate)
