"""No web request opens a file, connects, starts a program or polls the charger.

A real `serve` process reports its actions through Python's audit hooks while every route is
requested with every method, hostile paths, queries and headers.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.simulator import Box, Car, Charger, Simulator
from goe_exporter.web.app import application
from goe_exporter.web.content import Content
from goe_exporter.web.history import History

WATCHED = """
import os, sys
log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND)
harmless = ("sys.", "gc.", "array.", "object.", "builtins.id", "code.", "socket.__new__",
            "marshal.", "time.sleep", "_thread.", "threading.")

def told(event, arguments):
    if not event.startswith(harmless):
        os.write(log, f"{event} {arguments[:1]!r}\\n".encode("utf-8", "backslashreplace"))

sys.addaudithook(told)
from goe_exporter.cli.main import main
main()
"""
"""The command line that writes every relevant audit event to a file, one per line."""

OF_THE_PROCESS = r"(open|os\.listdir) \('/proc/(self|\d+)/(stat|limits|fd)',\)"
"""Sources of the process' own metrics, for `/metrics` only."""

METHODS = "GET HEAD POST PUT DELETE PATCH OPTIONS TRACE CONNECT PROPFIND set".split()

PATHS = (
    "/../../../../etc/passwd",
    "/assets/../web.py",
    "/assets/..%2fweb.py",
    "/assets/%2e%2e/%2e%2e/web.py",
    "/assets/%252e%252e%252fweb.py",
    "/assets//etc/passwd",
    "/assets/%2fetc%2fpasswd",
    "/assets/page.css%00.html",
    "/assets/..\\web.py",
    "/assets/.",
    "/assets/..",
    "//etc/passwd",
    "//evil.example/metrics",
    "http://evil.example/metrics",
    "file:///etc/passwd",
    "/metrics/../../etc/passwd",
    "/metrics;/etc/passwd",
    "/metrics%00",
    "/charger/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/charger/http:%2f%2f127.0.0.1:1%2f",
    "/api/v1/chargers/..%2f..%2fset/history",
    "/api/v1/chargers/%ff%fe%00%0a%0d/history",
    "/api/v1/chargers/{{7*7}}",
    "/api/v1/chargers/%7B%7B7*7%7D%7D",
    "/api/set?amp=32",
    "/mqtt?payload=amp=32",
    "/-/reload",
    "/-/quit",
    "/debug/pprof",
    "/.env",
    "/" + "a" * 8000,
    "/assets/" + "../" * 2000 + "etc/passwd",
    "*",
    "/\udc80",
)

QUERIES = (
    "?url=http://127.0.0.1:1/",
    "?file=/etc/passwd",
    "?target=169.254.169.254&module=http",
    "?minutes=../../etc/passwd",
    "?minutes=%00",
    "?minutes=" + "9" * 5000,
    "?v=../web.py",
    "?" + "&".join(f"name[]={n}" for n in range(500)),
)

HEADERS = (
    "Host: evil.example",
    "Host: 127.0.0.1:1\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: gopher",
    "Host: a\r\nX-Forwarded-For: 203.0.113.1, ::1\r\nForwarded: for=1.2.3.4;host=evil.example",
    "Host: a\r\nX-Original-URL: /etc/passwd\r\nX-Rewrite-URL: /etc/passwd",
    "Host: a\r\nX-HTTP-Method-Override: DELETE",
    "Host: a\r\nRange: bytes=0-1,-1,5-3,9999999-",
    "Host: a\r\nRange: bytes=" + "0-," * 2000,
    "Host: a\r\nTransfer-Encoding: chunked",
    "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
    "Host: a\r\nTransfer-Encoding: gzip, chunked",
    "Host: a\r\nContent-Length: 5",
    "Host: a\r\nContent-Length: -1",
    "Host: a\r\nExpect: 100-continue\r\nContent-Length: 10",
    "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
    "Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    "Host: a\r\nAccept: ../../etc/passwd, application/openmetrics-text; version=9.9.9",
    "Host: a\r\nAccept-Language: ../../etc/passwd, de;q=9, {{7*7}}",
    "Host: a\r\nAccept-Encoding: gzip;q=0, *;q=1, br, ../../etc/passwd",
    "Host: a\r\nIf-None-Match: *\r\nCookie: session=../../etc/passwd",
    "Host: a\r\nAuthorization: Basic Li4vLi46Li4vLi4=\r\nProxy-Authorization: Basic YTpi",
    "Host: a\r\nProxy: http://127.0.0.1:1/",
    "Host: a\r\nHost: b",
    "Host: \udc80",
)

SAFE = {
    "content-security-policy": r"default-src 'none'.*frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store|no-cache|public, max-age=31536000, immutable",
    "cross-origin-resource-policy": "same-origin",
}


