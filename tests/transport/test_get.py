"""A GET request over real sockets, made by a waiting thread and by the polling loop.

Both ways bring back the same, fail for the same reasons in the same words, and end as soon.
"""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from raw_answers import BAD, GOOD
from servers import PATIENCE_SECONDS, free_port, returned
from speaker import Speak
from ways import INTERIM, OK, SHORT_SECONDS, TOKEN, failure, looped, said, transport

from goe_exporter.config import values
from goe_exporter.errors import TransportError
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.transport import sockets
from goe_exporter.transport.http import Transport


@pytest.fixture(autouse=True, params=["waiting", "loop"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests be made one way and the other."""
    if request.param == "loop":
        monkeypatch.setattr(Transport, "get", looped)


# What comes back


@pytest.mark.parametrize("name", GOOD)
def test_answer(speak: Speak, name: str) -> None:
    """Status and body are those that were sent."""
    raw, status, body = GOOD[name]
    assert said(transport(speak(raw).address), "/") == (status, body)


def test_status_and_body_come_back(speak: Speak) -> None:
    """A request returns the status code and the body's bytes as they were sent."""
    speaker = speak(b"HTTP/1.1 418 Teapot\r\nContent-Length: 4\r\n\r\n\x00\xff{}")
    assert said(transport(speaker.address), "/") == (418, b"\x00\xff{}")


def test_headers_come_back(speak: Speak) -> None:
    """An answer's headers are found by name, however it is written."""
    speaker = speak(b"HTTP/1.1 429 Slow\r\nretry-after: 5\r\nContent-Length: 0\r\n\r\n")
    assert transport(speaker.address).get("/").headers["Retry-After"] == "5"


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


@pytest.mark.parametrize("interim", INTERIM, ids=["100", "102", "103", "199"])
@pytest.mark.parametrize("count", [11, 1000])
def test_too_many_interim_responses(speak: Speak, interim: bytes, count: int) -> None:
    """Ten interim responses are the most; a server that sends no other ends the request."""
    assert failure(speak(interim * count, OK)).reason == "truncated"


def test_endless_interim_responses_end_at_the_limit(speak: Speak) -> None:
    """Interim responses without end are cut off, not read until the deadline."""
    assert failure(speak(endless=INTERIM[1])).reason == "truncated"


def test_request_is_plain(speak: Speak) -> None:
    """The request is a GET that says no more than it must, and announces that it will close."""
    speaker = speak(OK)
    transport(speaker.address).get("/api/status?filter=car,amp")
    head = speaker.requests[0].lower()
    assert speaker.requests[0].startswith("GET /api/status?filter=car,amp HTTP/1.1\r\n")
    assert "\r\nconnection: close\r\n" in head
    assert "gzip" not in head


def test_connection_held_open_is_not_waited_for(speak: Speak) -> None:
    """A complete answer returns at once, though the charger forgets to close."""
    speaker = speak(OK, pause_seconds=10 * PATIENCE_SECONDS)
    assert said(transport(speaker.address), "/") == (200, b"{}")


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
    assert set(asked) == {("::1", port)}


# What fails, and why


@pytest.mark.parametrize("name", BAD)
def test_bad_answer(speak: Speak, name: str) -> None:
    """A malformed or truncated answer has its reason, and the same message either way."""
    raw, reason = BAD[name]
    speaker = speak(raw)
    error = failure(speaker)
    assert error.reason == reason
    messages = {
        "truncated": f"{speaker.address} closed the connection before the answer was complete",
        "too_large": "an answer of more than 1048576 bytes",
    }
    assert str(error) == messages[reason]


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


def addresses(
    monkeypatch: pytest.MonkeyPatch,
    *found: tuple[str, int],
    families: tuple[int, ...] = (socket.AF_INET,) * 9,
) -> None:
    """Let every host name have these addresses, in this order."""

    def resolve(*arguments: object) -> list[object]:
        if arguments[-1] == socket.AI_NUMERICHOST:
            raise socket.gaierror
        return [
            (family, socket.SOCK_STREAM, 6, "", address)
            for family, address in zip(families, found, strict=False)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_address_family_that_the_machine_lacks(
    speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IPv6 address on a machine without IPv6 does not hide the next address."""
    families = (socket.AF_X25, socket.AF_INET)
    addresses(monkeypatch, ("::1", 80), speak(OK).server_address, families=families)
    assert said(transport("box.example"), "/") == (200, b"{}")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Return the sockets of all attempts to connect."""
    found: list[socket.socket] = []

    def noted(kind: Any) -> Callable[..., Any]:
        def open_one(*arguments: int) -> Any:
            found.append(kind(*arguments))
            return found[-1]

        return open_one

    for name in ("_Socket", "_PlainSocket"):
        monkeypatch.setattr(sockets, name, noted(getattr(sockets, name)))
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


def test_given_moment_replaces_the_deadline() -> None:
    """A request that is one of several ends at their common moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asker = transport(f"127.0.0.1:{listener.getsockname()[1]}", None, 3600.0)
        with pytest.raises(TransportError) as caught:
            returned(lambda: asker.get("/", time.monotonic() + SHORT_SECONDS))
        assert caught.value.reason == "timeout"
