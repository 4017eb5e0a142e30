"""From the spool to the server: in order, never giving up, and never stuck on a bad line."""

from __future__ import annotations

import json
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fake_influx import FakeInflux, Received, Reply, http_date
from servers import free_port, wait_for

from goe_exporter import delivery
from goe_exporter.delivery import DeadLetters, Sender
from goe_exporter.influx_server import Access, ServerV1, ServerV2, Verdict, WriteServer, judge
from goe_exporter.spool import Spool

WRITTEN = Verdict("written")
REFUSED = Verdict("later", "refused", "the InfluxDB server refuses", answered=False)
REJECTED = Verdict("rejected", "rejected", "HTTP 400: field type conflict")
TOO_LARGE = Verdict("too_large", "too_large", "HTTP 413: too large")
BROKEN = Verdict("later", "server_error", "HTTP 500: panic")

ACCESS = Access(2.0)

Rule = Callable[[Sequence[bytes]], Verdict]


def line(number: int) -> bytes:
    return b"goe_charger,charger=garage power_w=%d.0 %d" % (number, 1_780_000_000_000 + number)


def lines(first: int, last: int) -> list[bytes]:
    return [line(number) for number in range(first, last)]


class Scripted:
    """A server that gives the verdicts it was told to; keeps requests, and the lines it took."""

    def __init__(self, rule: Rule = lambda _lines: WRITTEN) -> None:
        self.rule = rule
        self.requests: list[list[bytes]] = []
        self.taken: list[bytes] = []

    def play(self, *verdicts: Verdict) -> None:
        """Give these verdicts, the last of them for ever."""
        left = list(verdicts)
        self.rule = lambda _lines: left.pop(0) if len(left) > 1 else left[0]

    def write(self, lines: Sequence[bytes]) -> Verdict:
        self.requests.append(list(lines))
        verdict = self.rule(lines)
        if verdict.outcome == "written":
            self.taken += lines
        return verdict


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 64 * 1024 * 1024)
    yield opened
    opened.close()


@pytest.fixture
def dead(spool: Spool) -> DeadLetters:
    return DeadLetters(spool.directory / "dead")


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
def sender(spool: Spool, server: Scripted, dead: DeadLetters) -> Sender:
    return Sender(spool, server, dead, jitter=lambda: 1.0)


