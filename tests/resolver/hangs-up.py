#!/usr/bin/env python3
"""hangs-up.py ADDRESS: a DNS server, TCP only, that takes the query and closes."""
import socket
import sys

listener = socket.create_server((sys.argv[1], 53))
while True:
    client, _ = listener.accept()
    client.recv(65535)
    client.close()
