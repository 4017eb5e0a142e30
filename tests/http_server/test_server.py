"""The web server with hostile clients, over TLS, and with passwords."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import bcrypt
import pytest
from commands import Launch
from exporters import LISTEN, Exporter
from servers import PATIENCE_SECONDS, self_signed, wait_for

from goe_exporter.http_server.connection import Listener
from goe_exporter.simulator import Car, Charger, Simulator

PASSWORD = "näher dran"
IDLE = 1000


class Site(Exporter):
    """`goe-exporter serve` in its own process, with a simulated charger that charges."""

    def __init__(self, launch: Launch, host: str, *options: str) -> None:
        hurry = ("--refresh-interval", "1s")
        super().__init__(launch("serve", f"garage={host}", *hurry, *LISTEN, *options))

    def open(self) -> socket.socket:
        """Return a plain connection to the server."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def scrape(self, path: str = "/metrics") -> bytes:
        """Scrape over a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        assert response.status == 200, body
        assert path != "/metrics" or b"\ngoe_up{" in body
        return body


@pytest.fixture
def host() -> Iterator[str]:
    """Yield the address of a simulated charger."""
    with Simulator() as simulator:
        charger = Charger()
        charger.plug(Car())
        yield simulator.add(charger).address


# Abuse


class Abuse:
    """Hostile clients, active until the block ends."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.over = threading.Event()
        self.sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def opened(self) -> socket.socket:
        """Return a connection that is closed at the end of the block."""
        self.sockets.append(self.site.open())
        return self.sockets[-1]

    def keep(self, act: Callable[[], None]) -> None:
        """Repeat an action until the block ends."""

        def run() -> None:
            while not self.over.is_set():
                with contextlib.suppress(OSError):
                    act()

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.over.set()
        for each in self.sockets:
            each.close()
        if self._thread is not None:
            self._thread.join()


def silent(abuse: Abuse) -> None:
    for _ in range(50):
        abuse.opened()


def slow(abuse: Abuse) -> None:
    """Send one header byte per second on many connections."""
    sockets = [abuse.opened() for _ in range(50)]
    for each in sockets:
        each.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")

    def act() -> None:
        abuse.over.wait(1)
        for each in sockets:
            each.sendall(b"a")

    abuse.keep(act)


def deaf(abuse: Abuse) -> None:
    """Send many requests and read no response."""
    for _ in range(50):
        connection = abuse.opened()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)


def idle(abuse: Abuse) -> None:
    """Open more connections than allowed, each after one request."""
    for _ in range(IDLE):
        abuse.opened().sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")


def body(abuse: Abuse) -> None:
    """Send a body of 1 GB as fast as the server reads it."""

    def act() -> None:
        with contextlib.closing(abuse.site.open()) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n")
            for _ in range(1024):
                connection.sendall(b"a" * 1024 * 1024)

    abuse.keep(act)


def headers(abuse: Abuse) -> None:
    """Send 100,000 headers."""

    def act() -> None:
        with contextlib.closing(abuse.site.open()) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n")
            while connection.recv(65536):
                pass
            abuse.over.wait(0.05)

    abuse.keep(act)


def junk(abuse: Abuse) -> None:
    """Send a request and random bytes at once."""
    noise = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n" + os.urandom(100_000) + b"\r\n\r\n"

    def act() -> None:
        with contextlib.closing(abuse.site.open()) as connection:
            connection.sendall(noise)
            while connection.recv(65536):
                pass
            abuse.over.wait(0.05)

    abuse.keep(act)


ABUSES = (silent, slow, deaf, idle, body, headers, junk)


@pytest.mark.parametrize("abuse", ABUSES, ids=lambda each: each.__name__)
def test_abuse(launch: Launch, host: str, abuse: Callable[[Abuse], None]) -> None:
    """During abuse scrapes are answered, and memory grows by less than 50 MB."""
    site = Site(launch, host)
    wait_for(lambda: site.answer("-/ready")[0] == 200, "the first poll")
    before = site.memory_mb()
    with Abuse(site) as clients:
        abuse(clients)
        for _ in range(10):
            site.scrape()
        assert site.memory_mb() < before + 50
    site.scrape()
    assert site.command.process.poll() is None


