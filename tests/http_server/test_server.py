"""The web server under clients that mean ill, over TLS, and behind a password."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import os
import socket
import ssl
import statistics
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
from servers import self_signed, wait_for

from goe_exporter.http_server.server import _Listener
from goe_exporter.simulator import Car, Charger, Simulator

PASSWORD = "näher dran"
IDLE = 1000


class Site(Exporter):
    """`goe-exporter serve` in a process of its own, on a simulated charger that charges."""

    def __init__(self, launch: Launch, host: str, *options: str) -> None:
        hurry = ("--refresh-interval", "1s")
        super().__init__(launch("serve", f"garage={host}", *hurry, *LISTEN, *options))

    def open(self) -> socket.socket:
        """Return a plain connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def scrape(self, path: str = "/metrics") -> float:
        """Scrape over a connection of its own; return the seconds it took."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        assert response.status == 200, body
        assert path != "/metrics" or b"\ngoe_up{" in body
        return time.monotonic() - began


@pytest.fixture
def host() -> Iterator[str]:
    """Yield the address of a simulated charger."""
    with Simulator() as simulator:
        charger = Charger()
        charger.plug(Car())
        yield simulator.add(charger).address


# Abuse


class Abuse:
    """Clients that mean ill, busy until the block ends."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.over = threading.Event()
        self.sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def opened(self) -> socket.socket:
        """Return a connection that is closed when the block ends."""
        self.sockets.append(self.site.open())
        return self.sockets[-1]

    def keep(self, act: Callable[[], None]) -> None:
        """Do something again and again until the block ends."""

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
    """A byte of a header a second, on many connections."""
    sockets = [abuse.opened() for _ in range(50)]
    for each in sockets:
        each.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")

    def act() -> None:
        abuse.over.wait(1)
        for each in sockets:
            each.sendall(b"a")

    abuse.keep(act)


def deaf(abuse: Abuse) -> None:
    """Many requests, and none of their answers is read."""
    for _ in range(50):
        connection = abuse.opened()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)


def idle(abuse: Abuse) -> None:
    """More connections than there may be, each having had an answer."""
    for _ in range(IDLE):
        abuse.opened().sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")


def body(abuse: Abuse) -> None:
    """A body of 1 GB, sent as fast as it is taken."""

    def act() -> None:
        with contextlib.closing(abuse.site.open()) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n")
            for _ in range(1024):
                connection.sendall(b"a" * 1024 * 1024)

    abuse.keep(act)


def headers(abuse: Abuse) -> None:
    """100,000 headers."""

    def act() -> None:
        with contextlib.closing(abuse.site.open()) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n")
            while connection.recv(65536):
                pass
            abuse.over.wait(0.05)

    abuse.keep(act)


def junk(abuse: Abuse) -> None:
    """Requests, and bytes that are none, in one piece."""
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
    """Meanwhile scrapes are answered, and memory stays within 50 MB."""
    site = Site(launch, host)
    wait_for(lambda: site.scrape() > 0, "a first scrape")
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
    """Whoever has not asked by the deadline is shown out, however busily they drip."""
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


def test_a_connection_between_two_requests_may_rest(launch: Launch, host: str) -> None:
    """The deadline is for a request; a scraper's connection outlives it and is used again."""
    site = Site(launch, host, "--web.request-timeout", "200ms")
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("GET", "/-/healthy")
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"healthy\n")
            kept = connection.sock
            time.sleep(0.4)  # not for luck: longer than the deadline that must not strike
            assert connection.sock is kept


def healthy(connection: socket.socket) -> bool:
    """Ask over an open connection; tell whether the answer is a good one, whole."""
    connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
    received = b""
    while not received.endswith(b"\r\n\r\nhealthy\n"):
        piece = connection.recv(65536)
        if not piece:
            return False
        received += piece
    return received.startswith(b"HTTP/1.1 200 ")


def test_the_idlest_goes(launch: Launch, host: str) -> None:
    """Beyond the limit the one that has been silent the longest is dropped, and nobody else."""
    site = Site(launch, host, "--web.max-connections", "16")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(site.open()) for _ in range(16)]
        for each in held:
            assert healthy(each)
        site.scrape()
        assert held[0].recv(65536) == b""
        assert healthy(held[1])


def test_answers_do_not_wait_for_the_client() -> None:
    """A connection sends small pieces at once; else an answer waits 40 ms for the client's word."""

    async def accept() -> socket.socket:
        welcomed: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listener = _Listener(listening, welcomed.set_result)
            with socket.create_connection(listening.getsockname()):
                connection = await welcomed
            listener.close()
            await listener.wait_closed()
        return connection

    with asyncio.run(accept()) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_pipelined_requests(launch: Launch, host: str) -> None:
    """Requests in one piece are answered one after the other."""
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
server = Server("127.0.0.1", 0)
print(server.url, flush=True)
server.run(Response(b"a" * {LARGE_BYTES}))
"""


def test_answers_that_nobody_takes() -> None:
    """Large answers are kept for the latest clients that do not read, not for all of them."""
    command = [sys.executable, "-c", LARGE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = ("127.0.0.1", int(process.stdout.readline().rpartition(":")[2].strip("/\n")))
            with contextlib.ExitStack() as stack:
                clients = []
                for _ in range(20):
                    clients.append(stack.enter_context(socket.create_connection(address, 20)))
                    clients[-1].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert clients[-1].recv(12) == b"HTTP/1.1 200"
                assert received(clients[-1]) > LARGE_BYTES
                assert all(received(client) < LARGE_BYTES for client in clients[:-4])
        finally:
            process.kill()


def received(connection: socket.socket) -> int:
    """Read until all of the large answer or the end of the connection; return the bytes."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while count <= LARGE_BYTES and (piece := connection.recv(1024 * 1024)):
            count += len(piece)
    return count


