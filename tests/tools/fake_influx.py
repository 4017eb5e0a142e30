"""A write endpoint on loopback that gives chosen answers and keeps its requests."""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from servers import PATIENCE_SECONDS


class Received(NamedTuple):
    """One request: its method and target, its headers by lower-case name, and its body.

    `sent` is the body as received, `body` the decompressed one.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    sent: bytes = b""

    @property
    def lines(self) -> list[bytes]:
        """The lines of the body."""
        return self.body.split(b"\n") if self.body else []


class Reply(NamedTuple):
    """One answer; `date` is Unix seconds for its `Date`, None for the current time, 0 for none.

    `manner` is one of `whole`, `cut` (half of the body, then a reset), `nothing` (the connection
    closes), `unread` (a reset before the body is read), `drip` (a byte at a time forever), `hang`
    (no answer) and `endless` (the body again and again).
    """

    status: int = 204
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    date: float | None = None
    manner: str = "whole"


Rule = Callable[[Received], Reply]


class FakeInflux(ThreadingHTTPServer):
    """The server; a context manager that listens until its end.

    It gives the answers of `play`, the last of them from then on, or those of `rule`. `taken` holds
    the lines of the requests it answered with 204, in order.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.tls = tls
        self.received: list[Received] = []
        self.taken: list[bytes] = []
        self.sent = 0
        self.rule: Rule = lambda _request: Reply()
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def play(self, *replies: Reply) -> None:
        """Give these answers, the last of them from then on."""
        left = list(replies)
        self.rule = lambda _request: left.pop(0) if len(left) > 1 else left[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_args: object) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_args: object) -> None:
        """Ignore clients that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeInflux
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def log_message(self, *_args: object) -> None:
        pass

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(url.query, keep_blank_values=True)
        request = Received(self.command, url.path, query, headers, b"")
        length = int(headers.get("content-length", "0"))
        if length and self.server.rule is UNREAD:
            self.rfile.read(min(length, 100))
            self._reset()
            return
        sent = self.rfile.read(length)
        packed = headers.get("content-encoding") == "gzip"
        request = request._replace(body=gzip.decompress(sent) if packed else sent, sent=sent)
        self.server.received.append(request)
        reply = self.server.rule(request)
        if reply.status == 204 and reply.manner == "whole":
            self.server.taken += request.lines
        self.close_connection = True
        with contextlib.suppress(OSError):
            getattr(self, f"_{reply.manner}")(reply)

    do_GET = do_POST  # noqa: N815, the library looks for it

    def _head(self, reply: Reply, length: int | None) -> None:
        self.send_response_only(reply.status)
        if reply.date != 0:
            self.send_header("Date", email.utils.formatdate(reply.date, usegmt=True))
        for name, value in reply.headers:
            self.send_header(name, value)
        if length is not None and reply.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _whole(self, reply: Reply) -> None:
        self._head(reply, len(reply.body))
        self.wfile.write(reply.body)

    def _cut(self, reply: Reply) -> None:
        self._head(reply, len(reply.body))
        self.wfile.write(reply.body[: len(reply.body) // 2])
        self._reset()

    def _nothing(self, _reply: Reply) -> None:
        pass

    def _drip(self, reply: Reply) -> None:
        self._head(reply, 1_000_000)
        while not self.server.stopping.wait(0.02):
            self.wfile.write(b" ")

    def _hang(self, _reply: Reply) -> None:
        self.server.stopping.wait(10 * PATIENCE_SECONDS)

    def _endless(self, reply: Reply) -> None:
        self._head(reply, None)
        while not self.server.stopping.is_set():
            self.wfile.write(reply.body)
            self.server.sent += len(reply.body)

    def _reset(self) -> None:
        """Close the connection with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def UNREAD(_request: Received) -> Reply:  # noqa: N802, it stands where a rule stands
    """Reset the connection while the body is still being sent."""
    return Reply()


def context(both: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with the certificate and key in a file."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(both)
    return made


def http_date(seconds_from_now: float) -> str:
    """Return a time as an HTTP date."""
    return email.utils.formatdate(time.time() + seconds_from_now, usegmt=True)


Fakes = Callable[[Callable[[Received], Reply]], FakeInflux]
