# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers every connection with a line: `serve.py ADDRESS PORT`. Looks up no names."""
import socket
import socketserver
import sys


class Line(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"here\n")


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    allow_reuse_address = daemon_threads = True


Server((sys.argv[1], int(sys.argv[2])), Line).serve_forever()
