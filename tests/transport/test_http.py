"""One request over real sockets: what comes back, how soon, and what is never done."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers import PATIENCE_SECONDS, free_port, returned, self_signed
from speaker import Speak, Speaker

from goe_exporter.config import values
from goe_exporter.errors import REASONS, TransportError, UsageError
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.transport import sockets
from goe_exporter.transport.http import Transport

SHORT_SECONDS = 0.4
"""The deadline of a request that must not get its answer; all others have plenty of time."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TOKEN = "s3cret-t0ken"


def transport(
    host: str,
    token: str | None = None,
    deadline_seconds: float = PATIENCE_SECONDS,
    *,
    environment_proxies: bool = False,
) -> Transport:
    return Transport(
        host,
        token=token,
        deadline_seconds=deadline_seconds,
        environment_proxies=environment_proxies,
    )


def said(asker: Transport, target: str) -> tuple[int, bytes]:
    """Return status and body of a request that must succeed."""
    answer = asker.get(target)
    return answer.status, answer.body


def failure(host: str | Speaker, deadline_seconds: float = PATIENCE_SECONDS) -> TransportError:
    """Return the error of a request that must fail."""
    address = host if isinstance(host, str) else host.address
    asker = transport(address, deadline_seconds=deadline_seconds)
    with pytest.raises(TransportError) as caught:
        returned(lambda: asker.get("/api/status?filter=car"))
    return caught.value


# What comes back


def test_status_and_body_come_back(speak: Speak) -> None:
    """A request returns the status code and the body's bytes as they were sent."""
    speaker = speak(b"HTTP/1.1 418 Teapot\r\nContent-Length: 4\r\n\r\n\x00\xff{}")
    assert said(transport(speaker.address), "/") == (418, b"\x00\xff{}")


def test_headers_come_back(speak: Speak) -> None:
    """An answer's headers are found by name, however it is written."""
    speaker = speak(b"HTTP/1.1 429 Slow\r\nretry-after: 5\r\nContent-Length: 0\r\n\r\n")
    assert transport(speaker.address).get("/").headers["Retry-After"] == "5"


INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 199 Unheard of\r\n\r\n",
)


@pytest.mark.parametrize(
    "interim",
    [*((each,) for each in INTERIM), INTERIM * 2, (INTERIM[0],) * 10],
    ids=["100", "102", "103", "199", "several", "ten"],
)
def test_interim_response_is_skipped(speak: Speak, interim: tuple[bytes, ...]) -> None:
    """The answer is the first response that is not 1xx, with its own headers and body."""
    speaker = speak(*interim, b"HTTP/1.1 202 OK\r\nContent-Length: 2\r\nX-Own: yes\r\n\r\n{}")
    answer = transport(speaker.address).get("/")
    assert (answer.status, answer.headers["X-Own"], answer.body) == (202, "yes", b"{}")
    assert "Link" not in answer.headers


def test_interim_response_of_a_proxy_is_skipped(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it the answer where the request takes its way through a proxy."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{speak(*INTERIM, OK).address}")
    asker = transport("http://box.invalid", environment_proxies=True)
    assert said(asker, "/") == (200, b"{}")


@pytest.mark.parametrize("interim", INTERIM, ids=["100", "102", "103", "199"])
@pytest.mark.parametrize("count", [11, 1000])
def test_too_many_interim_responses(speak: Speak, interim: bytes, count: int) -> None:
    """Ten interim responses are the most; a server that sends no other ends the request."""
    assert failure(speak(interim * count, OK)).reason == "truncated"


def test_endless_interim_responses_end_at_the_limit(speak: Speak) -> None:
    """Interim responses without end are cut off, not read until the deadline."""
    assert failure(speak(endless=INTERIM[1])).reason == "truncated"


