#!/usr/bin/env python3
"""hold.py WHAT COUNT ADDR#PORT: opens COUNT TCP connections, keeps them, and
stays until it is killed. Says `holding` when they are open.

  idle   says nothing
  slow   sends a long message, a byte every 100 ms
  half   announces 65,535 bytes, sends most of them, and no more
  flood  sends eight queries of 4,000 bytes each
  deaf   sends queries for 60,000 bytes of text and never reads
"""
import struct
import sys
import time

from wire import TXT, address, edns, framed, open_socket, query


def first_words(what):
    big = query("f0180.echo", TXT, opt=edns(options=[(12, bytes(3900))]))
    if what == "half":
        return b"\xff\xff" + bytes(60000)
    if what == "flood":
        return framed(big) * 8
    if what == "deaf":
        return framed(query("s60000.f0180.echo", TXT, opt=edns())) * 30
    return b""


def main():
    what, count, where = sys.argv[1], int(sys.argv[2]), address(sys.argv[3])
    words = first_words(what)
    connections = []
    for _ in range(count):
        try:
            sock = open_socket(where, stream=True)
        except TimeoutError:
            # All that are served have a query under way, and as many wait as may.
            break
        sock.settimeout(0.05)
        try:
            sock.sendall(words)
        except (TimeoutError, ConnectionError):
            pass
        connections.append(sock)
    print("holding", flush=True)
    message = struct.pack(">H", 60000) + bytes(60000)
    for byte in message if what == "slow" else ():
        for sock in connections:
            try:
                sock.send(bytes([byte]))
            except (TimeoutError, ConnectionError):
                pass
        time.sleep(0.1)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