@pytest.fixture
def events() -> Iterator[list[logging.LogRecord]]:
    """Yield what delivery logs from now on."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    target = logging.getLogger("goe_exporter.delivery")
    target.addHandler(handler)
    target.setLevel(logging.DEBUG)
    yield kept
    target.removeHandler(handler)
    target.setLevel(logging.NOTSET)


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
    """Deliver until nothing waits; a wait would be a failure."""
    for _ in range(most):
        wait = sender.deliver_once()
        if wait is None:
            return
        assert wait == 0, sender.failing
    pytest.fail("it does not end")


def words(dead: DeadLetters) -> list[tuple[object, object]]:
    return [(letter["line"], letter["words"]) for letter in dead.letters()]


# Order


def test_oldest_first(spool: Spool, server: Scripted, dead: DeadLetters) -> None:
    """Lines go in the order they came, at most so many a request, and are let go of."""
    fill(spool, 0, 1234)
    sender = Sender(spool, server, dead, most_lines=100)
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
    """With nothing in the spool nobody is asked."""
    assert sender.deliver_once() is None
    assert server.requests == []
    assert sender.oldest is None


def test_oldest_is_the_time_at_the_head(spool: Spool, server: Scripted, sender: Sender) -> None:
    """`oldest` is the Unix time of the oldest line that waits, None when none does."""
    fill(spool, 7, 9)
    server.play(REFUSED, WRITTEN)
    sender.deliver_once()
    assert sender.oldest == 1_780_000_000.007
    deliver(sender)
    assert sender.oldest is None


def test_lines_of_the_last_run(tmp_path: Path, server: Scripted) -> None:
    """What one run did not deliver the next one does."""
    for round_ in range(3):
        spool = Spool(tmp_path / "spool", 1024 * 1024)
        spool.append(line(round_))
        if round_ == 2:
            deliver(Sender(spool, server, DeadLetters(tmp_path / "dead")))
        spool.close()
    assert server.taken == lines(0, 3)


# Outages


@pytest.mark.parametrize(
    "verdict",
    [
        REFUSED,
        *(judge(status, {}, "no") for status in (401, 403, 404, 429, 500, 502, 503, 504, 301)),
        judge(200, {}, "<html>"),
        *(Verdict("later", reason, answered=False) for reason in ("dns", "tls", "timeout")),
        Verdict("later", "truncated", answered=False),
        Verdict("later", "too_large", answered=False),
    ],
    ids=lambda verdict: f"{verdict.reason}-{verdict.words[5:8]}",
)
def test_outage_loses_nothing(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, verdict: Verdict
) -> None:
    """However long it lasts, an outage loses no line, and afterwards all arrive in order."""
    fill(spool, 0, 30)
    server.play(verdict)
    for number in range(40):
        assert sender.deliver_once()
        spool.append(line(30 + number))
    assert sender.failures == {verdict.reason: 40}
    assert sender.failing == verdict.reason
    assert (spool.pending, sender.written) == (70, 0)
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken == lines(0, 70)
    assert dead.paths() == []
    assert sender.failing == ""


def test_back_off_doubles_to_a_minute(spool: Spool, server: Scripted, sender: Sender) -> None:
    """Waits double from 1 s to 60 s, and begin anew after a success."""
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


def test_jitter(spool: Spool, server: Scripted, dead: DeadLetters) -> None:
    """Jitter takes up to a half from each wait, so that many senders do not come at once."""
    fill(spool, 0, 3)
    server.play(REFUSED)
    least = Sender(spool, server, dead, jitter=lambda: 0.0)
    assert [least.deliver_once() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    firsts = {Sender(spool, server, dead).deliver_once() for _ in range(20)}
    assert len(firsts) > 10
    assert all(0.5 <= (wait or 0) <= 1.0 for wait in firsts)


@pytest.mark.parametrize(
    ("asked", "waited"), [(0.0, 1.0), (0.5, 1.0), (17.0, 17.0), (900.0, 900.0), (1e9, 900.0)]
)
def test_retry_after(
    spool: Spool, server: Scripted, sender: Sender, asked: float, waited: float
) -> None:
    """What the server asks for is honoured up to 15 minutes, but never below the back-off."""
    fill(spool, 0, 3)
    server.play(Verdict("later", "too_many_requests", "HTTP 429: ", asked))
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
    spool: Spool, dead: DeadLetters, fake: FakeInflux, header: str, low: float, high: float
) -> None:
    """`Retry-After` as seconds and as a date comes through to the wait."""
    fill(spool, 0, 3)
    fake.play(Reply(429, b"slow down", (("Retry-After", header),)))
    sender = Sender(spool, v2(fake.url), dead, jitter=lambda: 1.0)
    wait = sender.deliver_once()
    assert wait is not None
    assert low <= wait <= high


def test_retry_after_as_a_near_date(spool: Spool, dead: DeadLetters, fake: FakeInflux) -> None:
    """A date 100 s ahead of the server's clock, wrong as that may be, is 100 s."""
    fill(spool, 0, 3)
    date = ("Retry-After", "Thu, 28 May 2026 20:28:20 GMT")
    fake.play(Reply(503, b"", (date,), date=1_780_000_000.0))
    assert Sender(spool, v2(fake.url), dead).deliver_once() == 100.0


def test_one_line_when_it_begins_and_one_when_it_ends(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord]
) -> None:
    """An outage is logged when it begins and when it ends, whatever it turns into meanwhile."""
    fill(spool, 0, 3)
    server.play(REFUSED, REFUSED, judge(503, {}, ""), REFUSED, judge(401, {}, ""), WRITTEN)
    for _ in range(7):
        sender.deliver_once()
    assert [event.getMessage() for event in events] == ["delivery fails", "delivery works again"]
    first, last = (vars(event)["values"] for event in events)
    assert first["reason"] == "refused"
    assert last == {"failures": 5}
    assert [event.levelname for event in events] == ["WARNING", "INFO"]


def test_success_is_not_logged(
    spool: Spool, sender: Sender, events: list[logging.LogRecord]
) -> None:
    """A delivery that works says nothing."""
    fill(spool, 0, 300)
    deliver(sender)
    assert events == []


