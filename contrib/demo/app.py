# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration's application server: HTTP on 8000, metrics on 9100, PostgreSQL behind it.

It keeps two database connections from its start: one that every request uses, and one that idles
in the pool until /idle asks whether it still lives. /report opens a short connection of its own.
"""
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

DSN = "host=db port=5432 user=demo dbname=postgres connect_timeout=2"
served = 0
lock = threading.Lock()


def connect_patiently():
    for _ in range(200):
        try:
            return psycopg2.connect(DSN)
        except psycopg2.OperationalError:
            time.sleep(0.1)
    raise SystemExit("the database does not answer")


def query(conn, sql):
    with lock, conn.cursor() as cur:
        cur.execute(sql)
        return str(cur.fetchone()[0])


pool = {"busy": connect_patiently(), "idle": connect_patiently()}


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # HTTPServer's own would look up the host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "app", self.server_address[1]


class Quiet(BaseHTTPRequestHandler):
    def answer(self, status, text):
        body = text.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class App(Quiet):
    def do_GET(self):
        global served
        try:
            if self.path == "/idle":
                self.answer(200, "idle connection: " + query(pool["idle"], "select 'alive'"))
            elif self.path == "/report":
                conn = psycopg2.connect(DSN)
                self.answer(200, query(conn, "select count(*) from pg_class"))
                conn.close()
            else:
                served += 1
                self.answer(200, query(pool["busy"], "select 'item ' || %d" % served))
        except psycopg2.Error as e:
            self.answer(503, str(e))


class Metrics(Quiet):
    def do_GET(self):
        self.answer(200, "demo_requests_total %d" % served)


threading.Thread(target=Server(("::", 9100), Metrics).serve_forever, daemon=True).start()
Server(("::", 8000), App).serve_forever()
