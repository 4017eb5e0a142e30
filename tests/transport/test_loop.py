"""The polling loop: many requests at a time, host names, errors; see `test_get.py` for the rest."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servers import PATIENCE_SECONDS, free_port, returned, wait_for
from speaker import Speak
from ways import OK, SHORT_SECONDS, TOKEN, looped, transport, waited

from goe_exporter.errors import TransportError
from goe_exporter.transport import loop, sockets
from goe_exporter.transport.answer import AnswerReader, HttpAnswer
from goe_exporter.transport.http import Transport
from goe_exporter.transport.loop import Loop
from goe_exporter.transport.readiness import Poll, Readiness
from goe_exporter.transport.steps import Exchange, Request


class Asker:
    """A loop, and the results of its exchanges by name."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.found: dict[str, Any] = {}

    def ask(self, name: str, host: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Begin an exchange of one request."""
        self.run(name, one(host, seconds))

    def run(self, name: str, exchange: Exchange[Any]) -> None:
        """Begin an exchange."""

        def done(result: object, error: Exception | None) -> None:
            self.found[name] = result if error is None else error

        self.loop.run(exchange, done)

    def until(self, *names: str) -> None:
        """Run the loop until these exchanges have ended."""

        def run() -> None:
            while not self.found.keys() >= set(names):
                self.loop.turn(math.inf)

        returned(run)


def one(host: str, seconds: float) -> Exchange[HttpAnswer]:
    return (yield Request(transport(host), "/", time.monotonic() + seconds))


@pytest.fixture(params=[Readiness, Poll], ids=["usual", "without-epoll"])
def asker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asker]:
    monkeypatch.setattr(loop, "Readiness", request.param)
    made = Asker()
    yield made
    made.loop.close()


@pytest.fixture
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let no lookup of a name end before the event is set; then names do not exist."""
    released = threading.Event()
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *rest: int) -> Any:
        try:
            return real(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        except socket.gaierror:
            if rest[-1] == 0:
                released.wait(PATIENCE_SECONDS)
            raise

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield released
    released.set()


def lookups() -> int:
    return sum(thread.name.startswith("resolve-") for thread in threading.enumerate())


# Both ways alike


@pytest.mark.parametrize("host", ["", "localhost", "LOCALHOST"])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_request_is_the_same_either_way(speak: Speak, host: str, token: str | None) -> None:
    """A charger receives the same bytes from the loop as from a waiting thread."""
    speaker = speak(OK)
    address = speaker.address.replace("127.0.0.1", host) if host else speaker.address
    target = "/api/status?filter=%5B%22car%22%2C%22amp%22%5D&age=45"
    for get in (waited, looped):
        get(transport(address, token), target)
    first, second = speaker.requests
    assert first == second
    assert first.startswith(f"GET {target} HTTP/1.1\r\nHost: {address.lower()}\r\n")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1:{shut}", "{host} refuses the connection"),
        ("no-charger.invalid", "{host}: the host name cannot be resolved"),
        ("a..b", "{host}: the host name cannot be resolved"),
        ("255.255.255.255", "{host}: "),
        ("127.0.0.1:{silent}", "{host} did not answer in time"),
    ],
)
def test_failure_has_the_same_words_either_way(host: str, message: str) -> None:
    """Reason and message do not depend on the way."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = host.format(shut=free_port(), silent=silent.getsockname()[1])
        errors = []
        for get in (waited, looped):
            with pytest.raises(TransportError) as caught:
                get(transport(address, None, SHORT_SECONDS), "/")
            errors.append((caught.value.reason, str(caught.value)))
    assert errors[0] == errors[1]
    assert errors[0][1].startswith(message.format(host=address))


# Many at a time


def test_requests_run_at_a_time(speak: Speak, asker: Asker) -> None:
    """Fifty requests are in progress at once, and one that hangs delays none of them."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asker.ask("hanging", f"127.0.0.1:{silent.getsockname()[1]}")
        speaker = speak(OK)
        names = [str(number) for number in range(50)]
        for name in names:
            asker.ask(name, speaker.address)
        asker.until(*names)
        assert all(asker.found[name].body == b"{}" for name in names)
        assert "hanging" not in asker.found
    asker.until("hanging")
    assert asker.found["hanging"].reason == "truncated"


def test_requests_of_an_exchange_follow_each_other(speak: Speak, asker: Asker) -> None:
    """Each request is sent the answer of the one before; a failure is raised inside."""
    good, bad = speak(OK), f"127.0.0.1:{free_port()}"
    until = time.monotonic() + PATIENCE_SECONDS

    def exchange() -> Exchange[list[object]]:
        seen: list[object] = []
        for host in (good.address, bad, good.address):
            try:
                seen.append((yield Request(transport(host), "/", until)).body)
            except TransportError as error:
                seen.append(error.reason)
        return seen

    asker.run("all", exchange())
    asker.until("all")
    assert asker.found["all"] == [b"{}", "refused", b"{}"]


