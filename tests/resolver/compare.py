#!/usr/bin/env python3
"""Sends the same bytes to a server directly and through the resolver, and
compares the bytes that come back, all but the id. What is asked directly over
UDP asks for replies of 1,232 bytes at most, as the resolver does for all.

  compare.py --corpus zone|echo --how udp|tcp|session|pipelined|halfclosed|trickle
             --direct ADDR[#PORT] --through ADDR[#PORT]

Lists every difference, then counts what the replies have shown, as JSON.
Direct sockets carry mark 2, so that they are not taken for the resolver's.
"""
import argparse
import collections
import json
import random
import socket
import sys
import time

from wire import *

DIRECT_MARK = 2
ZONE = "example.org"


def zone_corpus():
    """Queries for what tests/faithful.bats puts into its zone: (title, bytes)."""
    plain = [("@", SOA), ("@", NS), ("@", MX), ("@", DNSKEY), ("@", CAA), ("@", ANY), ("vpn", A), ("vpn", AAAA),
             ("vpn", TXT), ("vpn", SRV), ("chain1", A), ("chain1", AAAA), ("chain1", CNAME), ("loop1", A),
             ("outside", A), ("_vpn._udp", SRV), ("short", TXT), ("empty", TXT), ("text", TXT), ("_dns", SVCB),
             ("web", HTTPS), ("alias", HTTPS), ("naptr", NAPTR), ("private", PRIVATE), ("private", A),
             ("nothing", A), ("a.b.c.nothing", AAAA), ("any.wild", A), ("x.y.wild", TXT), ("dname", DNAME),
             ("x.dname", A), ("host.child", A), ("child", NS), ("child", DS), ("many", AAAA), ("hundreds", A),
             ("sshfp", SSHFP), ("_443._tcp.web", TLSA), ("1", PTR), ("deep." + "a" * 63, A), ("vpn", 0),
             ("vpn", 65535), ("vpn", OPT), ("ent", A), ("sub.ent", A)]
    names = [(ZONE if name == "@" else f"{name}.{ZONE}", kind) for name, kind in plain]
    names += [("", NS), ("org", SOA), ("elsewhere.example", A), ("x" * 63 + ".example", A)]
    variants = {
        "plain": lambda n, k: query(n, k),
        "edns": lambda n, k: query(n, k, opt=edns()),
        "DO": lambda n, k: query(n, k, opt=edns(4096, do=True)),
        "DO small": lambda n, k: query(n, k, opt=edns(512, do=True)),
        "CD AD": lambda n, k: query(n, k, flags=RD | CD | AD, opt=edns(1232)),
        "RD off": lambda n, k: query(n, k, flags=0),
    }
    for title, make in variants.items():
        for name, kind in names:
            yield f"{name} {kind} {title}", make(name, kind)
    spelling = random.Random(20)
    for name, kind in names:
        spelt = "".join(spelling.choice((c.upper(), c.lower())) for c in name)
        yield f"{spelt} {kind} 0x20", query(spelt, kind, opt=edns(do=True))
    for title, opt in edns_variants():
        for name, kind in (("vpn", A), ("nothing", A), ("text", TXT), ("many", AAAA)):
            yield f"{name} {kind} {title}", query(f"{name}.{ZONE}", kind, opt=opt)
    for klass in (0, 4, 254, 255, 65280):
        yield f"class {klass}", query(f"vpn.{ZONE}", A, klass)
    for flag in (AA, TC, RA, 0x40, 0x0f):
        yield f"flags {flag:#x}", query(f"vpn.{ZONE}", A, flags=RD | flag)
    yield from broken(query(f"vpn.{ZONE}", A, opt=edns()))


def edns_variants():
    for payload in (0, 511, 512, 513, 1231, 1232, 1400, 1500, 4096, 65535):
        yield f"payload {payload}", edns(payload, do=True)
    for version in (1, 2, 255):
        yield f"EDNS version {version}", edns(version=version)
    yield "unknown EDNS flags", edns(flags=0x7fff)
    for code, value in ((3, b""), (8, b"\0\1\x18\0\xc0\0\2"), (10, b"12345678"), (12, bytes(128)), (15, b"\0\x16why"),
                        (65001, b""), (65001, bytes(range(256))), (65534, b"x")):
        yield f"EDNS option {code}", edns(do=True, options=[(code, value)])
    yield "EDNS options", edns(options=[(65001, b"one"), (65001, b"two"), (26946, b"three"), (3, b"")])


def broken(message):
    """Ordinary questions, with something behind them that is none of ours."""
    header = bytearray(message)
    yield "trailing bytes", message + b"trailing"
    yield "two OPT", bytes(header[:11] + b"\2") + message[12:] + edns()
    yield "OPT in pieces", message[:-3]
    yield "counts without records", message[:6] + b"\0\1\0\1\0\1" + message[12:question_end(message)]
    yield "OPT with a name", message[:question_end(message)] + b"\1x" + edns()
    yield "an answer in the query", message[:6] + b"\0\1" + message[8:question_end(message)] + \
        b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4" + edns()


