#!/usr/bin/env python3
"""A connection to port 53 that its program has closed before the server answered:
what the kernel says to the answer is nobody's any more.

usage: forgotten.py [--mark N] CABLE ADDRESS

CABLE is the far end of the device that the connection leaves through, and plays the
server's part. Fails when the connection does not come out there.
"""

import argparse
import ipaddress
import socket
import struct

from checksum import checksum

SO_MARK = 36
SYN, ACK = 2, 16


def answer(syn):
    """SYN and ACK to the frame of a SYN, or nothing to any other frame."""
    ethernet, packet = syn[:14], syn[14:]
    version = packet[0] >> 4
    # IPv6: no extension headers; IPv4: no options.
    length, protocol, addresses = (40, packet[6], 8) if version == 6 else (20, packet[9], 12)
    size = (length - addresses) // 2
    if protocol != socket.IPPROTO_TCP or version not in (4, 6):
        return None
    source = packet[addresses : addresses + size]
    destination = packet[addresses + size : addresses + 2 * size]
    from_port, to_port, sequence = struct.unpack("!HHI", packet[length : length + 8])
    if to_port != 53:
        return None
    tcp = struct.pack("!HHIIBBHHH", 53, from_port, 1, sequence + 1, 5 << 4, SYN | ACK, 1024, 0, 0)
    pseudo = destination + source + struct.pack("!2I", len(tcp), socket.IPPROTO_TCP)
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    header = packet[:addresses] + destination + source
    if version == 6:
        header = struct.pack("!IH", 6 << 28, len(tcp)) + header[6:]
    else:
        header = struct.pack("!BBH", 0x45, 0, 20 + len(tcp)) + header[4:10] + b"\0\0" + header[12:]
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return ethernet[6:12] + ethernet[:6] + ethernet[12:] + header + tcp


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mark", type=int, default=0)
    parser.add_argument("cable")
    parser.add_argument("address")
    args = parser.parse_args()
    version = ipaddress.ip_address(args.address).version
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as cable:
        cable.bind((args.cable, 3))
        cable.settimeout(10)
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.setsockopt(socket.SOL_SOCKET, SO_MARK, args.mark)
            client.setblocking(False)
            client.connect_ex((args.address, 53))
            reply = None
            while reply is None:
                reply = answer(cable.recv(2048))
        cable.send(reply)


main()