# TLS


def handshake(site: Site, context: ssl.SSLContext) -> bytes:
    """Scrape over TLS; return the server's certificate, whatever it is worth."""
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
    """Return a site with a certificate, at https."""
    self_signed(tmp_path)
    config = tmp_path / "web.yaml"
    config.write_text("tls_server_config: {cert_file: both.pem, key_file: both.pem}")
    return Site(launch, host, "--web.config.file", str(config))


def test_tls(tls_site: Site, tmp_path: Path) -> None:
    """Trusted clients are served; TLS 1.1 and plain HTTP are not, and harm nobody."""
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
    """Clients that never finish their handshake hold up nobody."""
    context = trusting(tmp_path / "both.pem")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(tls_site.open()).sendall(b"\x16\x03\x01\x02\x00\x01")
        handshake(tls_site, context)


def test_idle_connections_over_tls(tls_site: Site) -> None:
    """Memory stays within 50 MB too where each of the connections is a TLS one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before = tls_site.memory_mb()
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(context.wrap_socket(tls_site.open()))
        assert tls_site.memory_mb() < before + 50
    handshake(tls_site, context)


def test_a_new_certificate(tls_site: Site, tmp_path: Path) -> None:
    """A renewed certificate is used without a restart, a broken one never."""
    before = handshake(tls_site, trusting(tmp_path / "both.pem"))
    good = (tmp_path / "both.pem").read_bytes()
    (tmp_path / "both.pem").write_text("half a certificate")
    tls_site.command.line("web configuration not taken up")
    (tmp_path / "before.pem").write_bytes(good)
    assert handshake(tls_site, trusting(tmp_path / "before.pem")) == before
    self_signed(tmp_path)
    tls_site.command.line('"web configuration taken up"')
    assert handshake(tls_site, trusting(tmp_path / "both.pem")) != before


def test_client_certificates(launch: Launch, host: str, tmp_path: Path) -> None:
    """Only a client with a certificate of the right name gets in."""
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
    """Ask with a user and a password, if one is given; return the status."""
    named = {}
    if user:
        named["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
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
    """Every path wants the password, and only the right one of the right user lets in."""
    site = locked()
    for path in ("/", "/metrics", "/api/v1/chargers", "/-/healthy", "/-/ready", "/nowhere"):
        assert request(site, path) == 401
    assert request(site, user="alice", password=PASSWORD) == 200
    assert request(site, user="alice", password=PASSWORD.upper()) == 401
    assert request(site, user="bob", password=PASSWORD) == 401
    assert request(site, "/nowhere", "alice", PASSWORD) == 404


def test_open_health(locked: Callable[..., Site]) -> None:
    """A setting leaves health to everybody, and nothing else."""
    site = locked("--web.open-health")
    assert request(site, "/-/healthy") == 200
    assert request(site, "/metrics") == 401
    assert request(site, "/-/healthy/../../metrics") == 401
    assert request(site, "//-/healthy") == 401


def test_guessing_is_slow(locked: Callable[..., Site]) -> None:
    """After ten wrong passwords an address has to wait, but not who knows the right one."""
    site = locked()
    assert request(site, user="alice", password=PASSWORD) == 200
    guesses = [request(site, user="alice", password=f"guess {n}") for n in range(15)]
    assert guesses[:10] == [401] * 10
    assert guesses[14] == 429
    assert request(site, user="alice", password=PASSWORD) == 200


def test_hashing_holds_up_nobody(locked: Callable[..., Site]) -> None:
    """While a wrong password is hashed for a second or so, others are answered at once."""
    site = locked("--web.open-health", rounds=14)
    threads = [
        threading.Thread(target=request, args=(site, "/metrics", "alice", f"guess {n}"))
        for n in range(3)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    answered = 0
    while any(thread.is_alive() for thread in threads):
        assert request(site, "/-/healthy") == 200
        answered += 1
    hashing = time.monotonic() - began
    assert answered > 20, (answered, hashing)
    for thread in threads:
        thread.join()


def test_an_unknown_user_costs_the_same(locked: Callable[..., Site]) -> None:
    """The time of an answer does not tell whether there is such a user."""
    site = locked(rounds=11)

    def seconds(user: str) -> float:
        def once(number: int) -> float:
            began = time.monotonic()
            assert request(site, user=user, password=f"guess {number}") == 401
            return time.monotonic() - began

        return statistics.median(once(number) for number in range(5))

    known, unknown = seconds("alice"), seconds("nobody")
    assert unknown > known / 3, (known, unknown)


def test_no_secret_is_shown(locked: Callable[..., Site]) -> None:
    """Neither a password nor its hash stands in the log or the arguments."""
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
    """Requests beyond the rate get 429; headers of the file stand in every answer."""
    config = tmp_path / "web.yaml"
    config.write_text(
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
        "rate_limit: {interval: 1h, burst: 3}\n"
    )
    site = Site(launch, host, "--web.config.file", str(config))
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
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
    """`--config.check` looks at this file too."""
    config = tmp_path / "web.yaml"
    config.write_text("basic_auth_users: {alice: plain}")
    outcome = launch("serve", host, "--web.config.file", str(config), "--config.check").end()
    assert outcome.status == 2
    assert "basic_auth_users.alice: a bcrypt hash" in outcome.err