def test_same_bytes_on_a_retry(spool: Spool, dead: DeadLetters, fake: FakeInflux) -> None:
    """A retry sends the very bytes again; lines that came meanwhile follow later."""
    fill(spool, 0, 500)
    unread = Reply(200, b"x" * 100, manner="cut")
    fake.play(Reply(503), Reply(manner="nothing"), unread, Reply(500, b"{}"), Reply())
    sender = Sender(spool, v2(fake.url), dead, most_lines=400)
    for number in range(4):
        assert sender.deliver_once()
        spool.append(line(500 + number))
    deliver(sender)
    bodies = [request.body for request in fake.received]
    assert len(set(bodies[:5])) == 1
    assert fake.taken == lines(0, 504)


# Lines that the server refuses


def test_one_bad_line_among_five_thousand(
    spool: Spool, dead: DeadLetters, fake: FakeInflux
) -> None:
    """The 4,999 good ones arrive in order, the bad one is kept with the server's words."""
    fill(spool, 0, 5000)
    bad = line(3210)
    message = b'{"code":"invalid","message":"field type conflict on power_w"}'
    fake.rule = lambda request: Reply(400, message) if bad in request.lines else Reply()
    sender = Sender(spool, v2(fake.url), dead)
    deliver(sender)
    assert fake.taken == [text for text in lines(0, 5000) if text != bad]
    assert words(dead) == [(bad.decode(), f"HTTP 400: {message.decode()}")]
    assert (sender.written, sender.rejected, spool.pending) == (4999, 1, 0)
    # 1 for all, then 2 for each of the 13 halvings at the most.
    assert len(fake.received) <= 27


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("bad", [{0}, {63}, {31, 32}, {0, 63}, {5, 6, 7, 40}, set(range(64))])
def test_bad_lines(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, status: int, bad: set[int]
) -> None:
    """However many are bad and wherever, they alone are rejected; all keeps its order."""
    fill(spool, 0, 64)
    refused = {line(number) for number in bad}
    verdict = judge(status, {}, "no")
    server.rule = lambda sent: verdict if refused & set(sent) else WRITTEN
    deliver(sender)
    assert server.taken == [text for text in lines(0, 64) if text not in refused]
    assert [letter["line"] for letter in dead.letters()] == [
        line(number).decode() for number in sorted(bad)
    ]
    assert sender.failing == ""
    assert sender.failures == {}


def test_rejection_is_logged(
    spool: Spool, server: Scripted, sender: Sender, events: list[logging.LogRecord]
) -> None:
    """A rejected line is logged with the server's words."""
    fill(spool, 0, 1)
    server.play(REJECTED)
    deliver(sender)
    (event,) = events
    assert vars(event)["values"] == {"words": "HTTP 400: field type conflict"}


def test_progress_is_kept(spool: Spool, server: Scripted, sender: Sender) -> None:
    """What was taken before the server went away in the middle of halving is let go of."""
    fill(spool, 0, 16)
    bad = line(12)
    taken = iter([REJECTED, WRITTEN, REJECTED, REFUSED])
    server.rule = lambda _sent: next(taken)
    assert sender.deliver_once()
    assert spool.pending == 8
    server.rule = lambda sent: REJECTED if bad in sent else WRITTEN
    deliver(sender)
    assert server.taken == [text for text in lines(0, 16) if text != bad]


@pytest.mark.parametrize("most", [1, 10, 63])
def test_too_large_is_halved(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, most: int
) -> None:
    """413 halves until it fits; nothing is rejected that would fit alone."""
    fill(spool, 0, 200)
    server.rule = lambda sent: TOO_LARGE if len(sent) > most else WRITTEN
    deliver(sender)
    assert server.taken == lines(0, 200)
    assert dead.paths() == []


def test_single_line_that_is_too_large(spool: Spool, dead: DeadLetters, fake: FakeInflux) -> None:
    """A line that does not fit alone is rejected; its neighbours arrive."""
    huge = b'm x="%b" 1' % (b"x" * 20_000)
    spool.append(line(0))
    spool.append(huge)
    spool.append(line(1))
    fake.rule = lambda request: Reply(413 if len(request.body) > 10_000 else 204, b"")
    deliver(Sender(spool, v2(fake.url), dead))
    assert fake.taken == lines(0, 2)
    assert words(dead) == [(huge.decode(), "HTTP 413: ")]


# A batch that breaks the server


def poisoned(bad: set[bytes]) -> Rule:
    return lambda sent: BROKEN if bad & set(sent) else WRITTEN


