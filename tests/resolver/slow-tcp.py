#!/usr/bin/env python3
"""slow-tcp.py ADDRESS HOW [SECONDS]: a DNS server, UDP and TCP, whose TCP is odd. It
never closes a connection before the client does, unless HOW says so.

  late     answers after SECONDS
  twice    answers, and once more SECONDS later
  silent   never answers, and never closes
  garbage  sends messages that are no answer, as fast as they are read
  stays    answers, and closes SECONDS after the client has done so
"""
import socket
import struct
import sys
import threading
import time

from echo import reply
from wire import framed, read_framed

address, how = sys.argv[1], sys.argv[2]
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0
family = socket.AF_INET6 if ":" in address else socket.AF_INET


def talk(connection):
    query = read_framed(connection)
    if query is None:
        return
    answer = framed(reply(query))
    if how == "garbage":
        while True:
            connection.sendall(framed(bytes(40)) * 100)
    if how == "late":
        time.sleep(seconds)
    if how != "silent":
        connection.sendall(answer)
    if how == "twice":
        time.sleep(seconds)
        connection.sendall(answer)
    while connection.recv(4096):
        pass
    if how == "stays":
        time.sleep(seconds)
        connection.sendall(answer)


def serve(connection):
    with connection:
        try:
            talk(connection)
        except OSError:
            pass


def datagrams(sock):
    while True:
        query, client = sock.recvfrom(65535)
        sock.sendto(reply(query), client)


udp = socket.socket(family, socket.SOCK_DGRAM)
udp.bind((address, 53))
threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
listener = socket.create_server((address, 53), family=family, backlog=64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
