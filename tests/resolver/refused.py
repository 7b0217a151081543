#!/usr/bin/env python3
"""refused.py COUNT ADDR#PORT: asks so often, a second at most for each, and says
as JSON how many were refused and how long the slowest of these took."""
import json
import sys
import time

from wire import address, ask_udp, query, rcode

REFUSED = 5


def main():
    count, where = int(sys.argv[1]), address(sys.argv[2])
    times = []
    lost = others = 0
    for _ in range(count):
        start = time.monotonic()
        reply = ask_udp(where, query("vpn.example.org"), timeout=1)
        if reply is None:
            lost += 1
        elif rcode(reply) == REFUSED:
            times.append(time.monotonic() - start)
        else:
            others += 1
    print(json.dumps({"refused": len(times), "lost": lost, "others": others,
                      "slowest_ms": round(1000 * max(times, default=0), 1)}))


if __name__ == "__main__":
    main()
