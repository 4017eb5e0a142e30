"""From the queue to the server: in order, with endless retries, and never blocked by a bad line."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fake_influx import FakeInflux, Received, Reply, http_date
from log_records import recorded
from servers import PATIENCE_SECONDS, free_port, wait_for

from goe_exporter.influx import sender as delivery
from goe_exporter.influx.dead_letters import DeadLetters, letters
from goe_exporter.influx.parked import ParkedLines
from goe_exporter.influx.sender import Sender
from goe_exporter.influx.write_api import (
    Access,
    ServerV1,
    ServerV2,
    WriteResult,
    WriteServer,
    result,
)
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import Batch

WRITTEN = WriteResult("written")
REFUSED = WriteResult("retry", "refused", "the InfluxDB server refuses", answered=False)
REJECTED = WriteResult("rejected", "rejected", "HTTP 400: field type conflict")
TOO_LARGE = WriteResult("too_large", "too_large", "HTTP 413: too large")
BROKEN = WriteResult("retry", "server_error", "HTTP 500: panic")

ACCESS = Access(PATIENCE_SECONDS)

Rule = Callable[[Sequence[bytes]], WriteResult]


def line(number: int) -> bytes:
    return b"goe_charger,charger=garage power_w=%d.0 %d" % (number, 1_780_000_000_000 + number)


def lines(first: int, last: int) -> list[bytes]:
    return [line(number) for number in range(first, last)]


class Scripted:
    """A server that returns the given results; keeps requests, and the lines it accepted."""

    def __init__(self, rule: Rule = lambda _lines: WRITTEN) -> None:
        self.rule = rule
        self.requests: list[list[bytes]] = []
        self.taken: list[bytes] = []

    def play(self, *results: WriteResult) -> None:
        """Return these results, the last of them from then on."""
        left = list(results)
        self.rule = lambda _lines: left.pop(0) if len(left) > 1 else left[0]

    def write(self, lines: Sequence[bytes]) -> WriteResult:
        self.requests.append(list(lines))
        found = self.rule(lines)
        if found.outcome == "written":
            self.taken += lines
        return found


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 64 * 1024 * 1024)
    yield opened
    opened.close()


@pytest.fixture
def dead(spool: Spool) -> Iterator[DeadLetters]:
    opened = DeadLetters(spool.directory / "dead", 4 * 1024 * 1024)
    yield opened
    opened.close()


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def parked(spool: Spool, clock: Clock) -> Iterator[ParkedLines]:
    opened = ParkedLines(spool.directory / "parked", 4 * 1024 * 1024, clock)
    yield opened
    opened.close()


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
def sender(
    spool: Spool, server: Scripted, dead: DeadLetters, parked: ParkedLines, clock: Clock
) -> Sender:
    return Sender(spool, server, dead, parked, jitter=lambda: 1.0, clock=clock)


@pytest.fixture
def events() -> Iterator[list[logging.LogRecord]]:
    """Yield what the sender logs from now on."""
    with recorded("goe_exporter.influx.sender") as kept:
        yield kept


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    with FakeInflux() as running:
        yield running


def fill(spool: Spool, first: int, last: int) -> None:
    """Put lines into a spool, a thousand times faster than with a sync for each."""
    for text in lines(first, last):
        with spool._write:
            spool._put(b"%08x %b\n" % (zlib.crc32(text), text))


def deliver(sender: Sender, most: int = 1000) -> None:
    """Deliver until nothing waits; a wait is a failure."""
    for _ in range(most):
        wait = sender.deliver_once()
        if wait is None:
            return
        assert wait == 0, sender.failing
    pytest.fail("it does not end")


def decide(sender: Sender, clock: Clock) -> None:
    """Deliver until nothing waits, and two minutes later the parked lines."""
    deliver(sender)
    clock.now += 120
    deliver(sender)


def attempt(sender: Sender, clock: Clock, most: int) -> int:
    """Try to deliver every two minutes until nothing waits; return the attempts."""
    for number in range(most):
        if sender.deliver_once() is None and not len(sender._parked):
            return number
        clock.now += 120
    return most


def in_order(taken: Sequence[bytes]) -> list[bytes]:
    """Return lines in the order of their last delivery."""
    return sorted(set(taken), key=taken[::-1].index, reverse=True)


def words(dead: DeadLetters) -> list[tuple[object, object]]:
    return [(letter.line, letter.message) for letter in letters(dead.spool.directory)]


def refused(dead: DeadLetters) -> list[bytes]:
    return [letter.line.encode() for letter in letters(dead.spool.directory)]


def on_disk(parked: ParkedLines) -> list[bytes]:
    """Return the parked lines as the next process finds them."""
    return [letter.line.encode() for letter in letters(parked.spool.directory)]


# Order


def test_oldest_first(
    spool: Spool, server: Scripted, dead: DeadLetters, parked: ParkedLines
) -> None:
    """Lines are sent in order, with a maximum per request, and committed."""
    fill(spool, 0, 1234)
    sender = Sender(spool, server, dead, parked, max_batch_lines=100)
    deliver(sender)
    assert server.taken == lines(0, 1234)
    assert [len(request) for request in server.requests] == [100] * 12 + [34]
    assert (spool.pending, sender.written, sender.rejected, sender.failing) == (0, 1234, 0, "")


def test_five_thousand_lines_a_request(spool: Spool, server: Scripted, sender: Sender) -> None:
    """A request holds at most 5,000 lines."""
    fill(spool, 0, 5001)
    deliver(sender)
    assert [len(request) for request in server.requests] == [5000, 1]


def test_nothing_to_deliver(server: Scripted, sender: Sender) -> None:
    """With an empty queue no request is sent."""
    assert sender.deliver_once() is None
    assert server.requests == []
    assert sender.oldest is None


def test_oldest_is_the_time_at_the_head(spool: Spool, server: Scripted, sender: Sender) -> None:
    """`oldest` is the Unix time of the oldest waiting line, None without one."""
    fill(spool, 7, 9)
    server.play(REFUSED, WRITTEN)
    sender.deliver_once()
    assert sender.oldest == 1_780_000_000.007
    deliver(sender)
    assert sender.oldest is None


def test_lines_of_the_last_run(tmp_path: Path, server: Scripted) -> None:
    """Undelivered lines of one run are delivered by the next."""
    for round_ in range(3):
        spool = Spool(tmp_path / "spool", 1024 * 1024)
        spool.append(line(round_))
        if round_ == 2:
            dead = DeadLetters(tmp_path / "dead", 1024 * 1024)
            apart = ParkedLines(tmp_path / "parked", 1024 * 1024)
            deliver(Sender(spool, server, dead, apart))
            apart.close()
            dead.close()
        spool.close()
    assert server.taken == lines(0, 3)


def test_server_that_loses_what_it_acknowledged(
    spool: Spool, server: Scripted, sender: Sender
) -> None:
    """Acknowledged lines are not kept, and not sent again if the server loses them."""
    fill(spool, 0, 5)
    deliver(sender)
    server.taken.clear()
    fill(spool, 5, 6)
    deliver(sender)
    assert server.taken == lines(5, 6)
    assert (spool.pending, sender.written) == (0, 6)


# Outages


@pytest.mark.parametrize(
    "found",
    [
        REFUSED,
        *(result(status, {}, "no") for status in (401, 403, 404, 429, 500, 502, 503, 504, 301)),
        result(200, {}, "<html>"),
        *(WriteResult("retry", reason, answered=False) for reason in ("dns", "tls", "timeout")),
        WriteResult("retry", "truncated", answered=False),
        WriteResult("retry", "too_large", answered=False),
    ],
    ids=lambda found: f"{found.reason}-{found.message[5:8]}",
)
def test_outage_loses_nothing(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, found: WriteResult
) -> None:
    """An outage of any length loses no line, and afterwards all are delivered in order."""
    fill(spool, 0, 30)
    server.play(found)
    for number in range(40):
        assert sender.deliver_once()
        spool.append(line(30 + number))
    assert sender.failures == {found.reason: 40}
    assert sender.failing == found.reason
    assert (spool.pending, sender.written) == (70, 0)
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken == lines(0, 70)
    assert refused(dead) == []
    assert sender.failing == ""


def test_back_off_doubles_to_a_minute(spool: Spool, server: Scripted, sender: Sender) -> None:
    """Waits double from 1 s to 60 s, and start again after a success."""
    fill(spool, 0, 3)
    server.play(REFUSED)
    waits = [sender.deliver_once() for _ in range(9)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    for _ in range(5000):
        sender.deliver_once()
    server.play(WRITTEN)
    deliver(sender)
    spool.append(line(4))
    server.play(REFUSED)
    assert sender.deliver_once() == 1.0


def test_another_server_is_tried_at_once(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux
) -> None:
    """A change of the settings ends a wait, and waiting lines go to the new server."""
    fill(spool, 0, 100)
    refusing = Scripted()
    refusing.play(WriteResult("retry", "unauthorized", retry_after_seconds=600.0))
    sender = Sender(spool, refusing, dead, parked)
    sender.start()
    wait_for(lambda: sender.failing == "unauthorized", "a refusal")
    sender.change(ServerV1(fake.url, "goe", "", "", Access()), 10, 5.0)
    wait_for(lambda: len(fake.taken) == 100, "all lines at the new server")
    assert fake.taken == lines(0, 100)
    assert {len(each.lines) for each in fake.received} == {10}
    assert not sender.is_stalled()
    sender.stop(PATIENCE_SECONDS)


def test_a_thread_that_ended_of_itself(
    spool: Spool,
    server: Scripted,
    dead: DeadLetters,
    parked: ParkedLines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Delivery is stalled once its thread has ended, not before the start or after a stop."""
    sender = Sender(spool, server, dead, parked)
    assert not sender.is_stalled()
    monkeypatch.setattr(sender, "_run", lambda: None)
    sender._thread = threading.Thread(target=sender._run)
    sender.start()
    wait_for(sender.is_stalled, "a thread that is gone")
    sender.stop(1)
    assert not sender.is_stalled()


