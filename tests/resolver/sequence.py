#!/usr/bin/env python3
"""sequence.py COUNT ADDR#PORT: asks so often, one query after the other, and
prints how often which address was the answer."""
import collections
import socket
import sys

from wire import A, address, ask_udp, query


def outcome(reply):
    """The address at the end of the reply, or what it lacks."""
    if reply is None:
        return "lost"
    kind = int.from_bytes(reply[-14:-12], "big")
    return socket.inet_ntoa(reply[-4:]) if kind == A else f"RCODE {reply[3] & 15}"


def main():
    count, where = int(sys.argv[1]), address(sys.argv[2])
    outcomes = collections.Counter(outcome(ask_udp(where, query(f"f0180.n{n}.echo"))) for n in range(count))
    for what, how_often in outcomes.items():
        print(how_often, what)


if __name__ == "__main__":
    main()