@pytest.mark.parametrize("bad", [{0}, {99}, {50}, {0, 99}, {0, 24, 49, 99}, {3, 4, 5}])
def test_poison(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters, bad: set[int]
) -> None:
    """Lines that get a 5xx for ever while others pass are rejected; the rest arrives."""
    fill(spool, 0, 100)
    poison = {line(number) for number in bad}
    server.rule = poisoned(poison)
    attempts = 0
    while spool.pending and attempts < 60:
        attempts += 1
        sender.deliver_once()
    assert {str(letter["line"]).encode() for letter in dead.letters()} == poison
    assert set(server.taken) == set(lines(0, 100)) - poison
    assert attempts <= 12
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
    assert dead.paths() == []


def test_server_that_is_down_is_not_a_poison(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters
) -> None:
    """A server that answers 5xx to everything, single lines too, loses nothing however long."""
    fill(spool, 0, 100)
    server.play(BROKEN)
    assert all(sender.deliver_once() for _ in range(100))
    assert dead.paths() == []
    assert spool.pending == 100
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken == lines(0, 100)


def test_single_line_is_never_a_poison_alone(
    spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters
) -> None:
    """With a single line waiting nobody can tell a poison from a server that is down: it waits."""
    fill(spool, 0, 1)
    server.play(BROKEN)
    assert all(sender.deliver_once() for _ in range(50))
    assert (spool.pending, dead.paths()) == (1, [])
    server.rule = poisoned({line(0)})
    fill(spool, 1, 3)
    for _ in range(12):
        sender.deliver_once()
    assert server.taken[-2:] == lines(1, 3)
    assert len(dead.paths()) == 1


@pytest.mark.parametrize("outage", [BROKEN, REFUSED], ids=["server_error", "refused"])
@pytest.mark.parametrize("after", range(1, 14))
def test_server_that_goes_down_while_a_poison_is_sought(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    dead: DeadLetters,
    after: int,
    outage: Verdict,
) -> None:
    """A server that breaks down after a poison was found costs no line but the poison."""
    fill(spool, 0, 64)
    poison = line(20)
    server.rule = poisoned({poison})
    for _ in range(9):
        sender.deliver_once()
    alive = len(server.requests) + after
    healthy = poisoned({poison})
    server.rule = lambda sent: healthy(sent) if len(server.requests) <= alive else outage
    for _ in range(30):
        sender.deliver_once()
    assert {letter["line"] for letter in dead.letters()} <= {poison.decode()}
    server.rule = lambda _sent: REFUSED if len(server.requests) % 5 == 0 else BROKEN
    for _ in range(30):
        sender.deliver_once()
    server.rule = healthy
    for _ in range(30):
        sender.deliver_once()
    assert spool.pending == 0
    assert {letter["line"] for letter in dead.letters()} == {poison.decode()}
    assert set(server.taken) == set(lines(0, 64)) - {poison}


# Dead letters


def test_dead_letters_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest letters are kept."""
    monkeypatch.setattr(delivery, "DEAD_LIMIT", 20)
    dead = DeadLetters(tmp_path / "dead")
    for number in range(50):
        dead.put(line(number), f"no {number}")
    assert [letter["words"] for letter in dead.letters()] == [f"no {n}" for n in range(30, 50)]
    assert len(list((tmp_path / "dead").iterdir())) == 20


def test_dead_letters_hold_anything(tmp_path: Path) -> None:
    """Line and words may hold anything; the time is when it was rejected."""
    dead = DeadLetters(tmp_path / "dead")
    before = time.time()
    dead.put('m x="ä\n🚗" 1'.encode(), 'say "no"\n\x1b[31m')
    dead.put(b"\xff\xfe", "")
    first, second = dead.letters()
    assert first["line"] == 'm x="ä\n🚗" 1'
    assert first["words"] == 'say "no"\n\x1b[31m'
    assert isinstance(first["time"], float)
    assert before <= first["time"] <= time.time()
    assert second["line"] == "\N{REPLACEMENT CHARACTER}" * 2


def test_no_dead_letters(tmp_path: Path, spool: Spool) -> None:
    """Without the directory there are none."""
    dead = DeadLetters(tmp_path / "none")
    assert (dead.paths(), dead.letters(), dead.requeue(spool)) == ([], [], 0)


def test_damaged_letters_are_passed_over(spool: Spool, dead: DeadLetters) -> None:
    """Letters that a power cut left empty or torn harm neither showing nor putting back."""
    dead.put(line(0), "no")
    for name, text in (("1", ""), ("2", "{"), ("3", "[]"), ("4", '{"words": "x"}'), ("9" * 20, "")):
        (dead.directory / f"{name}.json").write_text(text)
    (dead.directory / "9.json").write_bytes(b"\xff")
    assert {"no"} <= {letter.get("words") for letter in dead.letters() if isinstance(letter, dict)}
    assert dead.requeue(spool) == 1
    assert spool.read(10).lines == lines(0, 1)


def test_requeue(spool: Spool, server: Scripted, sender: Sender, dead: DeadLetters) -> None:
    """Put back, letters are lines again, in order, and delivered; their files are gone."""
    fill(spool, 0, 8)
    server.rule = lambda sent: REJECTED if set(sent) & set(lines(2, 5)) else WRITTEN
    deliver(sender)
    assert len(dead.paths()) == 3
    assert dead.requeue(spool) == 3
    assert dead.paths() == []
    server.play(WRITTEN)
    deliver(sender)
    assert server.taken[-3:] == lines(2, 5)


def test_requeue_into_a_full_spool(
    spool: Spool, dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter that finds no room stays a letter."""
    dead.put(line(0), "no")
    monkeypatch.setattr(spool, "append", lambda _line: False)
    assert dead.requeue(spool) == 0
    assert len(dead.paths()) == 1


