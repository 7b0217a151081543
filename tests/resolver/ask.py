#!/usr/bin/env python3
"""Asks a DNS server and says, as one line of JSON, what came back and when.

  ask.py [options] NAME        one query after the other; % in NAME is its number
  ask.py --until-answer NAME   a new query every 200 ms, until one is answered

Only the standard library; UDP, type A.
"""
import argparse
import json
import os
import random
import select
import socket
import struct
import sys
import time

DEADLINE = 60.0


def query(ident, name):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l)
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def connect(args):
    family = socket.AF_INET6 if ":" in args.server else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.connect((args.server, args.port))
    return sock


def receive(sock, ident, timeout):
    """RCODE and answer count of the reply with this id, or None."""
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            return None
        reply = sock.recv(65535)
        if len(reply) >= 12 and struct.unpack(">H", reply[:2])[0] == ident:
            return reply[3] & 15, struct.unpack(">H", reply[6:8])[0]
    return None


def pause(path):
    """Says by a file that half is done, and waits until it is taken away."""
    open(path, "w").close()
    end = time.monotonic() + DEADLINE
    while os.path.exists(path):
        if time.monotonic() > end:
            sys.exit("ask.py: nobody took %s away" % path)
        time.sleep(0.01)


def sequence(args):
    errors, lost, times = 0, 0, []
    for number in range(args.count):
        if args.pause and number == args.count // 2:
            pause(args.pause)
        ident = random.randrange(65536)
        sock = connect(args)
        start = time.monotonic()
        sock.send(query(ident, args.name.replace("%", str(number))))
        got = receive(sock, ident, args.timeout)
        times.append(1000 * (time.monotonic() - start))
        lost += got is None
        errors += got is not None and (got[0] != 0 or got[1] == 0)
        sock.close()
        time.sleep(args.interval)
    slow = sum(t > 150 for t in times)
    print(json.dumps({"asked": args.count, "lost": lost, "errors": errors, "over_150_ms": slow,
                      "slowest_ms": round(max(times), 1),
                      "median_ms": round(sorted(times)[len(times) // 2], 2)}))


def until_answer(args):
    sock = connect(args)
    end = time.monotonic() + DEADLINE
    asked = 0
    while time.monotonic() < end:
        asked += 1
        sock.send(query(random.randrange(65536), args.name))
        until = time.monotonic() + 0.2
        while (left := until - time.monotonic()) > 0:
            if select.select([sock], [], [], left)[0]:
                reply = sock.recv(65535)
                if reply[3] & 15 == 0:
                    print(json.dumps({"asked": asked, "answered_at": time.time()}))
                    return
    sys.exit("ask.py: no answer in %d s" % DEADLINE)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=54)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=6)
    parser.add_argument("--interval", type=float, default=0)
    parser.add_argument("--pause", metavar="FILE", help="wait at half, while FILE is there")
    parser.add_argument("--until-answer", action="store_true")
    parser.add_argument("name")
    args = parser.parse_args()
    (until_answer if args.until_answer else sequence)(args)


if __name__ == "__main__":
    main()
