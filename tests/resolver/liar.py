#!/usr/bin/env python3
"""liar.py ADDR OTHER: a DNS server at ADDR, port 53, UDP, whose replies (A,
198.51.100.2) have forged ones before and duplicates behind them: another id,
another question, another opcode, no reply at all, from another port, from
address OTHER. All forged ones say 203.0.113.66."""
import socket
import struct
import sys

from wire import A, CNAME, question_end, with_ident

RIGHT, FORGED = socket.inet_aton("198.51.100.2"), socket.inet_aton("203.0.113.66")


def reply(query, addr, flags=0x8180, question=None):
    question = question or query[12:question_end(query)]
    header = query[:2] + struct.pack(">HHHHH", flags, 1, 1, 0, 0)
    return header + question + b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 5, 4) + addr


def bound(addr, port=0):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((addr, port))
    return sock


def main():
    server, other_port, other_addr = bound(sys.argv[1], 53), bound(sys.argv[1]), bound(sys.argv[2], 53)
    while True:
        query, client = server.recvfrom(65535)
        question = query[12:question_end(query)]
        ident = struct.unpack(">H", query[:2])[0]
        forged = reply(query, FORGED)
        for near in (1, 0x100, 0x8000):
            server.sendto(with_ident(forged, ident ^ near), client)
        server.sendto(reply(query, FORGED, question=b"\1x" + question), client)
        server.sendto(reply(query, FORGED, question=question[:-4] + struct.pack(">HH", CNAME, 1)), client)
        server.sendto(reply(query, FORGED, question=question[:-2] + b"\0\4"), client)
        server.sendto(reply(query, FORGED, flags=0x0180), client)
        server.sendto(reply(query, FORGED, flags=0xa180), client)
        server.sendto(forged[:4] + b"\0\0" + forged[6:12] + forged[12 + len(question):], client)
        server.sendto(forged[:4] + b"\0\2" + forged[6:], client)
        for length in (0, 1, 2, 11, 12, len(question) + 11):
            server.sendto(forged[:length], client)
        other_port.sendto(forged, client)
        other_addr.sendto(forged, client)
        server.sendto(reply(query, RIGHT), client)
        server.sendto(forged, client)
        server.sendto(reply(query, RIGHT), client)


if __name__ == "__main__":
    main()