def test_letters_are_json(dead: DeadLetters) -> None:
    """Each letter is a file of one JSON object, for whoever has only an editor."""
    dead.put(line(0), "no")
    (path,) = dead.paths()
    assert json.loads(path.read_text())["words"] == "no"


# The thread


@pytest.fixture
def started(sender: Sender) -> Iterator[Sender]:
    sender.start()
    yield sender
    sender.stop(5)
    assert not sender._thread.is_alive()


def test_wake(spool: Spool, server: Scripted, started: Sender) -> None:
    """A line that comes while nothing waited is delivered when the sender is told of it."""
    for number in range(20):
        spool.append(line(number))
        started.wake()
        wait_for(lambda: server.taken == lines(0, number + 1), "the line", 5)  # noqa: B023


def test_wakes_are_not_lost(spool: Spool, server: Scripted, started: Sender) -> None:
    """Many lines and wakes at once: the last one is delivered too, without another wake."""
    for number in range(300):
        spool.append(line(number))
        started.wake()
    wait_for(lambda: server.taken == lines(0, 300), "the lines", 5)


def test_what_waits_at_the_start(spool: Spool, server: Scripted, sender: Sender) -> None:
    """What is there at the start goes without a wake."""
    fill(spool, 0, 5)
    sender.start()
    wait_for(lambda: server.taken == lines(0, 5), "the lines", 5)
    sender.stop(5)


def stopped_within(sender: Sender, grace_seconds: float) -> float:
    begun = time.monotonic()
    sender.stop(grace_seconds)
    return time.monotonic() - begun


def test_stop_when_idle(sender: Sender) -> None:
    """A sender with nothing to do stops at once."""
    sender.start()
    assert stopped_within(sender, 5) < 0.5
    assert not sender._thread.is_alive()


def test_stop_in_a_back_off(spool: Spool, server: Scripted, sender: Sender) -> None:
    """A sender that waits out an outage stops at once; everything stays on disk."""
    fill(spool, 0, 5)
    server.play(Verdict("later", "too_many_requests", "", 600.0))
    sender.start()
    wait_for(lambda: bool(server.requests), "a request")
    assert stopped_within(sender, 5) < 0.5
    assert not sender._thread.is_alive()
    assert spool.pending == 5


def test_stop_in_a_request(spool: Spool, dead: DeadLetters, fake: FakeInflux) -> None:
    """A sender whose server hangs is left after the grace; everything stays on disk."""
    fill(spool, 0, 5)
    fake.play(Reply(manner="hang"))
    sender = Sender(spool, v2(fake.url, Access(1.0)), dead)
    sender.start()
    wait_for(lambda: bool(fake.received), "a request")
    assert stopped_within(sender, 0.2) < 0.5
    assert spool.pending == 5
    sender._thread.join(5)
    assert not sender._thread.is_alive()