def echo_corpus():
    """Queries for echo.py, which puts what it has received into its reply and
    takes the reply's flags from the name."""
    for code in range(16):
        yield f"RCODE {code}", query(f"f{RD | RA | code:04x}.echo", A, opt=edns(do=True))
        yield f"RCODE {code} empty", query(f"f{RD | AA | code:04x}.empty.echo", A)
    for bits in (0, AA, RA, AD, CD, AA | AD, RA | AD, RA | AD | CD, TC, TC | AA, 0x40, AA | RA | AD | CD | 0x40):
        for asked in (0, RD, RD | AD, RD | CD, RD | AD | CD, RD | 0x40):
            yield f"bits {bits:#x} {asked:#x}", query(f"f{asked & RD | bits:04x}.echo", A, flags=asked)
    for title, opt in edns_variants():
        yield title, query("f0180.echo", TXT, opt=opt)
    for extended in (1, 16, 23, 0xff):
        opt = bytearray(edns())
        opt[5] = extended
        yield f"extended RCODE {extended}", query("f0180.echo", A, opt=bytes(opt))
    for size in (400, 511, 512, 600, 1232, 1500, 4096, 20000):
        yield f"{size} bytes", query(f"s{size}.f0180.echo", TXT, opt=edns(65535))
    yield "upper case", query("F0180.eChO", A)
    yield "the reply spells the name another way", query("lower.f0180.eChO", A)
    yield "no question in a failure", query("bare.f0181.echo", A)
    yield "padded query", query("f0180.echo", A, opt=edns(options=[(12, bytes(1000))]))
    yield from broken(query("f0180.echo", A, opt=edns()))


def limited(message, most=1232):
    """The message, asking for replies over UDP that are no larger."""
    at = question_end(message) + 3
    is_larger = message[at - 3:at] == b"\0\0\x29" and int.from_bytes(message[at:at + 2], "big") > most
    return message[:at] + most.to_bytes(2, "big") + message[at + 2:] if is_larger else message


def exchange(how, where, messages, mark=0):
    """The replies to all messages, in the order of the messages."""
    if how == "udp":
        return [ask_udp(where, message, mark) for message in messages]
    if how == "tcp":
        return [over_tcp(where, [message], mark)[0] for message in messages]
    lots = {"session": 40, "pipelined": 60, "halfclosed": 8, "trickle": 4}[how]
    replies = []
    for at in range(0, len(messages), lots):
        replies += over_tcp(where, messages[at:at + lots], mark, how)
    return replies


def over_tcp(where, messages, mark, how="session"):
    with open_socket(where, stream=True, mark=mark) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if how == "session":
            return [sock.sendall(framed(message)) or read_framed(sock) for message in messages]
        data = b"".join(map(framed, messages))
        if how == "trickle":
            for at in range(len(data)):
                sock.sendall(data[at:at + 1])
                time.sleep(0.0002)
        else:
            sock.sendall(data)
        if how == "halfclosed":
            sock.shutdown(socket.SHUT_WR)
        by_ident = {}
        while len(by_ident) < len(messages) and (reply := read_framed(sock)):
            by_ident[ident(reply)] = reply
        if how == "halfclosed" and read_framed(sock) is not None:
            sys.exit("more replies than queries")
        return [by_ident.get(ident(message)) for message in messages]


def shown(reply):
    """What a reply is made of, for the summary."""
    yield "rcode %d" % rcode(reply)
    flags = int.from_bytes(reply[2:4], "big")
    yield from (name for name, bit in (("AA", AA), ("TC", TC), ("RA", RA), ("AD", AD), ("CD", CD)) if flags & bit)
    if b"\0\x2e\0\1" in reply[12:]:
        yield "RRSIG"
    if len(reply) > 5000:
        yield "over 5000 bytes"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("zone", "echo"), required=True)
    parser.add_argument("--how", choices=("udp", "tcp", "session", "pipelined", "halfclosed", "trickle"), required=True)
    parser.add_argument("--direct", type=address, required=True)
    parser.add_argument("--through", type=address, required=True)
    args = parser.parse_args()

    corpus = list({"zone": zone_corpus, "echo": echo_corpus}[args.corpus]())
    numbers = random.sample(range(65536), len(corpus))
    messages = [with_ident(message, number) for number, (_, message) in zip(numbers, corpus)]
    # A server may close the connection after a query that it does not like.
    if args.how == "udp":
        direct = exchange("udp", args.direct, [limited(message) for message in messages], DIRECT_MARK)
    else:
        direct = exchange("tcp", args.direct, messages, DIRECT_MARK)
    through = exchange(args.how, args.through, messages)

    seen, differences = collections.Counter(), 0
    for (title, _), message, wanted, got in zip(corpus, messages, direct, through):
        seen.update(shown(wanted) if wanted else ["no reply"])
        if wanted is None and got is None:
            continue
        if wanted is None or got is None or wanted[2:] != got[2:] or got[:2] != message[:2]:
            differences += 1
            print("differs: %s\n  query   %s\n  direct  %s\n  through %s" % (
                title, message.hex(), wanted and wanted[:400].hex(), got and got[:400].hex()))
    print(json.dumps({"queries": len(corpus), "differences": differences, **seen}))
    sys.exit(differences > 0)


if __name__ == "__main__":
    main()