def test_jitter(spool: Spool, server: Scripted, dead: DeadLetters, parked: ParkedLines) -> None:
    """Jitter shortens each wait by up to half, so that many senders do not retry at once."""
    fill(spool, 0, 3)
    server.play(REFUSED)
    least = Sender(spool, server, dead, parked, jitter=lambda: 0.0)
    assert [least.deliver_once() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    firsts = {Sender(spool, server, dead, parked).deliver_once() for _ in range(20)}
    assert len(firsts) > 10
    assert all(0.5 <= (wait or 0) <= 1.0 for wait in firsts)


@pytest.mark.parametrize(
    ("asked", "waited"), [(0.0, 1.0), (0.5, 1.0), (17.0, 17.0), (900.0, 900.0), (1e9, 900.0)]
)
def test_retry_after(
    spool: Spool, server: Scripted, sender: Sender, asked: float, waited: float
) -> None:
    """`Retry-After` is respected up to 15 minutes, but never below the back-off."""
    fill(spool, 0, 3)
    server.play(WriteResult("retry", "too_many_requests", "HTTP 429: ", asked))
    assert sender.deliver_once() == waited


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 120, 120),
        (http_date(3000), 900, 900),
        ("7200", 900, 900),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1, 1),
        ("soon", 1, 1),
    ],
    ids=["seconds", "date_far", "seconds_far", "date_past", "nonsense"],
)
def test_retry_after_over_http(
    spool: Spool,
    dead: DeadLetters,
    parked: ParkedLines,
    fake: FakeInflux,
    header: str,
    low: float,
    high: float,
) -> None:
    """`Retry-After` as seconds and as a date determines the wait."""
    fill(spool, 0, 3)
    fake.play(Reply(429, b"slow down", (("Retry-After", header),)))
    sender = Sender(spool, v2(fake.url), dead, parked, jitter=lambda: 1.0)
    wait = sender.deliver_once()
    assert wait is not None
    assert low <= wait <= high


def test_retry_after_as_a_near_date(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux
) -> None:
    """A date 100 s ahead of the server's clock, even a wrong one, means 100 s."""
    fill(spool, 0, 3)
    date = ("Retry-After", "Thu, 28 May 2026 20:28:20 GMT")
    fake.play(Reply(503, b"", (date,), date=1_780_000_000.0))
    assert Sender(spool, v2(fake.url), dead, parked).deliver_once() == 100.0


def test_one_line_when_it_begins_and_one_when_it_ends(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord], clock: Clock
) -> None:
    """An outage is logged at its beginning and end."""
    fill(spool, 0, 3)
    server.play(*[REFUSED] * 5, WRITTEN)
    for _ in range(7):
        sender.deliver_once()
        clock.now += 12
    assert [event.getMessage() for event in events] == ["delivery failed", "delivery recovered"]
    first, last = (vars(event)["values"] for event in events)
    assert first["reason"] == "refused"
    assert last == {"times": 5}
    assert [event.levelname for event in events] == ["WARNING", "INFO"]


