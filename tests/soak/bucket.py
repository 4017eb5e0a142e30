"""A write endpoint that fails in every known way and records every point."""

from __future__ import annotations

import email.utils
import gzip
import re
import socket
import struct
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

from tests.soak.chargers import NOTHING

REJECT_ONE_IN = 2000
MAX_LINES = 100
HANG_SECONDS = 30.0
ANSWER_SECONDS = 0.1
"""Duration of a write, so that points are sent in batches."""

PORT = 18_440

_POINT = re.compile(rb"goe_charger,charger=([^, ]+)[^ ]* up=(true|false)(?:,(.*))? ([0-9]+)")
_UPTIME = re.compile(rb"(?:^|,)uptime_s=([^,]+)")
_ENERGY = re.compile(rb"(?:^|,)energy_wh=([^,]+)")

STATUSES = {
    "unauthorized": 401,
    "not_found": 404,
    "too_many_requests": 429,
    "server_error": 500,
    "unavailable": 503,
    "rejects_all": 400,
    "unexpected_answer": 200,
}
WAYS = (*STATUSES, "too_large", "hang", "reset", "answer_lost", "off")
"""How the server fails: `too_large` accepts few lines per request, `answer_lost` stores the lines
and resets the connection, `off` refuses connections."""


class Point(NamedTuple):
    """A point on the server: its time (Unix), uptime and energy."""

    time: float
    up: bool
    uptime_s: float
    energy_wh: float


class Tally(NamedTuple):
    """Lines that were never acknowledged, repeated, with another point's time, and foreign."""

    unacknowledged: int = 0
    repeated: int = 0
    overwritten: int = 0
    foreign: int = 0


class Bucket:
    """The server, a context manager; `way` is how it fails, one of `WAYS` or None.

    While it `rejects`, one in `REJECT_ONE_IN` lines is bad. `points` has each charger's points.
    """

    def __init__(self, host: str) -> None:
        """Listen on a loopback address."""
        self.way: str | None = None
        self.rejects = True
        self.points: dict[str, list[Point]] = {}
        self._repeated = self._overwritten = self._foreign = 0
        self._unacknowledged: set[tuple[bytes, bytes]] = set()
        self._lines: dict[tuple[bytes, bytes], int | None] = {}
        self._lock = threading.Lock()
        self._address = (host, PORT)
        self._server: _Server | None = _Server(self, self._address)
        self.url = f"http://{host}:{PORT}"

    def __enter__(self) -> Self:
        """Return itself; it listens already."""
        return self

    def __exit__(self, *_args: object) -> None:
        """Stop listening."""
        self.fail("off")

    def fail(self, way: str | None) -> None:
        """Fail in this way from now on; None ends the failure."""
        self.way = way
        if way == "off" and self._server is not None:
            self._server.end()
            self._server = None
        elif way != "off" and self._server is None:
            self._server = _Server(self, self._address)

    def tally(self) -> Tally:
        """Return the counts."""
        return Tally(len(self._unacknowledged), self._repeated, self._overwritten, self._foreign)

    def take(self, lines: list[bytes], *, acknowledges: bool) -> bool:
        """Store the good lines; return False if there are bad ones.

        Without `acknowledges`, the client never receives the response.
        """
        with self._lock:
            bad = [line for line in lines if self.rejects and not zlib.crc32(line) % REJECT_ONE_IN]
            # Some servers store the good lines of a batch, some none.
            if not bad or zlib.crc32(bad[0]) % 2:
                for line in lines:
                    if line not in bad:
                        self._keep(line, acknowledged=acknowledges and not bad)
        return not bad

    def _keep(self, line: bytes, *, acknowledged: bool) -> None:
        match = _POINT.fullmatch(line)
        if match is None:
            self._foreign += 1
            return
        name, up, fields, stamp = match.groups()
        known = self._lines.setdefault((name, stamp), None)
        if acknowledged:
            self._unacknowledged.discard((name, stamp))
        if known is not None:
            self._repeated += known == hash(line)
            self._overwritten += known != hash(line)
            return
        if not acknowledged:
            self._unacknowledged.add((name, stamp))
        self._lines[name, stamp] = hash(line)
        point = Point(int(stamp) / 1000, up == b"true", *_values(fields or b""))
        self.points.setdefault(name.decode(), []).append(point)


def _values(fields: bytes) -> tuple[float, float]:
    uptime, energy = _UPTIME.search(fields), _ENERGY.search(fields)
    return float(uptime[1]) if uptime else NOTHING, float(energy[1]) if energy else NOTHING


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, bucket: Bucket, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.bucket = bucket
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_args: object) -> None:
        """Do not log clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = gzip.decompress(body).split(b"\n") if body else []
        lines = [line for line in lines if line]
        time.sleep(ANSWER_SECONDS if self.server.bucket.rejects else 0)
        bucket, way = self.server.bucket, self.server.bucket.way
        if way == "hang":
            time.sleep(HANG_SECONDS)
        elif way == "reset":
            self._reset()
        elif way == "too_large" and len(lines) > MAX_LINES:
            self._answer(413, "too many lines")
        elif way in STATUSES:
            self._answer(STATUSES[way], "not now")
        elif not bucket.take(lines, acknowledges=way != "answer_lost"):
            self._answer(400, "a bad line")
        elif way == "answer_lost":
            self._reset()
        else:
            self._answer(204, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response_only(status)
        self.send_header("Date", email.utils.formatdate(time.time(), usegmt=True))
        if status in (429, 503):
            self.send_header("Retry-After", "1")
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _reset(self) -> None:
        """Reset the connection instead of closing it."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