def test_switching_protocols_is_final(speak: Speak) -> None:
    """101 is no interim response: what follows it is another protocol, not the answer."""
    speaker = speak(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", OK)
    assert said(transport(speaker.address), "/") == (101, b"")


def test_post(speak: Speak) -> None:
    """A body is posted as it is, with its length."""
    speaker = speak(OK)
    answer = transport(speaker.address, TOKEN).post("/write?x=1", b"a=1\n", {})
    assert (answer.status, answer.body) == (200, b"{}")
    assert speaker.requests[0].startswith("POST /write?x=1 HTTP/1.1\r\n")
    assert "\r\ncontent-length: 4\r\n" in speaker.requests[0].lower()
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in speaker.requests[0]
    assert speaker.requests[0].endswith("\r\n\r\na=1\n")


def test_request_is_plain(speak: Speak) -> None:
    """The request is a GET that says no more than it must, and announces that it will close."""
    speaker = speak(OK)
    transport(speaker.address).get("/api/status?filter=car,amp")
    head = speaker.requests[0].lower()
    assert speaker.requests[0].startswith("GET /api/status?filter=car,amp HTTP/1.1\r\n")
    assert "\r\nconnection: close\r\n" in head
    assert "gzip" not in head


def test_chunked_body_is_put_together(speak: Speak) -> None:
    """A body that comes in chunks is one body."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    speaker = speak(head, b'6\r\n{"car"\r\n', b"3;x=y\r\n:1}\r\n0\r\n\r\n")
    assert said(transport(speaker.address), "/") == (200, b'{"car":1}')


def test_body_without_a_length_ends_with_the_connection(speak: Speak) -> None:
    """An answer that names no length is read until the charger closes."""
    speaker = speak(b"HTTP/1.0 200 OK\r\n\r\n", b"{", b"}")
    assert said(transport(speaker.address), "/") == (200, b"{}")


def test_connection_held_open_is_not_waited_for(speak: Speak) -> None:
    """A complete answer returns at once, though the charger forgets to close."""
    speaker = speak(OK, pause_seconds=10 * PATIENCE_SECONDS)
    assert said(transport(speaker.address), "/") == (200, b"{}")


def test_claimed_compression_is_not_undone(speak: Speak) -> None:
    """Nothing is decompressed: the body limit counts what is kept in memory."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n"
    assert said(transport(speak(head, b"{}").address), "/") == (200, b"{}")


def test_every_request_has_a_connection_of_its_own(speak: Speak) -> None:
    """A connection is never used twice, though the server would allow it."""
    speaker = speak(OK, pause_seconds=0.01)
    asker = transport(speaker.address)
    for _ in range(4):
        assert said(asker, "/") == (200, b"{}")
    assert speaker.accepted == 4


def test_ipv6_address(simulator: Simulator) -> None:
    """A charger is reached at an IPv6 address in brackets."""
    try:
        box = simulator.add(Charger("V4"), host="::1")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert said(transport(box.address), "/api/status?filter=amp") == (200, b'{"amp":16}')


@pytest.mark.parametrize(
    ("host", "port"), [("[::1]", 80), ("http://[::1]", 80), ("https://[::1]", 443)]
)
def test_ipv6_address_without_a_port(monkeypatch: pytest.MonkeyPatch, host: str, port: int) -> None:
    """Without a port the address is whole: its last group is not the port."""
    asked: list[object] = []

    def resolve(name: object, number: object, *_args: object) -> None:
        asked.append((name, number))
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    failure(host)
    assert asked == [("::1", port)]


# What fails, and why


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """Yield an address that does not answer a request for a connection: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address


def addresses(monkeypatch: pytest.MonkeyPatch, *found: tuple[str, int]) -> None:
    """Let every host name have these addresses, in this order."""
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments: entries)


def test_address_family_that_the_machine_lacks(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IPv6 address on a machine without IPv6 does not hide the next address."""
    good = speak(OK).address.rpartition(":")
    entries = [
        (socket.AF_X25, socket.SOCK_STREAM, 6, "", ("::1", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (good[0], int(good[2]))),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments: entries)
    assert said(transport("box.example"), "/") == (200, b"{}")


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


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Return the sockets of all attempts to connect."""
    found: list[socket.socket] = []

    class Noted(sockets._Socket):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            found.append(self)

    monkeypatch.setattr(sockets, "_Socket", Noted)
    return found


@pytest.mark.parametrize("order", ["silent good", "good silent", "silent silent good", "shut good",
                                   "silent shut good", "shut silent good silent"])  # fmt: skip
def test_silent_addresses_of_a_host_name(
    speak: Speak,
    silent: tuple[str, int],
    opened: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    """A host name is reached while one of its addresses accepts, wherever it is in the list."""
    shut = ("127.0.0.1", free_port())
    places = {"silent": silent, "shut": shut, "good": speak(OK).server_address}
    addresses(monkeypatch, *(places[name] for name in order.split()))
    asker = transport("charger.test")
    started = time.monotonic()
    assert said(asker, "/") == (200, b"{}")
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    assert {each.fileno() for each in opened} == {-1}


def test_short_deadline_is_shared_among_addresses(
    speak: Speak, silent: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every address is tried within the deadline, however short it is."""
    monkeypatch.setattr(sockets, "HEAD_START_SECONDS", 3600.0)
    addresses(monkeypatch, silent, silent, silent, speak(OK).server_address)
    assert said(transport("charger.test", deadline_seconds=4.0), "/") == (200, b"{}")


@pytest.mark.parametrize(
    ("order", "reason"),
    [("silent", "timeout"), ("silent silent", "timeout"), ("shut", "refused"),
     ("shut shut", "refused"), ("none", "unreachable"), ("none none", "unreachable")],
)  # fmt: skip
def test_no_address_accepts(
    silent: tuple[str, int],
    opened: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    reason: str,
) -> None:
    """The reason is that of the addresses; all are given up at the deadline."""
    places = {
        "silent": silent,
        "shut": ("127.0.0.1", free_port()),
        "none": ("255.255.255.255", 80),
    }
    addresses(monkeypatch, *(places[name] for name in order.split()))
    assert failure("charger.test", SHORT_SECONDS).reason == reason
    assert {each.fileno() for each in opened} == {-1}


def test_nobody_listens() -> None:
    """A closed port is `refused`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failure(f"127.0.0.1:{port}").reason == "refused"


@pytest.mark.parametrize("host", ["charger.invalid", "a..b", "a" * 70 + ".invalid"])
def test_name_that_does_not_exist(host: str) -> None:
    """A name without an address is `dns`, and the text names it."""
    error = failure(host)
    assert error.reason == "dns"
    assert host in str(error)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:99999", "[1]", "[::1%]", ".local", "*.local", "ß!", "%", "a\\b", "a\x00"]
)
def test_text_that_can_be_no_host(host: str) -> None:
    """What can never be asked is refused with the configuration, or is `dns`, but no defect."""
    try:
        accepted = values.host(host)
    except ValueError:
        return
    assert failure(accepted).reason == "dns"


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (b"", "truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{}", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n", "truncated"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n-1\r\n", "truncated"),
    ],
)
def test_answer_that_ends_too_soon(speak: Speak, piece: bytes, reason: str) -> None:
    """An answer that stops half-way is `truncated`, in its head as in its body."""
    assert failure(speak(piece)).reason == reason


@pytest.mark.parametrize(
    "piece",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"\x00\xff" * 100,
    ],
)
def test_what_is_no_http_is_an_error_with_a_reason(speak: Speak, piece: bytes) -> None:
    """Whatever speaks on that port, the error is a `TransportError` of the fixed set."""
    assert failure(speak(piece)).reason in REASONS


@pytest.mark.parametrize(
    ("pieces", "endless"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",), b" "),
        ((b"HTTP/1.1 200 OK\r\n\r\n",), b" "),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",), b"2\r\n{}\r\n"),
        ((b"HTTP/1.1 200 OK\r\nX-Drip: ",), b"x"),
        ((b"HTTP/1.1 200 OK\r\n",), b"X-Drip: 1\r\n"),
        ((b"",), b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "body-without-length", "chunks", "header", "headers", "interim-answers"],
)
def test_drip_ends_at_the_deadline(speak: Speak, pieces: tuple[bytes, ...], endless: bytes) -> None:
    """A byte now and then does not prolong a request, wherever in the answer it drips."""
    speaker = speak(*pieces, endless=endless, pause_seconds=0.05)
    assert failure(speaker, SHORT_SECONDS).reason == "timeout"


def test_drip_ends_at_the_deadline_however_the_host_is_written(speak: Speak) -> None:
    """The deadline also holds for an address that has a shorter spelling."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
    speaker = speak(head, endless=b" ", pause_seconds=0.1)
    assert failure(speaker.address.replace(":", ":0"), SHORT_SECONDS).reason == "timeout"


def test_header_flood(speak: Speak) -> None:
    """Headers without end are broken off early, not collected."""
    speaker = speak(b"HTTP/1.1 200 OK\r\n", endless=b"X-Flood: 1\r\n" * 100)
    tracemalloc.start()
    error = failure(speaker)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.reason in ("truncated", "too_large")
    assert peak < 2 * 2**20


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["announced", "unannounced"],
)
def test_large_body_is_not_taken_in(speak: Speak, head: bytes) -> None:
    """Of a body without end about 1 MiB is read, and no more is kept."""
    speaker = speak(head, endless=b"a" * 65536)
    tracemalloc.start()
    error = failure(speaker)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.reason == "too_large"
    assert peak < 4 * 2**20
    # What the kernel had buffered was sent too, but never read.
    assert speaker.sent < 16 * 2**20


@pytest.mark.parametrize(("size", "reason"), [(2**20, ""), (2**20 + 1, "too_large")])
def test_body_limit_is_one_mebibyte(speak: Speak, size: int, reason: str) -> None:
    """1048576 bytes are taken, one more is `too_large`."""
    speaker = speak(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode(), b" " * size)
    if reason:
        assert failure(speaker).reason == reason
    else:
        assert said(transport(speaker.address), "/") == (200, b" " * size)


def test_redirect_is_not_followed(speak: Speak) -> None:
    """A redirect comes back as it is; nobody asks its target."""
    target = speak(OK)
    location = f"Location: http://{target.address}/\r\n".encode()
    speaker = speak(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + location + b"\r\n")
    assert said(transport(speaker.address, TOKEN), "/") == (302, b"")
    assert speaker.accepted == 1
    assert target.accepted == 0


def test_cookies_are_not_sent_back(speak: Speak) -> None:
    """What a charger wants remembered is forgotten."""
    speaker = speak(b"HTTP/1.1 200 OK\r\nSet-Cookie: id=1\r\nContent-Length: 2\r\n\r\n{}")
    asker = transport(speaker.address)
    asker.get("/one")
    asker.get("/one")
    assert "cookie" not in speaker.requests[1].lower()


# Secrets


def test_token_is_a_header(speak: Speak) -> None:
    """The bearer token is in the header `Authorization` and nowhere else."""
    speaker = speak(OK)
    transport(speaker.address, TOKEN).get("/api/status?filter=car")
    request_line, _, headers = speaker.requests[0].partition("\r\n")
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in f"\r\n{headers}"
    assert TOKEN not in request_line
    assert speaker.requests[0].count(TOKEN) == 1


def test_without_a_token_there_is_no_header(speak: Speak) -> None:
    """Nothing is authorized that was not asked to be."""
    speaker = speak(OK)
    transport(speaker.address).get("/")
    assert "authorization" not in speaker.requests[0].lower()


@pytest.mark.parametrize("piece", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 2**21])
def test_token_is_in_no_error(speak: Speak, piece: bytes) -> None:
    """No error's text, nor that of what it came from, shows the token."""
    with pytest.raises(TransportError) as caught:
        transport(speak(piece).address, TOKEN).get("/")
    error: BaseException | None = caught.value
    while error is not None:
        assert TOKEN not in f"{error} {error!r}"
        error = error.__cause__


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


def test_given_moment_replaces_the_deadline() -> None:
    """A request that is one of several ends at their common moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asker = transport(f"127.0.0.1:{listener.getsockname()[1]}", None, 3600.0)
        with pytest.raises(TransportError) as caught:
            returned(lambda: asker.get("/", time.monotonic() + SHORT_SECONDS))
        assert caught.value.reason == "timeout"