def test_reason_changes(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord], clock: Clock
) -> None:
    """Another reason during an outage is logged, at most once a minute."""
    fill(spool, 0, 3)
    server.play(REFUSED, *[result(401, {}, "")] * 9, result(404, {}, ""), WRITTEN)
    for _ in range(14):
        sender.deliver_once()
        clock.now += 20
    sender.stop(0)
    first, second, third, last = (vars(event)["values"] for event in events)
    assert [event.getMessage() for event in events] == [
        *["delivery failed"] * 3,
        "delivery recovered",
    ]
    assert (first["reason"], first.get("times")) == ("refused", None)
    assert (second["reason"], second["times"]) == ("unauthorized", 4)
    assert second["reasons"] == "unauthorized 3, refused 1"
    assert (third["reason"], third["times"]) == ("not_found", 7)
    assert third["reasons"] == "unauthorized 6, not_found 1"
    assert last == {}


def test_server_that_fails_in_turns(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord], clock: Clock
) -> None:
    """Of a server that refuses every second request, a line a minute is logged, with counts."""
    turns = itertools.cycle([REFUSED, WRITTEN])
    server.rule = lambda _sent: next(turns)
    for number in range(300):
        fill(spool, number, number + 1)
        assert sender.deliver_once() == (0.0 if number % 2 else 1.0)
        clock.now += 1
    assert [event.getMessage() for event in events] == ["delivery failed"] * 5
    assert [vars(event)["values"].get("times") for event in events] == [None, 31, 30, 30, 30]
    assert vars(events[1])["values"]["recoveries"] == 30
    sender.stop(0)
    assert events[-1].getMessage() == "delivery recovered"
    assert vars(events[-1])["values"] == {"times": 29, "recoveries": 30}


def test_recovery_is_logged_without_new_lines(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord], clock: Clock
) -> None:
    """The thread wakes up when the minute is over to log a recovery, even if nothing waits."""
    fill(spool, 0, 3)
    server.play(REFUSED, WRITTEN)
    assert sender.deliver_once() == 1.0
    clock.now += 5
    deliver(sender)
    assert len(events) == 1
    assert sender._idle_seconds() == 55.0
    clock.now += 55
    assert sender._idle_seconds() is None
    assert [event.getMessage() for event in events] == ["delivery failed", "delivery recovered"]


def test_success_is_not_logged(
    spool: Spool, sender: Sender, events: list[logging.LogRecord]
) -> None:
    """A successful delivery is not logged."""
    fill(spool, 0, 300)
    deliver(sender)
    assert events == []


def test_same_bytes_on_a_retry(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux
) -> None:
    """A retry sends the same bytes again; lines that arrived meanwhile follow later."""
    fill(spool, 0, 500)
    unread = Reply(200, b"x" * 100, manner="cut")
    fake.play(Reply(503), Reply(manner="nothing"), Reply(500, b"{}"), unread, Reply())
    sender = Sender(spool, v2(fake.url), dead, parked, max_batch_lines=400)
    for number in range(4):
        assert sender.deliver_once()
        spool.append(line(500 + number))
    deliver(sender)
    bodies = [request.body for request in fake.received]
    assert len(set(bodies[:5])) == 1
    assert fake.taken == lines(0, 504)


# Lines that the server rejects


def test_one_bad_line_among_five_thousand(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux, clock: Clock
) -> None:
    """The 4,999 good ones are delivered in order, the bad one is kept with the server's message."""
    fill(spool, 0, 5000)
    bad = line(3210)
    message = b'{"code":"invalid","message":"field type conflict on power_w"}'
    fake.rule = lambda request: Reply(400, message) if bad in request.lines else Reply()
    sender = Sender(spool, v2(fake.url), dead, parked)
    deliver(sender)
    # 1 for all, 1 to see that it accepts another, then 2 for each of the 13 halvings at most,
    # and 2 more for the bad one if the request before it failed.
    assert len(fake.received) <= 30
    assert in_order(fake.taken) == [text for text in lines(0, 5000) if text != bad]
    assert (sender.written, sender.rejected, spool.pending, len(parked)) == (4999, 0, 0, 1)
    clock.now += 120
    deliver(sender)
    assert words(dead) == [(bad.decode(), f"HTTP 400: {message.decode()}")]
    assert (sender.written, sender.rejected, spool.pending, len(parked)) == (4999, 1, 0, 0)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("bad", [{0}, {63}, {31, 32}, {0, 63}, {5, 6, 7, 40}, set(range(64))])
def test_bad_lines(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    status: int,
    bad: set[int],
    clock: Clock,
) -> None:
    """Any number of bad lines, at any place, are rejected; the others are delivered in order."""
    fill(spool, 0, 64)
    wrong = {line(number) for number in bad}
    found = result(status, {}, "no")
    server.rule = lambda sent: found if wrong & set(sent) else WRITTEN
    fill(spool, 64, 66)
    decide(sender, clock)
    assert in_order(server.taken) == [text for text in lines(0, 66) if text not in wrong]
    assert refused(dead) == [line(number) for number in sorted(bad)]
    assert sender.failing == ""
    assert sender.failures == {}


def test_rejection_is_logged(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord], clock: Clock
) -> None:
    """The beginning of rejections is logged with the server's message, and so is their end."""
    server.rule = lambda sent: REJECTED if set(sent) & set(lines(0, 50)) else WRITTEN
    for first in range(0, 50, 10):
        fill(spool, first, first + 10)
        fill(spool, 100 + first, 102 + first)
        decide(sender, clock)
        clock.now += 60
    begun = [event.getMessage() for event in events]
    assert begun == ["lines parked", "lines rejected", "no more lines parked"] + [
        "lines parked", "no more lines parked"
    ] * 4  # fmt: skip
    assert vars(events[0])["values"] == {"message": "HTTP 400: field type conflict"}
    assert vars(events[1])["values"] == {"message": "HTTP 400: field type conflict"}
    assert vars(events[2])["values"] == {"times": 10}
    events.clear()
    sender._rejected_at -= delivery.QUIET_SECONDS
    fill(spool, 300, 301)
    deliver(sender)
    assert [event.getMessage() for event in events] == ["no more lines rejected"]
    assert vars(events[0])["values"] == {"times": 50}


def test_progress_is_kept(spool: Spool, server: Scripted, sender: Sender, clock: Clock) -> None:
    """Lines accepted before the server failed during the bisection are committed."""
    fill(spool, 0, 16)
    bad = line(12)
    taken = iter([REJECTED, WRITTEN, WRITTEN, REJECTED, REFUSED])
    server.rule = lambda _sent: next(taken)
    assert sender.deliver_once()
    assert spool.pending == 8
    server.rule = lambda sent: REJECTED if bad in sent else WRITTEN
    decide(sender, clock)
    assert in_order(server.taken) == [text for text in lines(0, 16) if text != bad]


