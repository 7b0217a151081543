#!/usr/bin/env python3
"""crowd.py ADDR#PORT RATE: opens RATE TCP connections a second for ever, says nothing
through them and keeps the last thousand."""
import collections
import sys
import time

from wire import address, open_socket

where, rate = address(sys.argv[1]), float(sys.argv[2])
connections = collections.deque(maxlen=1000)
print("crowding", flush=True)
start, count = time.monotonic(), 0
while True:
    try:
        connections.append(open_socket(where, stream=True))
    except OSError:
        pass
    count += 1
    time.sleep(max(0, start + count / rate - time.monotonic()))