@pytest.mark.parametrize("piece", [b"", b"GET /metrics HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Y: "])
def test_a_request_that_never_ends(launch: Launch, host: str, piece: bytes) -> None:
    """A connection without a complete request at the deadline is closed, even if bytes arrive."""
    site = Site(launch, host, "--web.request-timeout", "500ms")
    with site.open() as connection:
        connection.sendall(piece)
        connection.settimeout(0.1)
        ended: list[bytes] = []

        def gone() -> bool:
            try:
                if piece.endswith(b" "):
                    connection.sendall(b"a")
                ended.append(connection.recv(10))
            except TimeoutError:
                return False
            except OSError:
                return True
            return ended[-1] == b""

        wait_for(gone, "the end of the connection")


def test_an_idle_connection_is_kept(launch: Launch, host: str) -> None:
    """The deadline does not apply between requests: a scraper reuses its connection."""
    site = Site(launch, host, "--web.request-timeout", "1500ms")
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("GET", "/-/healthy")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"healthy\n")
            kept = connection.sock
            time.sleep(2)  # not for luck: longer than the deadline that must not strike
            assert connection.sock is kept


def healthy(connection: socket.socket) -> bool:
    """Request over an open connection; return whether the response is complete and good."""
    connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
    received = b""
    while not received.endswith(b"\r\n\r\nhealthy\n"):
        piece = connection.recv(65536)
        if not piece:
            return False
        received += piece
    return received.startswith(b"HTTP/1.1 200 ")


def test_the_longest_idle_connection_is_closed(launch: Launch, host: str) -> None:
    """Beyond the limit the longest-idle connection is closed, and no other."""
    site = Site(launch, host, "--web.max-connections", "16")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(site.open()) for _ in range(16)]
        for each in held:
            assert healthy(each)
        site.scrape()
        assert held[0].recv(65536) == b""
        assert healthy(held[1])


def test_as_many_connections_at_once_as_allowed(launch: Launch, host: str) -> None:
    """A burst up to the limit closes no connection, whatever the scheduler does."""
    site = Site(launch, host, "--web.max-connections", "16")
    for _ in range(30):
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(site.open()) for _ in range(16)]
            assert all(healthy(each) for each in held)
            for each in held:  # the server has closed its end too, so it has room again
                each.shutdown(socket.SHUT_WR)
                assert each.recv(65536) == b""


def test_responses_are_not_delayed() -> None:
    """Connections have TCP_NODELAY; otherwise responses are delayed by 40 ms."""

    async def accept() -> socket.socket:
        welcomed: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listener = Listener(listening, welcomed.set_result)
            with socket.create_connection(listening.getsockname()):
                connection = await welcomed
            listener.close()
            await listener.wait_closed()
        return connection

    with asyncio.run(accept()) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_pipelined_requests(launch: Launch, host: str) -> None:
    """Pipelined requests are answered one after the other."""
    site = Site(launch, host)
    with site.open() as connection:
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        received = b""
        while received.count(b"healthy\n") < 3:
            piece = connection.recv(65536)
            assert piece, received
            received += piece


LARGE_BYTES = 16_000_000
LARGE = f"""
from starlette.responses import Response
from goe_exporter.http_server.server import Server
server = Server([("127.0.0.1", 0)])
print(*server.urls, flush=True)
server.run(Response(b"a" * {LARGE_BYTES}))
"""