@pytest.mark.parametrize("most", [1, 10, 63])
def test_too_large_is_halved(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, most: int
) -> None:
    """413 halves the batch until it fits; no line that fits alone is rejected."""
    fill(spool, 0, 200)
    server.rule = lambda sent: TOO_LARGE if len(sent) > most else WRITTEN
    deliver(sender)
    assert server.taken == lines(0, 200)
    assert refused(dead) == []


def test_single_line_that_is_too_large(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux, clock: Clock
) -> None:
    """A line that is too large alone is rejected; its neighbours are delivered."""
    huge = b'm x="%b" 1' % (b"x" * 20_000)
    spool.append(line(0))
    spool.append(huge)
    spool.append(line(1))
    fake.rule = lambda request: Reply(413 if len(request.body) > 10_000 else 204, b"")
    decide(Sender(spool, v2(fake.url), dead, parked), clock)
    assert in_order(fake.taken) == lines(0, 2)
    assert words(dead) == [(huge.decode(), "HTTP 413: ")]


# A batch that breaks the server


def poisoned(bad: set[bytes]) -> Rule:
    return lambda sent: BROKEN if bad & set(sent) else WRITTEN


@pytest.mark.parametrize("bad", [{0}, {99}, {50}, {0, 99}, {0, 24, 49, 99}, {3, 4, 5}])
def test_poison(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, bad: set[int], clock: Clock
) -> None:
    """Lines that always get a 5xx while others are accepted are rejected; the rest is delivered."""
    fill(spool, 0, 100)
    poison = {line(number) for number in bad}
    server.rule = poisoned(poison)
    assert attempt(sender, clock, 60) <= 13
    assert set(refused(dead)) == poison
    assert set(server.taken) == set(lines(0, 100)) - poison
    fill(spool, 100, 120)
    deliver(sender)
    assert server.taken[-20:] == lines(100, 120)
    assert sender.failing == ""


def test_nine_server_errors_are_not_ten(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters
) -> None:
    """Up to nine times a 5xx only repeats the whole batch."""
    fill(spool, 0, 100)
    server.rule = poisoned({line(50)})
    for _ in range(9):
        assert sender.deliver_once()
    assert server.requests == [lines(0, 100)] * 9
    assert refused(dead) == []


def test_server_that_is_down_is_not_a_poison(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters
) -> None:
    """A server that answers 5xx to every line loses none, however long it does."""
    fill(spool, 0, 100)
    server.play(BROKEN)
    assert all(sender.deliver_once() for _ in range(100))
    assert refused(dead) == []
    assert spool.pending == 100
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken == lines(0, 100)


def test_single_line_is_never_a_poison_alone(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, clock: Clock
) -> None:
    """A single waiting line that gets a 5xx is kept: the server may be down."""
    fill(spool, 0, 1)
    server.play(BROKEN)
    assert all(sender.deliver_once() for _ in range(50))
    assert (spool.pending, refused(dead)) == (1, [])
    server.rule = poisoned({line(0)})
    fill(spool, 1, 3)
    attempt(sender, clock, 15)
    assert set(server.taken) == set(lines(1, 3))
    assert len(refused(dead)) == 1


@pytest.mark.parametrize("outage", [BROKEN, REFUSED], ids=["server_error", "refused"])
@pytest.mark.parametrize("after", range(1, 14))
def test_server_that_goes_down_while_a_poison_is_sought(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    after: int,
    outage: WriteResult,
    clock: Clock,
) -> None:
    """A server that fails after a bad line was found costs no other line."""
    fill(spool, 0, 64)
    poison = line(20)
    server.rule = poisoned({poison})
    for _ in range(9):
        sender.deliver_once()
    alive = len(server.requests) + after
    healthy = poisoned({poison})
    server.rule = lambda sent: healthy(sent) if len(server.requests) <= alive else outage
    attempt(sender, clock, 30)
    assert set(refused(dead)) <= {poison}
    server.rule = lambda _sent: REFUSED if len(server.requests) % 5 == 0 else BROKEN
    attempt(sender, clock, 30)
    server.rule = healthy
    attempt(sender, clock, 30)
    assert spool.pending == 0
    assert set(refused(dead)) == {poison}
    assert set(server.taken) == set(lines(0, 64)) - {poison}


# Answers that are not the lines' fault


@pytest.mark.parametrize(
    ("found", "reason"),
    [(REJECTED, "rejected_all"), (result(422, {}, ""), "rejected_all"), (TOO_LARGE, "too_large")],
    ids=["400", "422", "413"],
)
@pytest.mark.parametrize("took_before", [False, True], ids=["never", "before"])
@pytest.mark.parametrize("count", [1, 2, 64])
def test_server_that_refuses_everything(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    parked: ParkedLines,
    events: list[logging.LogRecord],
    found: WriteResult,
    reason: str,
    took_before: bool,
    count: int,
) -> None:
    """A server that answers 400 to everything (wrong path, http to a TLS port) loses no line."""
    if took_before:
        fill(spool, 1000, 1010)
        deliver(sender)
    server.play(found)
    fill(spool, 0, count)
    for number in range(30):
        assert sender.deliver_once()
        spool.append(line(count + number))
    assert sender.failing == reason
    assert sender.failures == {reason: 30}
    assert (refused(dead), sender.rejected, spool.pending) == ([], 0, count + 30)
    assert len(parked) == 0
    # One try, halvings of what is too large, and few lines to see whether any passes.
    assert len(server.requests) < 30 * 25
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken[-count - 30 :] == lines(0, count + 30)
    sender.stop(0)
    assert [event.getMessage() for event in events] == ["delivery failed", "delivery recovered"]


def test_first_line_of_all_is_bad(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, clock: Clock
) -> None:
    """A bad line without another one waits; with the next line it is found."""
    server.rule = lambda sent: REJECTED if line(0) in sent else WRITTEN
    fill(spool, 0, 1)
    assert all(sender.deliver_once() for _ in range(5))
    assert refused(dead) == []
    fill(spool, 1, 2)
    decide(sender, clock)
    assert refused(dead) == lines(0, 1)
    assert set(server.taken) == {line(1)}


@pytest.mark.parametrize("bad", [{0}, {3}, {0, 2}, set(range(6))])
def test_bad_lines_one_by_one(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, bad: set[int], clock: Clock
) -> None:
    """Bad lines that arrive one at a time are found too, once any line was accepted."""
    server.rule = lambda sent: REJECTED if set(map(line, bad)) & set(sent) else WRITTEN
    fill(spool, 100, 101)
    decide(sender, clock)
    for number in range(6):
        fill(spool, number, number + 1)
        decide(sender, clock)
    assert refused(dead) == [line(number) for number in sorted(bad)]
    assert (
        in_order(server.taken)[-6 + len(bad) :]
        == [text for text in [line(100), *lines(0, 6)] if text not in set(map(line, bad))][
            -6 + len(bad) :
        ]
    )


