"""Requests that only a waiting thread makes: POST, one address for several, proxies, TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers import PATIENCE_SECONDS, returned, self_signed
from speaker import Speak, Speaker
from ways import INTERIM, OK, SHORT_SECONDS, TOKEN, failure, said, transport

from goe_exporter.errors import TransportError, UsageError
from goe_exporter.transport import sockets
from goe_exporter.transport.http import Transport


def test_interim_response_of_a_proxy_is_skipped(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it the answer where the request takes its way through a proxy."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{speak(*INTERIM, OK).address}")
    asker = transport("http://box.invalid", environment_proxies=True)
    assert said(asker, "/") == (200, b"{}")


def test_post(speak: Speak) -> None:
    """A body is posted as it is, with its length."""
    speaker = speak(OK)
    answer = transport(speaker.address, TOKEN).post("/write?x=1", b"a=1\n", {})
    assert (answer.status, answer.body) == (200, b"{}")
    assert speaker.requests[0].startswith("POST /write?x=1 HTTP/1.1\r\n")
    assert "\r\ncontent-length: 4\r\n" in speaker.requests[0].lower()
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in speaker.requests[0]
    assert speaker.requests[0].endswith("\r\n\r\na=1\n")


def test_posts_one_after_another(speak: Speak) -> None:
    """Each has its own target, headers, body and length, whatever the one before had."""
    speaker = speak(OK)
    asker = transport(speaker.address)
    asker.post("/write", b"a=1\n", {"Accept": "a"})
    asker.post("/write", b"bb=22\n", {"Accept": "a"})
    asker.post("/write", b"", {"Accept": "b", "X-More": "1"})
    asker.post("/read", b"c", {"Accept": "b"})
    found = []
    for request in speaker.requests:
        head, _, body = request.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ") for line in lines)
        found.append((first.split()[1], headers["content-length"], headers["accept"], body))
    assert found == [
        ("/write", "4", "a", "a=1\n"),
        ("/write", "6", "a", "bb=22\n"),
        ("/write", "0", "b", ""),
        ("/read", "1", "b", "c"),
    ]
    assert ["x-more: 1" in request.lower() for request in speaker.requests] == [
        False, False, True, False,
    ]  # fmt: skip


def test_one_address_for_several_requests(speak: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the block the first address is kept, though the name server turns them around."""
    speakers = [speak(OK), speak(OK)]
    hosts = [each.address.rpartition(":") for each in speakers]
    order = [(host, int(port)) for host, _, port in hosts]

    def resolve(*_arguments: object) -> list[object]:
        order.reverse()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in order]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    asker = transport("box.example")
    for _ in range(2):
        with asker.one_address():
            before = [each.accepted for each in speakers]
            for _ in range(4):
                assert said(asker, "/") == (200, b"{}")
        grown = [each.accepted - count for each, count in zip(speakers, before, strict=True)]
        assert sorted(grown) == [0, 4]


def test_lookup_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request in a waiting thread ends in time, too, if no name server answers."""
    released = threading.Event()
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: int) -> object:
        if rest[-1] == 0:
            released.wait(PATIENCE_SECONDS)
        return real(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    try:
        started = time.monotonic()
        assert failure("box.example", SHORT_SECONDS).reason == "dns"
        assert time.monotonic() - started < PATIENCE_SECONDS / 2
    finally:
        released.set()


# Proxies


@pytest.fixture
def proxy(speak: Speak, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaker]:
    """Yield a recording proxy to which the environment points."""
    speaker = speak(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{speaker.address}")
    return speaker


def test_environment_proxies_do_not_count(speak: Speak, proxy: Speaker) -> None:
    """`HTTP_PROXY` is ignored: a charger stands in the same house."""
    speaker = speak(OK)
    assert said(transport(speaker.address), "/") == (200, b"{}")
    assert proxy.accepted == 0


def test_environment_proxies_count_when_asked_for(speak: Speak, proxy: Speaker) -> None:
    """With `environment_proxies` the request goes to the proxy instead."""
    speaker = speak(OK)
    asker = transport(speaker.address, environment_proxies=True)
    assert said(asker, "/api/status") == (200, b"proxy")
    assert speaker.accepted == 0
    assert proxy.requests[0].startswith(f"GET http://{speaker.address}/api/status HTTP/1.1\r\n")


def test_no_proxy_counts_too(speak: Speak, proxy: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NO_PROXY` is honoured with the other variables."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    speaker = speak(OK)
    assert said(transport(speaker.address, environment_proxies=True), "/") == (200, b"{}")
    assert proxy.accepted == 0


def test_a_proxy_of_another_scheme_does_not_count(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only HTTPS has a proxy, HTTP goes to the charger itself and keeps its deadline."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    speaker = speak(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert said(transport(speaker.address, environment_proxies=True), "/") == (200, b"{}")
    dripping = speak(
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", endless=b"x", pause_seconds=0.3
    )
    asker = transport(dripping.address, None, SHORT_SECONDS, environment_proxies=True)
    with pytest.raises(TransportError, match="in time"):
        returned(lambda: asker.get("/"))


def test_drip_of_a_proxy_ends_at_the_deadline(proxy: Speaker) -> None:
    """The deadline holds for an answer that comes through a proxy too."""
    proxy.pieces = (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",)
    proxy.endless, proxy.pause_seconds = b" ", 0.1
    asker = transport("192.0.2.1", None, SHORT_SECONDS, environment_proxies=True)
    with pytest.raises(TransportError) as caught:
        returned(lambda: asker.get("/"))
    assert caught.value.reason == "timeout"


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory, processes: None) -> Path:  # noqa: ARG001
    """Return a file with a self-signed certificate for 127.0.0.1 and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the certificate be one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def test_wrong_certificate(speak: Speak, tls: ssl.SSLContext) -> None:
    """A certificate that nobody vouches for is `tls`, and no request is made."""
    speaker = speak(OK, tls=tls)
    assert failure(f"https://{speaker.address}").reason == "tls"
    assert speaker.requests == []


