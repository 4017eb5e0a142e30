"""Hostile clients: their effect on scrapes by other clients, and on the exporter's memory.

`python -m benchmarks.abuse KIND PORT https|http` runs the clients in their own process, so that
they and the scraper do not wait for each other. It prints "ready" when they run, and ends when its
standard input is closed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt

from benchmarks import chargers
from goe_exporter.simulator import Car, Charger, Simulator

SCRAPES = 60
PAUSE_SECONDS = 0.02
PASSWORD = "correct horse"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
HEALTH = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"
GIGABYTE = 1024**3
PIECE = b"a" * 1024 * 1024


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    for scheme in ("http", "https"):
        for kind in KINDS:
            if (kind, scheme) not in EXCLUDED:
                yield _measure(kind, scheme)


def _measure(kind: str, scheme: str) -> tuple[str, str, str]:
    with _exporter(kind, scheme) as (pid, port):
        scrape = _scraper(port, scheme)
        normal, before = _median(scrape), _memory(pid)
        with chargers.process("benchmarks.abuse", kind, str(port), scheme):
            during, after = _median(scrape), _memory(pid)
        normal = (normal + _median(scrape)) / 2
    what = f"{KINDS[kind][1]} ({scheme}): scrape, memory"
    grown = f"{during / normal:.2f} × normal, {after - before:+.1f} MB"
    return what, f"{during * 1e3:.1f} ms", grown


@contextlib.contextmanager
def _exporter(kind: str, scheme: str) -> Iterator[tuple[int, int]]:
    """Run the exporter with a charging charger; yield its process ID and port."""
    with tempfile.TemporaryDirectory() as folder, Simulator() as simulator:
        charger = Charger("V4")
        charger.plug(Car(battery_wh=60_000))
        text = _tls(Path(folder)) if scheme == "https" else ""
        if kind == "passwords":
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
            text += f"basic_auth_users: {{good: {hashed}}}\n"
        config = Path(folder) / "web.yaml"
        config.write_text(text or "{}")
        command = [
            *(sys.executable, "-m", "goe_exporter.cli", "serve"),
            f"garage={simulator.add(charger).address}",
            *("--web.listen-address", "127.0.0.1:0", "--web.config.file", str(config)),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            found = re.search(r"url=https?://127\.0\.0\.1:(\d+)/", process.stderr.readline())
            assert found is not None
            try:
                yield process.pid, int(found[1])
            finally:
                process.terminate()


def _tls(folder: Path) -> str:
    key, public = folder / "key.pem", folder / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    command = ["openssl", *words.split(), "-keyout", str(key), "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)
    return f"tls_server_config: {{cert_file: {public}, key_file: {key}}}\n"


def _scraper(port: int, scheme: str) -> Callable[[], None]:
    """Return a function that scrapes as a well-behaved client, over a new connection."""
    kind = http.client.HTTPConnection
    options = {}
    if scheme == "https":
        kind, options = http.client.HTTPSConnection, {"context": _trusting_all()}
    good = base64.b64encode(f"good:{PASSWORD}".encode()).decode()

    def scrape() -> None:
        with contextlib.closing(kind("127.0.0.1", port, timeout=60, **options)) as connection:
            connection.request("GET", "/metrics", headers={"Authorization": f"Basic {good}"})
            response = connection.getresponse()
            body = response.read()
        assert response.status == 200, body

    return scrape


def _median(scrape: Callable[[], None]) -> float:
    seconds = []
    for _scrape in range(SCRAPES):
        began = time.perf_counter()
        scrape()
        seconds.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    return statistics.median(seconds)


def _memory(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def _trusting_all() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# The clients


class Clients:
    """Opens connections, and keeps some of them open."""

    def __init__(self, port: int, scheme: str) -> None:
        self._port = port
        self._tls = _trusting_all() if scheme == "https" else None
        self.held: list[socket.socket] = []

    def plain(self) -> socket.socket:
        """Open a connection without a handshake, and keep it open."""
        self.held.append(socket.create_connection(("127.0.0.1", self._port), timeout=20))
        return self.held[-1]

    def open(self) -> socket.socket:
        """Return a connection that the caller closes."""
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        return self._tls.wrap_socket(connection) if self._tls else connection

    def hold(self) -> socket.socket:
        """Open a connection, and keep it open."""
        self.held.append(self.open())
        return self.held[-1]


def _silent(clients: Clients) -> None:
    for _ in range(100):
        clients.plain()


def _stalled(clients: Clients) -> None:
    for _ in range(100):
        clients.plain().sendall(b"\x16\x03\x01\x02\x00\x01")


def _slow(clients: Clients) -> None:
    for _ in range(100):
        clients.hold().sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")

    def drip() -> None:
        time.sleep(1)
        for each in clients.held:
            with contextlib.suppress(OSError):
                each.sendall(b"a")

    _repeat(drip)


def _deaf(clients: Clients) -> None:
    for _ in range(100):
        connection = clients.hold()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(SCRAPE * 20)


def _idle(clients: Clients) -> None:
    for _ in range(1000):
        clients.hold().sendall(HEALTH)


def _body(clients: Clients) -> None:
    def send() -> None:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % GIGABYTE
        with clients.open() as connection:
            connection.sendall(head)
            for _ in range(GIGABYTE // len(PIECE)):
                connection.sendall(PIECE)

    _repeat(send)


def _headers(clients: Clients) -> None:
    request = b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n"
    _repeat(lambda: _send(clients, request))


def _junk(clients: Clients) -> None:
    noise = HEALTH + os.urandom(100_000) + b"\r\n\r\n" + HEALTH
    _repeat(lambda: _send(clients, noise))


def _passwords(clients: Clients) -> None:
    """Guess passwords on fifty concurrent connections, as fast as responses arrive."""
    number = itertools.count()

    def guess() -> None:
        with clients.open() as connection:
            while True:
                coded = base64.b64encode(b"good:guess %d" % next(number))
                connection.sendall(HEALTH[:-2] + b"Authorization: Basic " + coded + b"\r\n\r\n")
                if not connection.recv(65536):
                    return

    for _ in range(49):
        threading.Thread(target=_forever, args=(guess,), daemon=True).start()
    _repeat(guess)


def _send(clients: Clients, request: bytes) -> None:
    with clients.open() as connection:
        connection.sendall(request)
        while connection.recv(65536):
            pass


def _repeat(act: Callable[[], None]) -> None:
    threading.Thread(target=_forever, args=(act,), daemon=True).start()


def _forever(act: Callable[[], None]) -> None:
    while True:
        with contextlib.suppress(OSError):
            act()


KINDS: dict[str, tuple[Callable[[Clients], None], str]] = {
    "silent": (_silent, "100 clients that connect and send nothing"),
    "stalled": (_stalled, "100 stalled handshakes"),
    "slow": (_slow, "100 clients that send a header byte per second"),
    "deaf": (_deaf, "100 clients that never read"),
    "idle": (_idle, "1,000 idle connections"),
    "body": (_body, "repeated bodies of 1 GB"),
    "headers": (_headers, "repeated requests with 100,000 headers"),
    "junk": (_junk, "repeated pipelined garbage"),
    "passwords": (_passwords, "50 clients that guess passwords"),
}

EXCLUDED = {("stalled", "http")}


def main(kind: str, port: str, scheme: str) -> None:
    """Run hostile clients until standard input is closed."""
    KINDS[kind][0](Clients(int(port), scheme))
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:4])