def test_stop_between_two_rounds(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes just as the sender turns to its next round is not missed."""

    class Late(threading.Event):
        def clear(self) -> None:
            sender._stopping.set()
            self.set()
            super().clear()

    monkeypatch.setattr(sender, "_work", Late())
    sender.start()
    sender._thread.join(2)
    alive = sender._thread.is_alive()
    sender._work.set()
    assert not alive


def test_a_defect_does_not_end_delivery(
    spool: Spool,
    server: Scripted,
    sender: Sender,
    events: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception nobody foresaw is logged with its traceback, and delivery goes on later."""
    fill(spool, 0, 5)
    monkeypatch.setattr(delivery, "LONGEST_WAIT_SECONDS", 0.01)
    broken = iter([True, True])

    def rule(_sent: Sequence[bytes]) -> Verdict:
        if next(broken, False):
            raise RuntimeError("a defect")
        return WRITTEN

    server.rule = rule
    sender.start()
    wait_for(lambda: server.taken == lines(0, 5), "the lines", 5)
    sender.stop(5)
    assert [event.getMessage() for event in events] == ["delivery broke"] * 2
    assert all(event.exc_info for event in events)


# Asking for the time


def test_asking_without_lines(spool: Spool, server: Scripted, dead: DeadLetters) -> None:
    """While an answer is wanted the server is asked each second without lines, and it is told."""
    wanted = [True]
    told: list[Verdict] = []
    sender = Sender(
        spool, server, dead,
        on_answer=told.append, wants_answer=lambda: wanted[0], jitter=lambda: 1.0,
    )  # fmt: skip
    server.play(REFUSED, REFUSED, judge(400, {}, "no points"), WRITTEN)
    assert [sender.deliver_once() for _ in range(4)] == [1.0, 2.0, 1.0, 1.0]
    assert server.requests == [[]] * 4
    assert [verdict.outcome for verdict in told] == ["later", "later", "rejected", "written"]
    wanted[0] = False
    assert sender.deliver_once() is None
    assert dead.paths() == []


def test_answers_are_told(spool: Spool, server: Scripted, dead: DeadLetters) -> None:
    """The answer to each request with lines is told as well."""
    told: list[Verdict] = []
    sender = Sender(spool, server, dead, on_answer=told.append)
    fill(spool, 0, 3)
    timed = Verdict("written", server_time=5.0)
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
    fake: FakeInflux,
    api: Callable[[str, Access], WriteServer],
    reply: Reply,
    reason: str,
) -> None:
    """A failure of each kind loses nothing, and what waited arrives once it is over."""
    fill(spool, 0, 20)
    fake.play(reply)
    sender = Sender(spool, api(fake.url, Access(0.3)), dead)
    assert sender.deliver_once()
    assert sender.deliver_once()
    assert sender.failures == {reason: 2}
    assert (spool.pending, dead.paths(), fake.taken) == (20, [], [])
    fake.play(Reply())
    deliver(sender)
    assert fake.taken == lines(0, 20)


@pytest.mark.parametrize("api", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("status", [200, 204])
def test_success_over_http(
    spool: Spool,
    dead: DeadLetters,
    fake: FakeInflux,
    api: Callable[[str], WriteServer],
    status: int,
) -> None:
    """200 with nothing in it and 204 are success."""
    fill(spool, 0, 20)
    fake.play(Reply(status))
    deliver(Sender(spool, api(fake.url), dead))
    assert [request.lines for request in fake.received] == [lines(0, 20)]


def test_server_that_comes_and_goes(spool: Spool, dead: DeadLetters) -> None:
    """Refused while nobody listens; delivered when somebody does."""
    fill(spool, 0, 5)
    sender = Sender(spool, v2(f"http://127.0.0.1:{free_port()}"), dead)
    assert sender.deliver_once()
    assert sender.failing == "refused"
    with FakeInflux() as fake:
        sender._server = v2(fake.url)
        deliver(sender)
        assert fake.taken == lines(0, 5)


def test_flaky_server(spool: Spool, dead: DeadLetters, fake: FakeInflux) -> None:
    """A server that fails every other request in turn of ways gets every line, in order."""
    fill(spool, 0, 2000)
    ways = [Reply(503), Reply(manner="nothing"), Reply(200, b"<html>"), Reply(429),
            Reply(500, b"x" * 500, manner="cut")]  # fmt: skip
    asked = 0

    def rule(_request: Received) -> Reply:
        nonlocal asked
        asked += 1
        return Reply() if asked % 2 else ways[asked // 2 % len(ways)]

    fake.rule = rule
    sender = Sender(spool, v2(fake.url), dead, most_lines=100)
    while sender.deliver_once() is not None:
        pass
    assert fake.taken == lines(0, 2000)
    assert sender.written == 2000
    assert dead.paths() == []