@pytest.mark.usefixtures("trusted")
def test_right_certificate(speak: Speak, tls: ssl.SSLContext) -> None:
    """A certificate that the system trusts is taken, and the token travels inside."""
    speaker = speak(OK, tls=tls)
    assert said(transport(f"https://{speaker.address}", TOKEN), "/") == (200, b"{}")
    assert f"Authorization: Bearer {TOKEN}" in speaker.requests[0]


@pytest.mark.usefixtures("trusted")
def test_interim_response_over_tls_is_skipped(
    speak: Speak, tls: ssl.SSLContext, certificate: Path
) -> None:
    """TLS makes no difference to interim responses."""
    speaker = speak(*INTERIM, OK, tls=tls)
    asker = Transport(
        f"https://{speaker.address}", deadline_seconds=PATIENCE_SECONDS, ca_file=str(certificate)
    )
    assert said(asker, "/") == (200, b"{}")


def test_certificate_of_another_host(speak: Speak, tls: ssl.SSLContext) -> None:
    """A trusted certificate for another name is `tls`."""
    speaker = speak(OK, tls=tls)
    host = f"https://{speaker.address}".replace("127.0.0.1", "localhost")
    assert failure(host).reason == "tls"


def test_certificate_of_ones_own(speak: Speak, tls: ssl.SSLContext, certificate: Path) -> None:
    """With `ca_file` the certificates in it count."""
    speaker = speak(OK, tls=tls)
    host = f"https://{speaker.address}"
    asker = Transport(host, deadline_seconds=PATIENCE_SECONDS, ca_file=str(certificate))
    assert said(asker, "/") == (200, b"{}")


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    """A `ca_file` that is missing or holds no certificate is a wrong usage that names it."""
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(UsageError, match=path.name):
            Transport("https://127.0.0.1", deadline_seconds=PATIENCE_SECONDS, ca_file=str(path))


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_any_certificate_when_asked_for(speak: Speak, tls: ssl.SSLContext) -> None:
    """Without verification any certificate will do, as somebody must have asked for."""
    speaker = speak(OK, tls=tls)
    host = f"https://{speaker.address}"
    asker = Transport(host, deadline_seconds=PATIENCE_SECONDS, verify_tls=False)
    assert said(asker, "/") == (200, b"{}")


def test_no_tls_at_the_other_end() -> None:
    """A server that does not speak TLS is `tls`."""

    def answer_plainly(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_plainly, args=(listener,))
        thread.start()
        assert failure(f"https://127.0.0.1:{listener.getsockname()[1]}").reason == "tls"
        thread.join()


@pytest.mark.usefixtures("trusted")
def test_drip_over_tls_ends_at_the_deadline(speak: Speak, tls: ssl.SSLContext) -> None:
    """The deadline holds inside TLS too."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    speaker = speak(head, endless=b" ", pause_seconds=0.05, tls=tls)
    assert failure(f"https://{speaker.address}", SHORT_SECONDS).reason == "timeout"


def test_silent_handshake_ends_at_the_deadline() -> None:
    """A server that takes the connection and never says a word costs no more than the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"https://127.0.0.1:{listener.getsockname()[1]}"
        assert failure(host, SHORT_SECONDS).reason == "timeout"


def test_slow_connection_leaves_less_time_for_the_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connecting and the TLS handshake share one deadline."""
    spent = [0.0]
    monkeypatch.setattr(
        sockets, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + spent[0])
    )
    real = sockets._Socket.connect_ex

    def slow(connecting: socket.socket, address: tuple[str, int]) -> int:
        spent[0] = 3599.5
        return real(connecting, address)

    monkeypatch.setattr(sockets._Socket, "connect_ex", slow)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"https://127.0.0.1:{listener.getsockname()[1]}"
        assert failure(host, 3600.0).reason == "timeout"
