#!/usr/bin/env python3
"""advertise.py DEVICE COUNT RATE: a router that sends COUNT advertisements through
DEVICE, RATE a second: for an hour, with another prefix, lifetime and preference in
each, as a mesh full of routers does."""
import socket
import struct
import sys
import time

device, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
# RFC 4861, section 6.1.2: of a hop limit of 255, or it does not count.
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(device))
for number in range(count):
    preference = (0, 0x08, 0x18)[number % 3]
    header = struct.pack(">BBHBBHII", 134, 0, 0, 64, preference, 3600 + number % 2, 0, 0)
    prefix = socket.inet_pton(socket.AF_INET6, "fdca:ffee:%x::" % (number % 4))
    # Prefix information: on-link and autonomous (section 4.6.2).
    option = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 3600 + number, 1800, 0) + prefix
    # Recursive DNS server (RFC 8106, section 5.1).
    server = struct.pack(">BBHI", 25, 3, 0, 3600) + prefix[:-1] + b"\x01"
    sock.sendto(header + option + server, ("ff02::1", 0, 0, socket.if_nametoindex(device)))
    time.sleep(1 / rate)