def of_charger(name: str, number: int) -> bytes:
    return line(number).replace(b"garage", name.encode())


def test_charger_whose_every_line_conflicts(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, clock: Clock
) -> None:
    """If all lines of one charger conflict, only they are rejected; the others are delivered."""
    server.rule = lambda sent: REJECTED if any(b"=bad" in each for each in sent) else WRITTEN
    for number in range(400):
        spool.append(of_charger("good" if number % 40 == 39 else "bad", number))
    decide(sender, clock)
    assert in_order(server.taken) == [of_charger("good", n) for n in range(39, 400, 40)]
    assert refused(dead) == [of_charger("bad", n) for n in range(400) if n % 40 != 39]


def test_only_charger_conflicts_from_the_start(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters
) -> None:
    """If no line was ever accepted, the lines wait, as for a server that rejects everything."""
    server.play(REJECTED)
    fill(spool, 0, 300)
    assert all(sender.deliver_once() for _ in range(20))
    assert (spool.pending, refused(dead)) == (300, [])


@pytest.mark.parametrize("after", range(1, 14))
def test_server_that_begins_to_refuse_everything(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, after: int, clock: Clock
) -> None:
    """Even during the search for a bad line, only that line is rejected."""
    fill(spool, 0, 64)
    bad = line(20)
    server.rule = lambda sent: REJECTED if bad in sent or len(server.requests) > after else WRITTEN
    attempt(sender, clock, 10)
    assert set(refused(dead)) <= {bad}
    server.rule = lambda sent: REJECTED if bad in sent else WRITTEN
    decide(sender, clock)
    assert refused(dead) == [bad]
    assert set(server.taken) == set(lines(0, 64)) - {bad}


def test_backlog_that_is_too_old(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, clock: Clock
) -> None:
    """Thousands of points beyond the server's retention do not block the newest ones."""
    fill(spool, 0, 1200)
    sender._max_batch_lines = sender._batch_lines = 100
    old = set(lines(0, 1100))
    server.rule = lambda sent: REJECTED if old & set(sent) else WRITTEN
    deliver(sender)
    assert set(server.taken) == set(lines(1100, 1200))
    clock.now += 120
    deliver(sender)
    assert refused(dead) == lines(0, 1100)
    assert set(server.taken) == set(lines(1100, 1200))


# What takes too long

TIMEOUT = WriteResult("retry", "timeout", "did not answer in time", answered=False)
TRUNCATED = WriteResult("retry", "truncated", "broke off its answer", answered=False)


@pytest.mark.parametrize("fits", [1, 3, 40, 999])
def test_uplink_that_is_too_slow(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, fits: int
) -> None:
    """A batch that times out is halved until it succeeds."""
    fill(spool, 0, 1000)
    server.rule = lambda sent: TIMEOUT if len(sent) > fits else WRITTEN
    while spool.pending:
        sender.deliver_once()
    assert server.taken == lines(0, 1000)
    assert refused(dead) == []
    server.requests.clear()
    fill(spool, 1000, 25_000)
    server.play(WRITTEN)
    deliver(sender)
    assert max(map(len, server.requests)) == 5000


def test_delivery_by_hand_over_a_slow_uplink(
    spool: Spool, server: Scripted, sender: Sender
) -> None:
    """`shrinking` is True while a smaller request may succeed."""
    fill(spool, 0, 1000)
    server.rule = lambda sent: TIMEOUT if len(sent) > 60 else WRITTEN
    while (wait := sender.deliver_once()) is not None:
        assert not wait or sender.shrinking
    assert server.taken == lines(0, 1000)
    fill(spool, 1000, 1100)
    server.play(TIMEOUT)
    while sender.deliver_once() is not None and sender.shrinking:
        pass
    assert len(server.requests[-1]) == 1
    server.play(REFUSED)
    assert sender.deliver_once()
    assert not sender.shrinking


def test_one_timeout_halves_nothing(spool: Spool, server: Scripted, sender: Sender) -> None:
    """After a single failure the same lines are sent again."""
    fill(spool, 0, 100)
    server.play(TIMEOUT, WRITTEN)
    deliver_all = [sender.deliver_once() for _ in range(2)]
    assert deliver_all == [1.0, 0.0]
    assert server.requests == [lines(0, 100)] * 2


def test_requests_grow_while_they_are_quick(
    spool: Spool, server: Scripted, sender: Sender, clock: Clock
) -> None:
    """Batches double up to the maximum, unless a request takes half of its time limit."""
    fill(spool, 0, 4000)

    def slow(sent: Sequence[bytes]) -> WriteResult:
        clock.now += len(sent) / 10
        return TIMEOUT if len(sent) > 100 else WRITTEN

    server.rule = slow
    while spool.pending:
        sender.deliver_once()
    sizes = [len(request) for request in server.requests]
    assert sum(size > 100 for size in sizes) < 10
    assert server.taken == lines(0, 4000)
    server.rule = lambda _sent: WRITTEN
    fill(spool, 4000, 24_000)
    deliver(sender)
    assert max(len(request) for request in server.requests) == 5000


@pytest.mark.parametrize("found", [TRUNCATED, TIMEOUT], ids=["truncated", "timeout"])
@pytest.mark.parametrize("bad", [{0}, {20}, {39}, {4, 5}])
def test_line_on_which_the_server_breaks_off(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    found: WriteResult,
    bad: set[int],
    clock: Clock,
) -> None:
    """A line on which the server closes the connection is rejected; the rest is delivered."""
    poison = {line(number) for number in bad}
    server.rule = lambda sent: found if poison & set(sent) else WRITTEN
    fill(spool, 0, 40)
    attempt(sender, clock, 80)
    assert set(refused(dead)) == poison
    assert set(server.taken) == set(lines(0, 40)) - poison


@pytest.mark.parametrize("found", [TRUNCATED, TIMEOUT], ids=["truncated", "timeout"])
def test_server_that_hangs_for_hours(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, found: WriteResult
) -> None:
    """A server that closes every connection, however long, costs no line."""
    fill(spool, 0, 40)
    deliver(sender)
    fill(spool, 40, 100)
    server.play(found)
    assert all(sender.deliver_once() for _ in range(200))
    assert (spool.pending, refused(dead)) == (60, [])
    assert len(server.requests) < 500
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken == lines(0, 100)


# Dead letters


