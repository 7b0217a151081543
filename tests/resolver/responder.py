#!/usr/bin/env python3
"""responder.py ADDRESS RCODE: answers every DNS query at ADDRESS, port 53, UDP,
with this RCODE and no records. For servers that fail in a certain way."""
import socket
import sys

address, rcode = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((address, 53))
while True:
    message, client = sock.recvfrom(65535)
    if len(message) >= 12 and not message[2] & 0x80:
        flags = bytes([message[2] | 0x80, 0x80 | rcode])
        sock.sendto(message[:2] + flags + message[4:], client)