class Answer(NamedTuple):
    """A response; 0 and nothing if the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes


class Watched:
    """A `serve` process that has answered everything once, and its actions since then."""

    def __init__(
        self, process: subprocess.Popen[str], log: Path, errors: Path, box: Box, port: int
    ) -> None:
        self.process, self.errors = process, errors
        self._log, self._box, self._port = log, box, port
        for path in (*ROUTES, "/charger/nobody"):  # files of the page that are loaded once
            assert self.ask("GET", path, "Host: a").status in (200, 404, 503)
        wait_for(lambda: self.ask("GET", "/-/ready", "Host: a").status == 200, "readiness")
        for path in ROUTES:
            self.ask("GET", path, "Host: a\r\nAccept-Encoding: gzip")
        self._begin, self._requests = log.stat().st_size, box.requests

    def did(self) -> set[str]:
        """Return the audit events since the beginning."""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            return set(file.read().decode().splitlines())

    def asked_its_charger(self) -> int:
        """Return the requests to the charger since the beginning."""
        return self._box.requests - self._requests

    def ask(self, method: str, target: str, headers: str) -> Answer:
        """Send a request unchanged; return the response."""
        request = f"{method} {target} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"
        received = b""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                ("127.0.0.1", self._port), timeout=PATIENCE_SECONDS
            ) as connection,
        ):
            connection.sendall(request.encode("utf-8", "surrogateescape"))
            while piece := connection.recv(65536):
                received += piece
        head, _end, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in lines[1:])
        return Answer(int(lines[0].split()[1]) if received else 0, named, body)


def routes() -> list[str]:
    """Return a path of every route of the application."""
    exposition = Exposition(list)
    app = application(Content(list, exposition, History()))
    named = [str(getattr(route, "path", "")) for route in app.routes]
    queries = {"/probe": "/probe?target=garage"}
    return [re.sub(r"\{name\}", _name(path), queries.get(path, path)) for path in named]


def _name(path: str) -> str:
    return "page.css" if path.startswith("/assets") else "garage"


ROUTES = routes()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Yield a watched process with a simulated charger that is polled once an hour."""
    folder = tmp_path_factory.mktemp("watched")
    log, errors = folder / "events", folder / "stderr"
    log.touch()
    with Simulator() as simulator, errors.open("w") as stderr:
        charger = Charger()
        charger.plug(Car())
        box = simulator.add(charger)
        command = [
            *(sys.executable, "-c", WATCHED, str(log), "serve", f"garage={box.address}"),
            *("--refresh-interval", "1h", "--web.listen-address", "127.0.0.1:0"),
        ]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(command, stderr=stderr, text=True, env=environment) as process:
            try:
                wait_for(lambda: "url=http" in errors.read_text(), "the server")
                match = re.search(r"url=http://127\.0\.0\.1:(\d+)/", errors.read_text())
                assert match is not None
                yield Watched(process, log, errors, box, int(match[1]))
            finally:
                process.kill()


def requests() -> Iterator[tuple[str, str, str]]:
    """Yield method, target and headers of all requests."""
    for route in ROUTES:
        for method in METHODS:
            yield method, route, "Host: a"
        for query in QUERIES:
            yield "GET", route + query, "Host: a"
        for headers in HEADERS:
            yield "GET", route, headers
            yield "POST", route, headers
    for path in PATHS:
        for method in ("GET", "HEAD", "POST"):
            yield method, path, "Host: a"


def test_no_request_does_anything(watched: Watched) -> None:
    """Nothing is opened, connected to or started but the process's own state in `/proc`."""
    statuses = set()
    for method, target, headers in requests():
        answer = watched.ask(method, target, headers)
        statuses.add(answer.status)
        assert answer.status < 500, (method, target, headers, answer)
        assert answer.status != 200 or method in ("GET", "HEAD"), (method, target)
        assert b"root:" not in answer.body
        assert not {"server", "x-powered-by", "set-cookie", "location"} & set(answer.headers)
        assert not any(name.startswith("access-control-") for name in answer.headers)
    assert {200, 400, 404, 405} <= statuses
    done = watched.did()
    assert any(re.fullmatch(OF_THE_PROCESS, event) for event in done), "the hook sees nothing"
    assert {event for event in done if not re.fullmatch(OF_THE_PROCESS, event)} == set()
    assert watched.asked_its_charger() == 0
    assert watched.process.poll() is None
    assert len(watched.errors.read_text().splitlines()) == 1, "a request wrote a line of the log"


@pytest.mark.parametrize("target", [*ROUTES, "/nowhere", "/assets/nothing", "/charger/nobody"])
def test_headers_of_every_answer(watched: Watched, target: str) -> None:
    """Every response forbids framing, sniffing, caching and embedding."""
    for method in ("GET", "HEAD", "POST"):
        answer = watched.ask(method, target, "Host: a")
        assert answer.status in (200, 404, 405)
        for name, wanted in SAFE.items():
            assert re.fullmatch(wanted, answer.headers[name]), (method, name, answer.headers)
