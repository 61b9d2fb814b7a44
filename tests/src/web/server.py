"""Publishes DIRECTORY/list.txt by HTTPS, in the way DIRECTORY/way says, and logs what it answered.

A way is good, html, slow, large, cut, gone, moved (to another path of the host) or elsewhere (to another host).
"""

import hashlib
import http.server
import ssl
import sys
import time

directory, certificate, key, port = sys.argv[1:]


def read(name):
    with open(f"{directory}/{name}", "rb") as file:
        return file.read()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
        with open(f"{directory}/log", "a", encoding="ascii") as log:
            log.write(f"{self.path} {status}\n")

    def do_GET(self):
        way = read("way").decode()
        body = read("list.txt")
        etag = '"%s"' % hashlib.sha256(body).hexdigest()
        if way == "gone":
            self.answer(404)
        elif way == "html":
            self.answer(200, b"<html>502 Bad Gateway</html>")
        elif way == "elsewhere":
            self.answer(302, headers=[("Location", "https://other.example/list.txt")])
        elif way == "moved" and self.path == "/list.txt":
            self.answer(302, headers=[("Location", "/new.txt")])
        elif way == "large":
            self.answer(200, body + b"#" * 4000)
        elif way == "slow":
            self.answer(200, body[:10], length=len(body))
            time.sleep(60)
        elif way == "cut":
            self.answer(200, body[:-5], length=len(body))
        elif self.headers.get("If-None-Match") == etag:
            self.answer(304, headers=[("ETag", etag)])
        else:
            self.answer(200, body, headers=[("ETag", etag)])

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        # Whoever has seen enough, or trusts nobody, hangs up.
        pass


server = Server(("127.0.0.1", int(port)), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
# Handshakes are made where requests are read, so that nobody holds up others.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
