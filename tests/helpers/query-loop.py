#!/usr/bin/env python3
"""Asks a DNS server the same question over and over, as a client with many
look-ups does: a new socket, and so a new source port, for each.

usage: query-loop.py [--gid GID] [--server ADDR] [--name NAME] [--tcp]
                     [--source-port PORT] [--device DEV] [--count N] [--pause SECONDS]
                     [--timeout SECONDS] LOG

Every query adds one character to LOG: the last digit of the address in the
answer ('3' from 192.0.2.53, the primary resolver; '4' from 192.0.2.54, the
WAN's) or '-' for none. Who reads LOG can wait for its length and count.
"""

import argparse
import os
import socket
import struct
import sys
import time

DNS_PORT = 53


def query(name, number):
    """A question for the address of this name."""
    header = struct.pack("!6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return header + labels + b"\0" + struct.pack("!2H", 1, 1)


def ask(args, number):
    """The character for one query."""
    family = socket.AF_INET6 if ":" in args.server else socket.AF_INET
    kind = socket.SOCK_STREAM if args.tcp else socket.SOCK_DGRAM
    message = query(args.name, number)
    with socket.socket(family, kind) as client:
        client.settimeout(args.timeout)
        try:
            if args.device:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, args.device.encode())
            if args.source_port:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.bind(("", args.source_port))
            client.connect((args.server, DNS_PORT))
            if args.tcp:
                client.sendall(struct.pack("!H", len(message)) + message)
            else:
                client.send(message)
            answer = client.recv(4096)
        except OSError:
            return "-"
    return str(answer[-1] % 10) if len(answer) > len(message) else "-"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gid", type=int)
    parser.add_argument("--server", default="127.0.0.1")
    parser.add_argument("--name", default="who.test")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--source-port", type=int)
    parser.add_argument("--device")
    parser.add_argument("--count", type=int, default=sys.maxsize)
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("log")
    args = parser.parse_args()
    if args.gid is not None:
        os.setgroups([])
        os.setresgid(args.gid, args.gid, args.gid)
    with open(args.log, "wb", buffering=0) as log:
        for number in range(args.count):
            log.write(ask(args, number).encode())
            time.sleep(args.pause)


main()
