"""A small HTTP server for the pages of the voting application.

Owns: listening on port 80, orderly shutdown as process 1 of a container, and
the helpers that write an answer. Leaves to the pages: what they answer.
"""

import http.server
import json
import os
import signal
import socket
import threading
import time

# How long a page goes on accepting after SIGTERM, in seconds, so that a
# connection already on its way is served and not reset.
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "0.5"))
# How long a request in progress may keep a stopping page alive, in seconds.
FINISH_SECONDS = 5.0


class Page(http.server.BaseHTTPRequestHandler):
    """One request. Subclasses define do_GET and do_POST."""

    protocol_version = "HTTP/1.1"
    server_version = "voting"
    timeout = 30
    # Head and body leave in two writes; without this the second waits for an ACK.
    disable_nagle_algorithm = True

    def client(self):
        """The client's address as this container sees it."""
        address = self.client_address[0]
        return address.removeprefix("::ffff:")

    def answer(self, status, body, kind="text/html; charset=utf-8", headers=()):
        """Sends one whole answer."""
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers:
            self.send_header(name, value)
        if self.server.draining.is_set():
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def answer_json(self, status, value):
        """Sends one value as JSON."""
        self.answer(status, json.dumps(value) + "\n", "application/json")

    def handle_one_request(self):
        self.server.enter()
        try:
            super().handle_one_request()
        finally:
            self.server.leave()

    def log_message(self, format, *args):
        print(f"{self.client()} {format % args}", flush=True)


class Server(http.server.ThreadingHTTPServer):
    """Serves one Page class on every address of port 80 (or PORT)."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, page):
        self.draining = threading.Event()
        self._busy = 0
        self._lock = threading.Lock()
        self._dual = socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if self._dual else socket.AF_INET
        port = int(os.environ.get("PORT", "80"))
        super().__init__(("::" if self._dual else "0.0.0.0", port), page)

    def server_bind(self):
        if self._dual:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer.server_bind: it looks up the host's name in DNS.
        http.server.socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = socket.gethostname(), self.server_address[1]

    def enter(self):
        """A request is being read or answered."""
        with self._lock:
            self._busy += 1

    def leave(self):
        """A request is over."""
        with self._lock:
            self._busy -= 1


def serve(page, name):
    """Serves until SIGTERM or SIGINT; process 1 has no default for either."""
    server = Server(page)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True, args=(0.1,)).start()
    print(f"{name}: listening on port {server.server_port}", flush=True)
    stop.wait()
    server.draining.set()
    time.sleep(DRAIN_SECONDS)
    server.shutdown()
    # Connections kept alive count as busy while they wait for a next request;
    # only the last answers are worth waiting for, so the wait is bounded.
    end = time.monotonic() + min(FINISH_SECONDS, DRAIN_SECONDS)
    while server._busy and time.monotonic() < end:
        time.sleep(0.02)
    server.server_close()
