"""DNS messages as bytes: made, sent and received. Only the standard library."""
import os
import random
import select
import socket
import struct
import time

TIMEOUT = 5.0

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, NAPTR, DNAME, OPT, DS, SSHFP, RRSIG, NSEC, DNSKEY, TLSA, SVCB, HTTPS, \
    ANY, CAA, PRIVATE = 1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 39, 41, 43, 44, 46, 47, 48, 52, 64, 65, 255, 257, 65400
IN, CHAOS = 1, 3
RD, AD, CD, AA, TC, RA = 0x0100, 0x0020, 0x0010, 0x0400, 0x0200, 0x0080


def encode_name(name):
    labels = [label.encode("latin-1") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def edns(payload=1232, version=0, do=False, options=(), flags=0):
    """An OPT record; options are pairs of code and bytes."""
    data = b"".join(struct.pack(">HH", code, len(value)) + value for code, value in options)
    flags |= 0x8000 if do else 0
    return b"\0" + struct.pack(">HHBBHH", OPT, payload, 0, version, flags, len(data)) + data


def query(name, kind=A, klass=IN, flags=RD, opt=b"", ident=None):
    ident = random.randrange(65536) if ident is None else ident
    header = struct.pack(">HHHHHH", ident, flags, 1, 0, 0, 1 if opt else 0)
    return header + encode_name(name) + struct.pack(">HH", kind, klass) + opt


def ident(message):
    return struct.unpack(">H", message[:2])[0]


def with_ident(message, number):
    return struct.pack(">H", number) + message[2:]


def rcode(message):
    return message[3] & 15


def answers(message):
    return struct.unpack(">H", message[6:8])[0]


def question_end(message):
    """Where the only question of a query ends."""
    at = 12
    while message[at]:
        at += 1 + message[at]
    return at + 5


def open_socket(where, stream=False, mark=0, source=None):
    """A socket connected to (address, port); with a mark, this needs root."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    sock.settimeout(TIMEOUT)
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    if source:
        sock.bind((source, 0))
    sock.connect(where)
    return sock


def ask_udp(where, message, mark=0, timeout=TIMEOUT):
    """The reply with the query's id, or None."""
    with open_socket(where, mark=mark) as sock:
        sock.send(message)
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                return None
            try:
                reply = sock.recv(65535)
            except ConnectionRefusedError:
                return None
            if reply[:2] == message[:2]:
                return reply
    return None


def framed(message):
    return struct.pack(">H", len(message)) + message


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


def read_framed(sock):
    """One message of a TCP connection, None where there is no more."""
    try:
        length = read_exactly(sock, 2)
        return length and read_exactly(sock, struct.unpack(">H", length)[0])
    except (TimeoutError, ConnectionError):
        return None


def address(text):
    """`ADDR` or `ADDR#PORT`, as a pair."""
    host, _, port = text.partition("#")
    return host, int(port or 53)


def rss_kib(pid):
    """Resident and anonymous memory of a process, and its peak, in KiB."""
    with open(os.path.join("/proc", str(pid), "status")) as status:
        fields = dict(line.split(":", 1) for line in status)
    return {key: int(fields[name].split()[0])
            for key, name in (("peak", "VmHWM"), ("rss", "VmRSS"), ("anonymous", "RssAnon"))}
