"""A server that sends fixed bytes, whatever it is asked."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator

from servers import PATIENCE_SECONDS


class Speaker(socketserver.ThreadingTCPServer):
    """A server on loopback that says the same bytes to every request, whatever it is.

    It says `pieces`, then `endless` again and again, and waits `pause_seconds` after each.
    `accepted` counts connections, `requests` holds what was asked, `sent` counts the bytes that
    went out.
    """

    def __init__(
        self,
        *pieces: bytes,
        endless: bytes = b"",
        pause_seconds: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.pieces, self.endless, self.pause_seconds = pieces, endless, pause_seconds
        self.tls = tls
        self.accepted = 0
        self.sent = 0
        self.requests: list[str] = []
        self.stopping = threading.Event()


def _whole(received: bytes) -> bool:
    """Tell whether a request is there with all of its body."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def _text(received: bytes) -> str:
    """Return a request as text, its body unpacked."""
    head, end, body = received.partition(b"\r\n\r\n")
    packed = b"content-encoding: gzip" in head.lower()
    return (head + end + (gzip.decompress(body) if packed else body)).decode()


class _Conversation(socketserver.BaseRequestHandler):
    server: Speaker

    def handle(self) -> None:
        self.server.accepted += 1
        with contextlib.suppress(OSError), self._connection() as connection:
            connection.settimeout(PATIENCE_SECONDS)
            received = b""
            while not _whole(received):
                piece = connection.recv(65536)
                if not piece:
                    return
                received += piece
            self.server.requests.append(_text(received))
            for piece in self._pieces():
                connection.sendall(piece)
                self.server.sent += len(piece)
                if self.server.stopping.wait(self.server.pause_seconds):
                    return

    def _connection(self) -> socket.socket:
        tls = self.server.tls
        connection: socket.socket = self.request
        return connection if tls is None else tls.wrap_socket(connection, server_side=True)

    def _pieces(self) -> Iterator[bytes]:
        yield from self.server.pieces
        while self.server.endless:
            yield self.server.endless


Speak = Callable[..., Speaker]