def test_dead_letters_are_bounded(tmp_path: Path) -> None:
    """The newest letters are kept, limited in bytes; dropped ones are counted."""
    dead = DeadLetters(tmp_path / "dead", 64 * 1024)
    for number in range(2000):
        dead.put(line(number), f"no {number}")
    size = sum(path.stat().st_size for path in (tmp_path / "dead").iterdir())
    assert 48 * 1024 < size <= 64 * 1024 + 100
    kept = [letter.message for letter in letters(tmp_path / "dead")]
    assert kept == [f"no {number}" for number in range(dead.spool.dropped, 2000)]
    assert 200 < len(kept) < 1000
    dead.close()


def test_newest_letter_in_1970(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter written while the clock is wrong still counts as the newest."""
    dead = DeadLetters(tmp_path / "dead", 8 * 1024)
    for number in range(100):
        dead.put(line(number), "no")
    monkeypatch.setattr(time, "time", lambda: 60.0)
    dead.put(line(100), "no")
    assert refused(dead)[-1] == line(100)
    dead.close()


def test_dead_letters_hold_anything(dead: DeadLetters) -> None:
    """Line and message may hold any text; the time is that of the rejection."""
    before = time.time()
    dead.put('m x="ä\n🚗" 1'.encode(), 'say "no"\n\x1b[31m')
    dead.put(b"\xff\xfe", "")
    first, second = letters(dead.spool.directory)
    assert first.line == 'm x="ä\n🚗" 1'
    assert first.message == 'say "no"\n\x1b[31m'
    assert before <= first.time <= time.time()
    assert second.line == "\N{REPLACEMENT CHARACTER}" * 2


def test_no_dead_letters(tmp_path: Path, spool: Spool, dead: DeadLetters) -> None:
    """Without the directory there are no letters."""
    assert list(letters(tmp_path / "none")) == []
    assert dead.requeue(spool) == (0, 0, 0)


def test_damaged_letters_are_passed_over(spool: Spool, dead: DeadLetters) -> None:
    """Damaged letters affect neither the list nor requeueing."""
    for text in (b"", b"{", b"[]", b'{"words": "x"}', b"\xff", b"7"):
        dead.spool.append(text)
    dead.put(line(0), "no")
    assert words(dead) == [(line(0).decode(), "no")]
    assert dead.requeue(spool) == (1, 6, 0)
    assert spool.read(10).lines == lines(0, 1)


def test_requeue(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, clock: Clock
) -> None:
    """Requeued letters are delivered as lines, in order, and no letter is left."""
    fill(spool, 0, 8)
    server.rule = lambda sent: REJECTED if set(sent) & set(lines(2, 5)) else WRITTEN
    decide(sender, clock)
    assert len(refused(dead)) == 3
    assert dead.requeue(spool) == (3, 0, 0)
    assert refused(dead) == []
    server.play(WRITTEN)
    decide(sender, clock)
    assert server.taken[-3:] == lines(2, 5)


@pytest.mark.parametrize("room", [0, 1, 700, 1900])
def test_requeue_into_a_full_spool(tmp_path: Path, dead: DeadLetters, room: int) -> None:
    """Requeueing drops no waiting line: letters without room stay."""
    used = [0]
    queue = Spool(tmp_path / "queue", 256 * 1024, lambda: used[0])
    fill(queue, 10_000, 12_000)
    for number in range(1200):
        dead.put(line(number), "no")
    size = len(b"%08x %b\n" % (0, line(0)))
    fits = min(room, 1200)
    free = sum(10 + len(line(n)) for n in range(fits)) + size // 2
    used[0] = queue.limit_bytes - queue.size_bytes - free
    assert dead.requeue(queue) == (fits, 0, 1200 - fits)
    assert queue.dropped == 0
    assert queue.read(9000).lines == lines(10_000, 12_000) + lines(0, fits)
    assert refused(dead) == lines(fits, 1200)
    queue.close()


def test_requeue_of_a_line_without_a_time(spool: Spool, dead: DeadLetters) -> None:
    """It stays a letter, because the server would give it the current time."""
    dead.put(line(0), "no")
    dead.put(b"goe_charger,charger=a power_w=1.0", "measured before a restart")
    dead.put(b'goe_charger,charger=a x="5 7"', "measured before a restart")
    dead.put(line(1), "no")
    assert dead.requeue(spool) == (2, 2, 0)
    assert spool.read(10).lines == lines(0, 2)
    assert [text for text, _ in words(dead)] == [
        "goe_charger,charger=a power_w=1.0", 'goe_charger,charger=a x="5 7"'
    ]  # fmt: skip
    assert dead.requeue(spool) == (0, 2, 0)


def test_requeue_keeps_the_limit(tmp_path: Path, spool: Spool) -> None:
    """Any number of letters that stay do not raise the limit for later ones."""
    dead = DeadLetters(tmp_path / "dead", 64 * 1024)
    while not dead.spool.dropped:
        dead.extend([(b"goe_charger power_w=1.0", "no")] * 50)
    staying = dead.spool.pending
    for _ in range(3):
        assert dead.requeue(spool) == (0, staying, 0)
    assert dead.spool.pending == staying
    dead.extend([(b"goe_charger power_w=2.0", "no")] * 2000)
    assert dead.spool.size_bytes <= 64 * 1024
    dead.close()


def test_requeue_on_a_full_disk(
    spool: Spool, dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No letter is lost if neither the queue nor the remaining letters can be written."""
    dead.put(b"goe_charger power_w=1.0", "no")
    dead.put(line(0), "no")

    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert dead.requeue(spool) == (0, 0, 2)
    assert refused(dead) == [b"goe_charger power_w=1.0", line(0)]
    assert dead.requeue(spool) == (1, 1, 0)


def test_full_disk_and_a_refused_line(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    """If a letter cannot be written, the line is counted, and delivery continues."""
    fill(spool, 0, 8)
    server.rule = lambda sent: REJECTED if line(3) in sent else WRITTEN

    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        decide(sender, clock)
    assert (sender.rejected, dead.spool.dropped, spool.pending) == (1, 1, 0)
    assert set(server.taken) == set(lines(0, 8)) - {line(3)}
    dead.put(line(9), "no")
    assert refused(dead) == [line(9)]


# The thread


@pytest.fixture
def started(sender: Sender) -> Iterator[Sender]:
    sender.start()
    yield sender
    sender.stop(PATIENCE_SECONDS)
    assert not sender._thread.is_alive()


def test_wake(spool: Spool, server: Scripted, started: Sender) -> None:
    """A line that arrives while the sender is idle is delivered after `wake`."""
    for number in range(20):
        spool.append(line(number))
        started.wake()
        wait_for(lambda: server.taken == lines(0, number + 1), "the lines")  # noqa: B023


def test_wakes_are_not_lost(spool: Spool, server: Scripted, started: Sender) -> None:
    """Of many lines and wakes at once the last line is delivered too, without another wake."""
    for number in range(300):
        spool.append(line(number))
        started.wake()
    wait_for(lambda: server.taken == lines(0, 300), "the lines")


def test_what_waits_at_the_start(spool: Spool, server: Scripted, sender: Sender) -> None:
    """Lines that wait at the start are delivered without a wake."""
    fill(spool, 0, 5)
    sender.start()
    wait_for(lambda: server.taken == lines(0, 5), "the lines")
    sender.stop(PATIENCE_SECONDS)


def test_stop_when_idle(sender: Sender) -> None:
    """An idle sender stops at once."""
    sender.start()
    sender.stop(PATIENCE_SECONDS)
    assert not sender._thread.is_alive()


def test_stop_in_a_back_off(spool: Spool, server: Scripted, sender: Sender) -> None:
    """A sender in a back-off stops at once; everything stays on disk."""
    fill(spool, 0, 5)
    server.play(WriteResult("retry", "too_many_requests", "", 600.0))
    sender.start()
    wait_for(lambda: bool(server.requests), "a request")
    sender.stop(PATIENCE_SECONDS)
    assert not sender._thread.is_alive()
    assert spool.pending == 5


def test_stop_in_a_request(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux
) -> None:
    """A sender whose server hangs is abandoned after the grace period; everything stays on disk."""
    fill(spool, 0, 5)
    fake.play(Reply(manner="hang"))
    sender = Sender(spool, v2(fake.url, Access(2.0)), dead, parked)
    sender.start()
    wait_for(lambda: bool(fake.received), "a request")
    sender.stop(0.1)
    assert sender._thread.is_alive()
    assert spool.pending == 5
    sender._thread.join(PATIENCE_SECONDS)
    assert not sender._thread.is_alive()


def test_stop_in_the_search_for_bad_lines(
    spool: Spool, server: Scripted, sender: Sender, parked: ParkedLines
) -> None:
    """A stop ends a search of thousands of requests after the current one."""
    fill(spool, 0, 3000)
    fill(spool, 5000, 5001)
    server.rule = lambda sent: WRITTEN if sent == [line(5000)] else REJECTED
    sender.start()
    wait_for(lambda: len(parked) > 5, "parked lines")
    sender.stop(PATIENCE_SECONDS)
    assert not sender._thread.is_alive()
    asked, left = len(server.requests), spool.pending
    assert left > 0
    parked.close()
    assert on_disk(parked) == lines(0, 3001 - left)
    assert len(server.requests) == asked


@pytest.mark.parametrize("after", [3, 10, 20])
def test_stop_in_the_trial_of_a_parked_line(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    parked: ParkedLines,
    clock: Clock,
    after: int,
) -> None:
    """A stop during a trial decides nothing: the line stays parked."""
    fill(spool, 0, 8)
    server.rule = lambda sent: REJECTED if line(3) in sent else WRITTEN
    deliver(sender)
    end = len(server.requests) + after

    def rule(sent: Sequence[bytes]) -> WriteResult:
        if len(server.requests) == end:
            sender.stop(0)
        return REJECTED if line(3) in sent else WRITTEN

    server.rule = rule
    clock.now += 120
    assert sender.deliver_once() is None
    assert len(server.requests) == end
    assert (refused(dead), len(parked), on_disk(parked)) == ([], 1, [line(3)])


def test_answer_after_the_end(spool: Spool, server: Scripted, sender: Sender) -> None:
    """An answer that arrives after the spool was closed changes nothing on disk."""
    fill(spool, 0, 5)
    asked, answer = threading.Event(), threading.Event()

    def late(_sent: Sequence[bytes]) -> WriteResult:
        asked.set()
        assert answer.wait(PATIENCE_SECONDS)
        return WRITTEN

    server.rule = late
    sender.start()
    assert asked.wait(PATIENCE_SECONDS)
    sender.stop(0.01)
    spool.close()
    later = Spool(spool.directory, 64 * 1024 * 1024)
    answer.set()
    sender._thread.join(PATIENCE_SECONDS)
    assert not sender._thread.is_alive()
    assert not (spool.directory / "cursor").exists()
    assert later.read(10).lines == lines(0, 5)
    later.close()


def test_stop_between_two_rounds(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop just before the sender's next round is not missed."""

    class Late(threading.Event):
        def clear(self) -> None:
            sender._stopping.set()
            self.set()
            super().clear()

    monkeypatch.setattr(sender, "_new_lines", Late())
    sender.start()
    sender._thread.join(PATIENCE_SECONDS)
    alive = sender._thread.is_alive()
    sender._new_lines.set()
    assert not alive


def test_a_defect_does_not_end_delivery(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    events: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unexpected exception is logged with its traceback, and delivery continues later."""
    fill(spool, 0, 5)
    monkeypatch.setattr(delivery, "MAX_WAIT_SECONDS", 0.01)
    broken = iter([True, True])

    def rule(_sent: Sequence[bytes]) -> WriteResult:
        if next(broken, False):
            raise RuntimeError("a defect")
        return WRITTEN

    server.rule = rule
    sender.start()
    wait_for(lambda: server.taken == lines(0, 5), "the lines")
    sender.stop(PATIENCE_SECONDS)
    assert [event.getMessage() for event in events] == ["delivery failed (bug)"] * 2
    assert all(event.exc_info for event in events)


# Asking for the time


def test_asking_without_lines(
    spool: Spool, server: Scripted, dead: DeadLetters, parked: ParkedLines
) -> None:
    """While an answer is needed, a request without lines is sent every second, and reported."""
    wanted = [True]
    told: list[WriteResult] = []
    sender = Sender(
        spool, server, dead, parked,
        on_answer=told.append, needs_answer=lambda: wanted[0], jitter=lambda: 1.0,
    )  # fmt: skip
    dated = {"Date": "Thu, 28 May 2026 20:26:40 GMT"}
    server.play(REFUSED, REFUSED, result(400, dated, "no points"), WRITTEN)
    assert [sender.deliver_once() for _ in range(4)] == [1.0, 2.0, 1.0, 1.0]
    assert server.requests == [[]] * 4
    assert [found.outcome for found in told] == ["retry", "retry", "rejected", "written"]
    server.play(result(400, {}, "no HTTPS"), TIMEOUT, TIMEOUT, TIMEOUT, WRITTEN)
    assert all(sender.deliver_once() for _ in range(5))
    assert sender.failures == {"refused": 2, "rejected_all": 1, "timeout": 3}
    fill(spool, 0, 9)
    assert sender.deliver_once() == 0
    assert server.requests[-1] == lines(0, 9)
    wanted[0] = False
    assert sender.deliver_once() is None
    assert refused(dead) == []


def test_answers_are_told(
    spool: Spool, server: Scripted, dead: DeadLetters, parked: ParkedLines
) -> None:
    """The result of every request with lines is reported too."""
    told: list[WriteResult] = []
    sender = Sender(spool, server, dead, parked, on_answer=told.append)
    fill(spool, 0, 3)
    timed = WriteResult("written", server_time=5.0)
    server.play(REFUSED, timed)
    sender.deliver_once()
    sender.deliver_once()
    assert told == [REFUSED, timed]


# Over HTTP


def v2(url: str, access: Access = ACCESS) -> WriteServer:
    return ServerV2(url, "org", "bucket", "token", access)


def v1(url: str, access: Access = ACCESS) -> WriteServer:
    return ServerV1(url, "goe", "", "", access)


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(401), "unauthorized"),
        (Reply(403), "forbidden"),
        (Reply(404, b'{"code":"not found"}'), "not_found"),
        (Reply(429), "too_many_requests"),
        (Reply(500), "server_error"),
        (Reply(502, b"<html>Bad Gateway"), "server_error"),
        (Reply(503), "server_error"),
        (Reply(200, b"<html>Hello"), "unexpected_answer"),
        (Reply(manner="nothing"), "truncated"),
        (Reply(200, b"x" * 99, manner="cut"), "truncated"),
        (Reply(200, manner="drip"), "timeout"),
        (Reply(manner="hang"), "timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.status),
)
def test_outage_over_http(
    spool: Spool,
    dead: DeadLetters,
    parked: ParkedLines,
    fake: FakeInflux,
    api: Callable[[str, Access], WriteServer],
    reply: Reply,
    reason: str,
) -> None:
    """A failure of each kind loses nothing, and the waiting lines are delivered afterwards."""
    fill(spool, 0, 20)
    fake.play(reply)
    patient = api(fake.url, ACCESS)
    impatient = api(fake.url, Access(0.3)) if reason == "timeout" else patient
    sender = Sender(spool, impatient, dead, parked)
    assert sender.deliver_once()
    assert sender.deliver_once()
    assert sender.failures == {reason: 2}
    assert (spool.pending, refused(dead), fake.taken) == (20, [], [])
    sender._server = patient
    fake.play(Reply())
    deliver(sender)
    assert fake.taken == lines(0, 20)


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("status", [200, 204])
def test_success_over_http(
    spool: Spool,
    dead: DeadLetters,
    parked: ParkedLines,
    fake: FakeInflux,
    api: Callable[[str], WriteServer],
    status: int,
) -> None:
    """204, and 200 with an empty body, are success."""
    fill(spool, 0, 20)
    fake.play(Reply(status))
    deliver(Sender(spool, api(fake.url), dead, parked))
    assert [request.lines for request in fake.received] == [lines(0, 20)]


def test_server_that_comes_and_goes(spool: Spool, dead: DeadLetters, parked: ParkedLines) -> None:
    """Lines are kept while the server is down, and delivered when it is up."""
    fill(spool, 0, 5)
    sender = Sender(spool, v2(f"http://127.0.0.1:{free_port()}"), dead, parked)
    assert sender.deliver_once()
    assert sender.failing == "refused"
    with FakeInflux() as fake:
        sender._server = v2(fake.url)
        deliver(sender)
        assert fake.taken == lines(0, 5)


def test_flaky_server(
    spool: Spool, dead: DeadLetters, parked: ParkedLines, fake: FakeInflux
) -> None:
    """A server that fails every other request in various ways gets every line, in order."""
    fill(spool, 0, 2000)
    ways = [Reply(503), Reply(manner="nothing"), Reply(200, b"<html>"), Reply(429),
            Reply(500, b"x" * 500, manner="cut")]  # fmt: skip
    asked = 0

    def rule(_request: Received) -> Reply:
        nonlocal asked
        asked += 1
        return Reply() if asked % 2 else ways[asked // 2 % len(ways)]

    fake.rule = rule
    sender = Sender(spool, v2(fake.url), dead, parked, max_batch_lines=100)
    while sender.deliver_once() is not None:
        pass
    assert fake.taken == lines(0, 2000)
    assert sender.written == 2000
    assert refused(dead) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Spool]:
    """Yield a spool with 900 lines, which 400 more overfill."""
    opened = Spool(tmp_path / "small", 64 * 1024)
    fill(opened, 0, 900)
    yield opened
    opened.close()


def test_dropped_on_the_way(
    small: Spool, dead: DeadLetters, parked: ParkedLines, server: Scripted, clock: Clock
) -> None:
    """A line that is dropped while in flight counts once, by the server's answer."""
    sender = Sender(small, server, dead, parked, jitter=lambda: 1.0)
    first, *_rest, last = small.read(900).lines
    waiting = small.pending

    def drops_what_is_on_its_way(sent: Sequence[bytes]) -> WriteResult:
        if len(server.requests) == 1:
            fill(small, 1000, 1400)
        return REJECTED if first in sent or last in sent else WRITTEN

    server.rule = drops_what_is_on_its_way
    dropped = small.dropped
    decide(sender, clock)
    assert first not in small.read(900).lines
    assert (small.pending, small.dropped, sender.rejected) == (0, dropped, 2)
    assert sender.written == len(set(server.taken)) == waiting + 400 - 2


def test_dropped_on_the_way_of_no_avail(
    small: Spool, dead: DeadLetters, parked: ParkedLines, server: Scripted
) -> None:
    """A line that is dropped while in flight and not accepted is counted as dropped."""
    sender = Sender(small, server, dead, parked, jitter=lambda: 1.0)

    def drops_what_is_on_its_way(_sent: Sequence[bytes]) -> WriteResult:
        fill(small, 1000, 1400)
        return REFUSED

    server.rule = drops_what_is_on_its_way
    sender.deliver_once()
    assert small.dropped + small.pending == 900 + 400
    server.play(WRITTEN)
    deliver(sender)
    assert small.dropped + sender.written == 900 + 400


def test_dropped_before_it_was_on_its_way(
    small: Spool,
    dead: DeadLetters,
    parked: ParkedLines,
    server: Scripted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that is dropped between read and request is counted as dropped, and not sent."""
    sender = Sender(small, server, dead, parked, jitter=lambda: 1.0)
    read = small.read

    def then_it_goes(most: int) -> Batch:
        batch = read(most)
        fill(small, 1000, 1400)
        monkeypatch.undo()
        return batch

    monkeypatch.setattr(small, "read", then_it_goes)
    first = read(1).lines[0]
    deliver(sender)
    assert first not in server.taken
    assert small.dropped + sender.written == 900 + 400