def test_request_and_answer_in_small_parts(
    speak: Speak, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that takes and gives a few bytes at a time, or none, makes no difference."""

    class Narrow(sockets._PlainSocket):  # type: ignore[name-defined, misc]
        turn = 0

        def send(self, data: bytes, *_flags: int) -> int:  # type: ignore[override]
            self.pause()
            return super().send(data[:7])

        def recv(self, _count: int, *_flags: int) -> bytes:
            self.pause()
            return super().recv(5)

        def pause(self) -> None:
            self.turn += 1
            if self.turn % 3 == 1:
                raise BlockingIOError

    monkeypatch.setattr(sockets, "_PlainSocket", Narrow)
    speaker = speak(OK)
    asker.ask("one", speaker.address)
    asker.until("one")
    assert asker.found["one"].body == b"{}"
    assert speaker.requests[0].startswith("GET / HTTP/1.1\r\n")


# Host names


def test_dead_name_server_delays_no_address(
    speak: Speak, asker: Asker, silent_names: threading.Event
) -> None:
    """While a hundred lookups hang, in a few threads, addresses are reached."""
    assert sockets.MAX_LOOKUPS == 16
    before = lookups()
    for number in range(100):
        asker.ask(f"name {number}", f"charger-{number}.test")
    speaker = speak(OK)
    asker.ask("address", speaker.address)
    asker.until("address")
    assert asker.found["address"].body == b"{}"
    assert lookups() - before == 16
    silent_names.set()
    asker.until(*(f"name {number}" for number in range(100)))
    assert {asker.found[f"name {number}"].reason for number in range(100)} == {"dns"}


def test_lookup_ends_at_the_deadline(asker: Asker, silent_names: threading.Event) -> None:
    """A lookup does not prolong a request; one in progress is shared, not repeated."""
    before = lookups()
    for attempt in range(3):
        asker.ask(f"attempt {attempt}", "charger.test", SHORT_SECONDS)
        asker.until(f"attempt {attempt}")
        assert asker.found[f"attempt {attempt}"].reason == "dns"
    assert not silent_names.is_set()
    assert lookups() - before == 1


def test_hosts_share_a_lookup(speak: Speak, asker: Asker) -> None:
    """Requests to one name that wait for the same lookup are all answered."""
    speaker = speak(OK)
    port = speaker.server_address[1]
    for name in "abc":
        asker.ask(name, f"localhost:{port}")
    asker.until("a", "b", "c")
    assert [asker.found[name].body for name in "abc"] == [b"{}"] * 3


# Errors and the end


def test_bug_ends_only_its_exchange(
    speak: Speak, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is raised inside the exchange, which cleans up, and is reported."""
    cleaned: list[str] = []
    real: Callable[..., HttpAnswer | None] = AnswerReader.feed

    def broken(reader: AnswerReader, data: bytes) -> HttpAnswer | None:
        if b"broken" in data:
            raise ZeroDivisionError
        return real(reader, data)

    def exchange(host: str) -> Exchange[HttpAnswer]:
        try:
            return (yield Request(transport(host), "/", time.monotonic() + PATIENCE_SECONDS))
        finally:
            cleaned.append(host)

    monkeypatch.setattr(AnswerReader, "feed", broken)
    bad, good = speak(b"broken"), speak(OK)
    asker.run("bad", exchange(bad.address))
    asker.ask("good", good.address)
    asker.until("bad", "good")
    assert isinstance(asker.found["bad"], ZeroDivisionError)
    assert cleaned == [bad.address]
    assert asker.found["good"].body == b"{}"


def test_bug_in_the_steps_is_reported(speak: Speak, asker: Asker) -> None:
    """An exception of the steps themselves is reported, before a request and after."""

    def exchange(requests: int) -> Exchange[None]:
        for _ in range(requests):
            yield Request(transport(speak(OK).address), "/", time.monotonic() + PATIENCE_SECONDS)
        raise ZeroDivisionError

    asker.run("at once", exchange(0))
    asker.run("later", exchange(1))
    asker.until("at once", "later")
    assert {type(error) for error in asker.found.values()} == {ZeroDivisionError}


def test_other_threads_end_the_wait() -> None:
    """`wake` ends a turn, and `call` calls a function in the thread of the loop."""
    loop, threads = Loop(), list[threading.Thread]()
    turns = []

    def run() -> None:
        for _ in range(2):
            loop.turn(math.inf)
            turns.append(len(threads))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    loop.wake()
    wait_for(lambda: len(turns) == 1, "the end of a turn")
    loop.call(lambda: threads.append(threading.current_thread()))
    thread.join(PATIENCE_SECONDS)
    assert (threads, turns) == ([thread], [0, 1])
    loop.close()
    loop.wake()


def test_https_and_proxies_are_not_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only plain HTTP to the host itself is direct."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "192.0.2.2")
    assert transport("192.0.2.1").direct
    assert not transport("https://192.0.2.1").direct
    assert not transport("HTTPS://192.0.2.1").direct
    assert not transport("192.0.2.1", environment_proxies=True).direct
    assert transport("192.0.2.2", environment_proxies=True).direct
    assert Transport("[::1]:81", deadline_seconds=1).place == ("::1", 81)
