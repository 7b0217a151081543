#!/usr/bin/env python3
"""scripted.py ADDR...: a DNS server at port 53, UDP, that does what the first
label of a name says, for all servers, clients and moments the same:

  d900    answers after 900 ms
  w10     answers once more 10 ms later
  l2      loses the first two transmissions of the query
  r5      answers with RCODE 5
  n1      neither recursion nor authority nor an answer (a lame server)

and any of them together; what is behind a hyphen says nothing, as in `d200w10-x`. Prints a line for each query
that comes in: its name, and the port it came from.
"""
import collections
import heapq
import re
import select
import socket
import struct
import sys
import time

from wire import question_end

ANSWER = socket.inet_aton("198.51.100.2")


def script(query):
    label = query[13:13 + query[12]].decode("latin-1").lower().split("-")[0]
    return {word[0]: int(word[1:] or 1) for word in re.findall(r"[dwlrn]\d*", label)}


def reply(query, steps):
    question = query[12:question_end(query)]
    if steps.get("n"):
        return query[:2] + struct.pack(">HHHHH", 0x8100, 1, 0, 0, 0) + question
    if steps.get("r"):
        return query[:2] + struct.pack(">HHHHH", 0x8180 | steps["r"], 1, 0, 0, 0) + question
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + ANSWER
    return query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + question + record


def main():
    socks = []
    for addr in sys.argv[1:]:
        sock = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((addr, 53))
        socks.append(sock)
    seen = collections.Counter()
    due, number = [], 0
    while True:
        left = max(0, due[0][0] - time.monotonic()) if due else None
        for sock in select.select(socks, [], [], left)[0]:
            query, client = sock.recvfrom(65535)
            now, steps, question = time.monotonic(), script(query), query[12:]
            seen[question] += 1
            print(question[1:1 + question[0]].decode("latin-1"), client[1], flush=True)
            if seen[question] <= steps.get("l", 0):
                continue
            times = [steps.get("d", 0)]
            times += [times[0] + steps["w"]] if "w" in steps else []
            for ms in times:
                number += 1
                heapq.heappush(due, (now + ms / 1000, number, sock, client, reply(query, steps)))
        while due and due[0][0] <= time.monotonic():
            _, _, sock, client, answer = heapq.heappop(due)
            sock.sendto(answer, client)


if __name__ == "__main__":
    main()
