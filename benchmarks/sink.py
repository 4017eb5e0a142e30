"""A server that accepts every POST request: `python -m benchmarks.sink` prints its port.

It ends when its standard input is closed.
"""

from __future__ import annotations

import http.server
import sys
import threading


class _Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read the body and answer 204."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Do not log requests."""


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
