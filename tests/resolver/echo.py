#!/usr/bin/env python3
"""echo.py [--late SECONDS] ADDR...: a DNS server on port 53, UDP and TCP, for
replies that no other server gives.

A reply holds what came: the question, a TXT record with the bytes of the query
behind its id, and the query's other records (its EDNS among them). Labels of
the name change it: `fXXXX` sets the flags, `sN` fills it up to N bytes,
`empty` leaves the TXT record out, `bare` everything but the header, `lower`
spells the question in lower case.
"""
import re
import selectors
import socket
import struct
import sys
import threading
import time

from wire import TXT, framed, question_end, read_framed


def reply(query):
    end = question_end(query)
    question, rest = query[12:end], query[end:]
    labels = question[:-4].decode("latin-1").lower()
    flags = re.search("f([0-9a-f]{4})\x04|f([0-9a-f]{4})\x05", labels)
    flags = int(flags[1] or flags[2], 16) if flags else 0x0180
    flags |= 0x8000 | (query[2] & 0x78) << 8
    if "bare" in labels:
        return query[:2] + struct.pack(">HHHHH", flags, 0, 0, 0, 0)
    if "lower" in labels:
        question = question[:-4].lower() + question[-4:]
    size = re.search(r"s(\d+)", labels)
    record = b"" if "empty" in labels else text(query[2:], int(size[1]) - end - len(rest) if size else 0)
    counts = struct.pack(">HHH", 1, 1 if record else 0, 0)
    return query[:2] + struct.pack(">H", flags) + counts + query[10:12] + question + record + rest


def text(data, size):
    """A TXT record for the question's name, of at least `size` bytes if it can be."""
    data += bytes(max(0, size - 12 - len(data) - (size // 256 + 1)))
    data = b"".join(bytes([len(part)]) + part for part in (data[at:at + 255] for at in range(0, len(data), 255)))
    return b"\xc0\x0c" + struct.pack(">HHIH", TXT, 1, 5, len(data)) + data


def serve_stream(connection, late):
    with connection:
        while (query := read_framed(connection)) is not None:
            time.sleep(late)
            connection.sendall(framed(reply(query)))


def main():
    waiting = selectors.DefaultSelector()
    addresses, late = sys.argv[1:], 0.0
    if addresses[0] == "--late":
        late, addresses = float(addresses[1]), addresses[2:]
    for addr in addresses:
        family = socket.AF_INET6 if ":" in addr else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(family, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((addr, 53))
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
            waiting.register(sock, selectors.EVENT_READ, kind)
    while True:
        for key, _ in waiting.select():
            if key.data == socket.SOCK_STREAM:
                threading.Thread(target=serve_stream, args=(key.fileobj.accept()[0], late), daemon=True).start()
            else:
                query, client = key.fileobj.recvfrom(65535)
                time.sleep(late)
                try:
                    key.fileobj.sendto(reply(query), client)
                except (IndexError, OSError):
                    # Garbage, or larger than a datagram may be.
                    pass


if __name__ == "__main__":
    main()