@pytest.mark.system
def test_unread_responses() -> None:
    """Large unread responses are kept for the most recent clients only."""
    command = [sys.executable, "-c", LARGE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = ("127.0.0.1", int(process.stdout.readline().rpartition(":")[2].strip("/\n")))
            with contextlib.ExitStack() as stack:
                clients = []
                for _ in range(20):
                    clients.append(
                        stack.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
                    )
                    clients[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert clients[-1].recv(12) == b"HTTP/1.1 200"
                assert received(clients[-1]) > LARGE_BYTES
                assert all(received(client) < LARGE_BYTES for client in clients[:-4])
        finally:
            process.kill()


def received(connection: socket.socket) -> int:
    """Read the large response or until the connection ends; return the number of bytes."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while count <= LARGE_BYTES and (piece := connection.recv(1024 * 1024)):
            count += len(piece)
    return count


# TLS


def handshake(site: Site, context: ssl.SSLContext) -> bytes:
    """Scrape over TLS; return the server's certificate."""
    with site.open() as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        tls.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := tls.recv(65536):
            received += piece
        assert b"200 OK" in received
        found = tls.getpeercert(binary_form=True)
        assert found is not None
        return found


def trusting(authority: Path, own: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if own is not None:
        context.load_cert_chain(own)
    return context


@pytest.fixture
def tls_site(launch: Launch, host: str, tmp_path: Path) -> Site:
    """Return a site that serves HTTPS."""
    self_signed(tmp_path)
    config = tmp_path / "web.yaml"
    config.write_text("tls_server_config: {cert_file: both.pem, key_file: both.pem}")
    return Site(launch, host, "--web.config.file", str(config))


def test_tls(tls_site: Site, tmp_path: Path) -> None:
    """Clients with TLS 1.2 or newer are served; TLS 1.1 and plain HTTP are rejected."""
    context = trusting(tmp_path / "both.pem")
    handshake(tls_site, context)
    with tls_site.open() as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(100)
    old = trusting(tmp_path / "both.pem")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(tls_site, old)
    handshake(tls_site, context)


def test_a_stalled_handshake(tls_site: Site, tmp_path: Path) -> None:
    """Clients that never complete their handshake delay nobody."""
    context = trusting(tmp_path / "both.pem")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(tls_site.open()).sendall(b"\x16\x03\x01\x02\x00\x01")
        handshake(tls_site, context)


def test_idle_connections_over_tls(tls_site: Site) -> None:
    """Many idle TLS connections take less than 50 MB."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before = tls_site.memory_mb()
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(context.wrap_socket(tls_site.open()))
        assert tls_site.memory_mb() < before + 50
    handshake(tls_site, context)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 10_000, b"400"),
        (b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n\0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close\r\n\r\n", b"405"),
    ],
    ids=["malformed", "too long", "garbage", "unread body"],
)
def test_a_rejected_client_that_stays_over_tls(
    tls_site: Site, tmp_path: Path, request_bytes: bytes, status: bytes
) -> None:
    """While the end of the TLS connection of a rejected client is awaited, others are served."""
    context = trusting(tmp_path / "both.pem")
    with (
        tls_site.open() as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as hostile,
    ):
        hostile.sendall(request_bytes)
        received = b""
        while b"HTTP/1.1 " + status not in received and (piece := hostile.recv(65536)):
            received += piece
        assert b"HTTP/1.1 " + status in received
        for _scrape in range(3):
            handshake(tls_site, context)


def test_a_new_certificate(tls_site: Site, tmp_path: Path) -> None:
    """A renewed certificate is used without a restart, an invalid one never."""
    before = handshake(tls_site, trusting(tmp_path / "both.pem"))
    good = (tmp_path / "both.pem").read_bytes()
    (tmp_path / "both.pem").write_text("half a certificate")
    tls_site.command.line("web configuration reload failed")
    (tmp_path / "before.pem").write_bytes(good)
    assert handshake(tls_site, trusting(tmp_path / "before.pem")) == before
    self_signed(tmp_path)
    tls_site.command.line('"web configuration reloaded"')
    assert handshake(tls_site, trusting(tmp_path / "both.pem")) != before


def test_client_certificates(launch: Launch, host: str, tmp_path: Path) -> None:
    """Only a client whose certificate has an allowed name is served."""
    folders = {name: tmp_path / name for name in ("server", "right", "wrong")}
    for name, folder in folders.items():
        folder.mkdir()
        self_signed(folder, f"{name}.example")
    both = {name: folder / "both.pem" for name, folder in folders.items()}
    authorities = tmp_path / "authorities.pem"
    authorities.write_text(both["right"].read_text() + both["wrong"].read_text())
    config = tmp_path / "web.yaml"
    config.write_text(
        f"tls_server_config:\n  cert_file: {both['server']}\n  key_file: {both['server']}\n"
        f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {authorities}\n"
        "  client_allowed_sans: [right.example]\n"
    )
    site = Site(launch, host, "--web.config.file", str(config))
    handshake(site, trusting(both["server"], both["right"]))
    for stranger in (None, both["wrong"], both["server"]):
        with pytest.raises((OSError, AssertionError)):
            handshake(site, trusting(both["server"], stranger))
    handshake(site, trusting(both["server"], both["right"]))


# Passwords


def request(site: Site, path: str = "/metrics", user: str = "", password: str = "") -> int:
    """Request with user and password, if given; return the status."""
    named = {}
    if user:
        named["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=named)
        response = connection.getresponse()
        response.read()
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
        return response.status


@pytest.fixture
def locked(launch: Launch, host: str, tmp_path: Path) -> Callable[..., Site]:
    """Return a function that starts a site where `alice` has a password."""

    def start(*options: str, rounds: int = 4) -> Site:
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds)).decode()
        config = tmp_path / "web.yaml"
        config.write_text(f"basic_auth_users: {{alice: {hashed}}}\n")
        return Site(launch, host, "--web.config.file", str(config), *options)

    return start


def test_password(locked: Callable[..., Site]) -> None:
    """Every path needs the right password of the right user."""
    site = locked()
    for path in ("/", "/metrics", "/api/v1/chargers", "/-/healthy", "/-/ready", "/nowhere"):
        assert request(site, path) == 401
    assert request(site, user="alice", password=PASSWORD) == 200
    assert request(site, user="alice", password=PASSWORD.upper()) == 401
    assert request(site, user="bob", password=PASSWORD) == 401
    assert request(site, "/nowhere", "alice", PASSWORD) == 404


def test_open_health(locked: Callable[..., Site]) -> None:
    """With `--web.open-health` the health checks need no password, all other paths do."""
    site = locked("--web.open-health")
    assert request(site, "/-/healthy") == 200
    assert request(site, "/metrics") == 401
    assert request(site, "/-/healthy/../../metrics") == 401
    assert request(site, "//-/healthy") == 401


def test_guessing_is_slow(locked: Callable[..., Site]) -> None:
    """After ten wrong passwords an address is limited, but a right password still works."""
    site = locked()
    assert request(site, user="alice", password=PASSWORD) == 200
    guesses = [request(site, user="alice", password=f"guess {n}") for n in range(10)]
    assert guesses == [401] * 10
    # While time passes, the limit allows a further attempt now and then.
    assert 429 in (request(site, user="alice", password=f"another {n}") for n in range(1000))
    assert request(site, user="alice", password=PASSWORD) == 200


def test_hashing_delays_nobody(locked: Callable[..., Site]) -> None:
    """While wrong passwords are hashed for a second or so, other requests are answered."""
    site = locked("--web.open-health", rounds=14)
    threads = [
        threading.Thread(target=request, args=(site, "/metrics", "alice", f"guess {n}"))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    answered = 0
    while any(thread.is_alive() for thread in threads):
        assert request(site, "/-/healthy") == 200
        answered += 1
    # If hashing blocked the server, one could slip in between two hashes.
    assert answered > 2 * len(threads)
    for thread in threads:
        thread.join()


def test_an_unknown_user_costs_the_same(locked: Callable[..., Site]) -> None:
    """An unknown user costs the server the CPU time of a hash, like a known one."""
    site = locked(rounds=11)

    def cost(user: str) -> float:
        before = site.cpu_seconds()
        for number in range(4):
            assert request(site, user=user, password=f"guess {number}") == 401
        return site.cpu_seconds() - before

    known, unknown = cost("alice"), cost("nobody")
    assert unknown > known / 3, (known, unknown)


def test_no_secret_is_shown(locked: Callable[..., Site]) -> None:
    """Neither a password nor its hash is in the log or the process arguments."""
    site = locked("--log-level", "debug")
    request(site, user="alice", password="a secret guess")
    arguments = Path(f"/proc/{site.pid}/cmdline").read_text()
    site.command.process.terminate()
    outcome = site.command.end()
    for text in (arguments, outcome.out, outcome.err):
        assert "a secret guess" not in text
        assert "$2b$" not in text
    assert outcome.status == 0


def test_rate_and_headers(launch: Launch, host: str, tmp_path: Path) -> None:
    """Requests beyond the rate limit get 429; every response has the configured headers."""
    config = tmp_path / "web.yaml"
    config.write_text(
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
        "rate_limit: {interval: 1h, burst: 3}\n"
    )
    site = Site(launch, host, "--web.config.file", str(config))
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_SECONDS)
    statuses = []
    with contextlib.closing(connection):
        for _ in range(5):
            connection.request("GET", "/-/healthy")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            assert response.headers["X-Frame-Options"] == "deny"
    assert statuses == [200, 200, 200, 429, 429]


def test_config_check(launch: Launch, host: str, tmp_path: Path) -> None:
    """`--config.check` checks this file too."""
    config = tmp_path / "web.yaml"
    config.write_text("basic_auth_users: {alice: plain}")
    outcome = launch("serve", host, "--web.config.file", str(config), "--config.check").end()
    assert outcome.status == 2
    assert "basic_auth_users.alice: must be a bcrypt hash" in outcome.err
