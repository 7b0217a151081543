#!/usr/bin/env python3
"""burst.py COUNT ADDR#PORT [NAME]: asks so many queries at once, in a row, and says
as JSON how often each RCODE came back, and how many queries got nothing. `%` in the
name is each query's number; the name is n%.example.org."""
import json
import sys
import time

from wire import address, ident, open_socket, query, rcode

PATIENCE = 20


def main():
    count, where = int(sys.argv[1]), address(sys.argv[2])
    name = sys.argv[3] if len(sys.argv) > 3 else "n%.example.org"
    open_queries = set(range(1, count + 1))
    codes = {}
    with open_socket(where) as sock:
        sock.settimeout(1)
        for number in open_queries:
            sock.send(query(name.replace("%", str(number)), ident=number))
            time.sleep(0.001)
        end = time.monotonic() + PATIENCE
        while open_queries and time.monotonic() < end:
            try:
                reply = sock.recv(65535)
            except TimeoutError:
                continue
            open_queries.discard(ident(reply))
            codes[rcode(reply)] = codes.get(rcode(reply), 0) + 1
    print(json.dumps({"codes": codes, "lost": len(open_queries)}))


if __name__ == "__main__":
    main()
