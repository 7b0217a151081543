#!/usr/bin/env python3
"""lies.py PORT: a DNS server, UDP, whose every reply is useless in another way.
Those with an address in it say 203.0.113.66, which must never get to a client."""
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "resolver"))

from liar import FORGED, reply  # noqa: E402
from wire import ident, question_end, with_ident  # noqa: E402


def lies(query):
    """What it answers, the next one to the next query."""
    question = query[12:question_end(query)]
    forged = reply(query, FORGED)
    yield with_ident(forged, ident(query) ^ 1)
    yield query[:2] + struct.pack(">H", 0x8182) + query[4:]  # SERVFAIL
    yield reply(query, FORGED, question=b"\1x" + question)
    yield query[:2] + b"\xff" * 400
    yield query[:2] + struct.pack(">H", 0x8185) + query[4:]  # REFUSED
    yield forged[:11]
    yield reply(query, FORGED, flags=0x0180)  # not a reply at all
    yield os.urandom(64)
    yield b""


def main():
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("::", int(sys.argv[1])))
    turn = 0
    while True:
        query, client = server.recvfrom(65535)
        if len(query) > 16:
            choice = list(lies(query))
            server.sendto(choice[turn % len(choice)], client)
            turn += 1


if __name__ == "__main__":
    main()
