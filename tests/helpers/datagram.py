#!/usr/bin/env python3
"""One UDP datagram, sent as a program sends it, or put on a cable as a frame that
comes from somewhere else.

usage: datagram.py [--gid GID] [--device DEV] [--mark N] [--priority N] [--bind ADDR] ADDR PORT
       datagram.py --echo ADDR PORT          answers whatever comes
       datagram.py --frame DEV [--source-port N] MAC SOURCE DESTINATION PORT

Fails when the kernel does not take it.
"""

import argparse
import ipaddress
import os
import socket
import struct
import sys

from checksum import checksum

SO_MARK, SO_PRIORITY = 36, 12


def frame(mac, source, destination, source_port, port):
    """An Ethernet frame with a datagram."""
    source, destination = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    payload = b"a name that was looked up"
    length = 8 + len(payload)
    header = struct.pack("!4H", source_port, port, length, 0)
    pseudo = source.packed + destination.packed + struct.pack("!2I", length, 17)
    header = header[:6] + struct.pack("!H", checksum(pseudo + header + payload))
    udp = header + payload
    if source.version == 6:
        packet = struct.pack("!IHBB", 6 << 28, length, 17, 64) + source.packed + destination.packed
    else:
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0)
        packet += source.packed + destination.packed
        packet = packet[:10] + struct.pack("!H", checksum(packet)) + packet[12:]
    kind = 0x86DD if source.version == 6 else 0x0800
    sender = bytes.fromhex("020000000009")
    return bytes.fromhex(mac.replace(":", "")) + sender + struct.pack("!H", kind) + packet + udp


def echo(address, port):
    """Answers for ever."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        while True:
            data, client = server.recvfrom(4096)
            server.sendto(data, client)


def send(args):
    """As a program does."""
    address, port = args.rest
    if args.gid is not None:
        os.setgroups([])
        os.setresgid(args.gid, args.gid, args.gid)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        if args.device:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, args.device.encode())
        if args.mark is not None:
            client.setsockopt(socket.SOL_SOCKET, SO_MARK, args.mark)
        if args.priority is not None:
            client.setsockopt(socket.SOL_SOCKET, SO_PRIORITY, args.priority)
        if args.bind:
            client.bind((args.bind, 0))
        client.sendto(b"x", (address, int(port)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gid", type=int)
    parser.add_argument("--device")
    parser.add_argument("--mark", type=int)
    parser.add_argument("--priority", type=int)
    parser.add_argument("--bind")
    parser.add_argument("--echo", action="store_true")
    parser.add_argument("--frame")
    parser.add_argument("--source-port", type=int, default=9)
    parser.add_argument("rest", nargs="+")
    args = parser.parse_args()
    try:
        if args.echo:
            echo(args.rest[0], int(args.rest[1]))
        elif args.frame:
            mac, source, destination, port = args.rest
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as cable:
                cable.bind((args.frame, 0))
                cable.send(frame(mac, source, destination, args.source_port, int(port)))
        else:
            send(args)
    except OSError as error:
        sys.exit(f"{error}")


main()
