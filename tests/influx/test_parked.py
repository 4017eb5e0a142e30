"""A rejected line is parked, and decided minutes later by a fair trial."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import random
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from commands import Launch
from examples import examples
from fake_influx import Fakes, Received, Reply
from hypothesis import example, given, settings
from hypothesis import strategies as st
from servers import PATIENCE_SECONDS, push_config, wait_for

from goe_exporter.errors import UsageError
from goe_exporter.influx import parked as parked_module
from goe_exporter.influx import sender
from goe_exporter.influx.agent import open_agent
from goe_exporter.influx.dead_letters import DeadLetters, letters
from goe_exporter.influx.parked import ParkedLines
from goe_exporter.influx.sender import Sender
from goe_exporter.influx.write_api import WriteResult
from goe_exporter.service import config
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import survey

WRITTEN = WriteResult("written")
REJECTED = WriteResult("rejected", "rejected", "HTTP 400: field type conflict")
REFUSED = WriteResult("retry", "refused", "the InfluxDB server refuses", answered=False)
BROKEN = WriteResult("retry", "server_error", "HTTP 500: panic")

LIMIT = 4 * 1024 * 1024

Rule = Callable[[Sequence[bytes]], WriteResult]


def line(number: int) -> bytes:
    return b"goe_charger,charger=garage power_w=%d.0 %d" % (number, 1_780_000_000_000 + number)


def lines(first: int, last: int) -> list[bytes]:
    return [line(number) for number in range(first, last)]


class World:
    """A sender with its queues, a clock that the test moves, and a server's rule."""

    def __init__(self, folder: Path, rule: Rule, seed: int = 1) -> None:
        self.now = 1000.0
        self.rule = rule
        self.requests: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.folder = folder
        self.seed = seed
        self.open()

    def open(self) -> None:
        """Open everything, as a new process does."""
        self.spool = Spool(self.folder, LIMIT)
        self.dead = DeadLetters(self.folder / "dead", LIMIT)
        self.parked = ParkedLines(self.folder / "parked", LIMIT, lambda: self.now)
        self.sender = Sender(
            self.spool, self, self.dead, self.parked,
            jitter=lambda: 1.0, toss=random.Random(self.seed).randrange,
        )  # fmt: skip

    def close(self) -> None:
        """Close everything, as after a kill: the contents of the memory are gone."""
        for each in (self.spool, self.dead, self.parked):
            each.close()

    def write(self, lines: Sequence[bytes]) -> WriteResult:
        self.requests.append(list(lines))
        found = self.rule(lines)
        if found.outcome == "written":
            self.taken += lines
        return found

    def put(self, first: int, last: int) -> None:
        """Put lines into the queue, without a sync for each."""
        for text in lines(first, last):
            with self.spool._write:
                self.spool._put(b"%08x %b\n" % (zlib.crc32(text), text))

    def deliver(self) -> float | None:
        """Deliver until only parked lines wait, or the server accepts no more."""
        while (wait := self.sender.deliver_once()) == 0:
            pass
        return wait

    def in_dead(self) -> list[bytes]:
        return [letter.line.encode() for letter in letters(self.folder / "dead")]

    def on_disk(self) -> list[bytes]:
        """Return the parked lines as the next process finds them."""
        return [letter.line.encode() for letter in letters(self.folder / "parked")]


Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Yield a world whose server rejects line 3."""
    made = World(tmp_path / "spool", lambda sent: REJECTED if line(3) in sent else WRITTEN)
    yield made
    made.close()


@pytest.fixture
def parked(tmp_path: Path) -> Iterator[ParkedLines]:
    opened = ParkedLines(tmp_path, LIMIT, lambda: 1000.0)
    yield opened
    opened.close()


# The rule


def test_rejected_line_waits_two_minutes(world: World) -> None:
    """The others pass it; it is sent again after two minutes, not before, and then decided."""
    world.put(0, 8)
    assert world.deliver() is None
    assert set(world.taken) == set(lines(0, 8)) - {line(3)}
    assert (world.spool.pending, world.on_disk(), world.in_dead()) == (0, [line(3)], [])
    assert world.sender.oldest == 1_780_000_000.003
    asked = len(world.requests)
    world.now += 119.9
    assert world.deliver() is None
    assert (len(world.requests), world.sender.rejected) == (asked, 0)
    world.now += 0.1
    assert world.deliver() is None
    assert (world.on_disk(), world.in_dead(), world.sender.rejected) == ([], [line(3)], 1)
    assert (world.sender.written, world.sender.oldest) == (7, None)


def test_trial_of_a_bad_line(world: World) -> None:
    """It is sent in random order with a line that is accepted twenty times, and nothing else."""
    world.put(0, 8)
    world.deliver()
    world.requests.clear()
    world.now += 120
    world.deliver()
    good = world.taken[-1]
    assert {tuple(request) for request in world.requests} == {(good,), (line(3),)}
    assert world.requests.count([good]) == 20
    assert 5 < world.requests.count([line(3)]) < 60
    turns = [one != other for one, other in itertools.pairwise(world.requests)]
    assert 5 < sum(turns) < len(turns) - 5


def test_good_line_that_was_rejected_once(world: World) -> None:
    """It is delivered two minutes late, and no line is rejected."""
    answers = iter([WRITTEN, REJECTED, WRITTEN, REJECTED])
    world.rule = lambda _sent: next(answers, WRITTEN)
    world.put(0, 1)
    world.deliver()
    world.put(1, 2)
    world.deliver()
    assert (world.taken, world.on_disk()) == ([line(0), line(0)], [line(1)])
    world.put(2, 3)
    world.deliver()
    world.now += 120
    world.deliver()
    assert set(world.taken) == set(lines(0, 3))
    assert (world.in_dead(), world.on_disk(), world.sender.rejected) == ([], [], 0)
    assert (world.sender.written, world.sender.failing) == (3, "")


def good_and_broken(pattern: Iterator[bool], bad: set[bytes]) -> Rule:
    """Return the rule of servers behind one address; `pattern` says which of them work."""
    return lambda sent: WRITTEN if next(pattern) and not bad & set(sent) else REJECTED


PATTERNS = {
    "alternating": lambda _chance: itertools.cycle([True, False]),
    "one of three": lambda _chance: itertools.cycle([True, True, False]),
    "two of three": lambda _chance: itertools.cycle([True, False, False]),
    "in pairs": lambda _chance: itertools.cycle([True, True, False, False]),
    "random": lambda chance: (chance.random() < 0.5 for _ in itertools.count()),
    "mostly sound": lambda chance: (chance.random() < 0.9 for _ in itertools.count()),
    "mostly broken": lambda chance: (chance.random() < 0.3 for _ in itertools.count()),
}


@pytest.mark.parametrize("name", PATTERNS)
@given(seed=st.integers(0, 2**32), bad=st.sets(st.integers(0, 39), max_size=6))
@example(seed=0, bad={0})
@example(seed=0, bad={39})
@settings(examples(12), derandomize=True)
def test_broken_server_behind_the_same_address(name: str, seed: int, bad: set[int]) -> None:
    """No good line becomes a dead letter, all are delivered, and bad lines are still found."""
    wrong = {line(number) for number in bad}
    rule = good_and_broken(PATTERNS[name](random.Random(seed)), wrong)
    first_rejected: dict[bytes, float] = {}

    def noted(sent: Sequence[bytes]) -> WriteResult:
        found = rule(sent)
        if found.outcome == "rejected" and len(sent) == 1:
            first_rejected.setdefault(sent[0], world.now)
        return found

    with TemporaryDirectory() as folder:
        world = World(Path(folder), noted, seed)
        world.put(0, 20)
        given_up: list[bytes] = []
        for number in itertools.count(20):
            if number < 40 or number % 30 == 0:
                world.put(number, number + 1)
            world.sender.deliver_once()
            for text in world.in_dead()[len(given_up) :]:
                assert text in wrong
                assert world.now - first_rejected[text] >= 120
                given_up.append(text)
            if number >= 40 and not world.spool.pending and not len(world.parked):
                break
            assert number < 4000
            world.now += 10
        world.close()
    assert (set(given_up), world.sender.rejected) == (wrong, len(wrong))
    assert set(world.taken) >= set(lines(0, 40)) - wrong


@given(pattern=st.lists(st.booleans(), min_size=1, max_size=60), seed=st.integers(0, 99))
@settings(examples(60), derandomize=True)
def test_any_pattern_condemns_no_good_line(pattern: list[bool], seed: int) -> None:
    """The order in which working and broken servers answer makes no difference."""
    rule = good_and_broken(itertools.cycle(pattern), set())
    with TemporaryDirectory() as folder:
        world = World(Path(folder), rule, seed)
        world.put(0, 12)
        for _ in range(60):
            world.sender.deliver_once()
            world.now += 60
        assert world.in_dead() == []
        assert set(world.taken) | set(world.spool.read(99).lines) | set(world.on_disk()) == set(
            lines(0, 12)
        )
        world.rule = lambda _sent: WRITTEN
        world.put(12, 13)
        world.deliver()
        world.now += 120
        world.deliver()
        assert set(world.taken) == set(lines(0, 13))
        world.close()


def test_tosses_that_all_fall_to_the_other_line(world: World) -> None:
    """A line is rejected by an answer that came after the last acceptance, never without one."""
    world.put(0, 8)
    world.deliver()
    world.now += 120
    world.requests.clear()
    world.sender._toss = lambda _count: 1
    world.deliver()
    assert (world.in_dead(), len(world.parked)) == ([line(3)], 0)
    assert world.requests == [[world.taken[-1]]] * 20 + [[line(3)]]


def test_server_that_is_repaired_in_the_trial(world: World) -> None:
    """A line that is accepted after twenty acceptances of the other is delivered."""
    world.put(0, 8)
    world.deliver()
    world.now += 120
    accepted = itertools.count(1)
    world.rule = lambda sent: REJECTED if line(3) in sent and next(accepted) < 20 else WRITTEN
    world.sender._toss = lambda count: 0 if len(world.requests) % 2 else count - 1
    world.deliver()
    assert (world.in_dead(), len(world.parked), line(3) in world.taken) == ([], 0, True)


# What is no trial


def test_server_that_begins_to_reject_everything(world: World) -> None:
    """The trial decides nothing: the line stays parked until the server works again."""
    world.put(0, 8)
    world.deliver()
    world.rule = lambda _sent: REJECTED
    for _ in range(20):
        world.now += 120
        world.deliver()
    assert (world.in_dead(), world.on_disk(), world.sender.rejected) == ([], [line(3)], 0)
    assert len(world.requests) < 20 * 60
    world.rule = lambda _sent: WRITTEN
    world.put(8, 9)
    world.deliver()
    world.now += 120
    world.deliver()
    assert set(world.taken) == set(lines(0, 9))
    assert len(world.parked) == 0


@pytest.mark.parametrize("after", range(1, 25))
@pytest.mark.parametrize("outage", [REJECTED, REFUSED, BROKEN], ids=lambda each: each.reason)
def test_server_that_fails_in_the_trial(world: World, after: int, outage: WriteResult) -> None:
    """A server that fails during a trial decides neither a good nor a bad line."""
    world.rule = lambda sent: REJECTED if {line(3), line(5)} & set(sent) else WRITTEN
    world.put(0, 8)
    world.deliver()
    assert world.on_disk() == [line(3), line(5)]
    begun = len(world.requests)
    world.now += 120
    world.rule = lambda sent: (
        outage if len(world.requests) - begun > after or line(3) in sent else WRITTEN
    )
    world.deliver()
    assert line(5) not in world.in_dead()
    assert world.sender.rejected == len(world.in_dead()) == 0
    world.rule = lambda sent: REJECTED if line(3) in sent else WRITTEN
    world.put(8, 9)
    for _ in range(3):
        world.deliver()
        world.now += 120
    assert world.in_dead() == [line(3)]
    assert set(world.taken) == set(lines(0, 9)) - {line(3)}


def test_outage_in_the_trial_is_an_outage(world: World) -> None:
    """It is counted, with a back-off, like any other outage."""
    world.put(0, 8)
    world.deliver()
    world.now += 120
    world.put(8, 9)
    begun = len(world.requests)
    world.rule = lambda sent: (
        REFUSED if len(world.requests) > begun + 1 else WRITTEN if line(3) not in sent else REJECTED
    )
    assert world.deliver() == 1.0
    assert (world.sender.failing, world.sender.failures) == ("refused", {"refused": 1})
    assert (world.spool.pending, world.on_disk()) == (1, [line(3)])


def test_nothing_that_was_accepted(world: World) -> None:
    """After a restart with an empty queue a parked line is sent alone, and decided with another."""
    world.put(0, 8)
    world.deliver()
    world.close()
    world.open()
    world.requests.clear()
    for _ in range(10):
        world.now += 120
        assert world.deliver() is None
    assert (world.requests, world.on_disk()) == ([[line(3)]] * 10, [line(3)])
    world.put(8, 9)
    world.deliver()
    world.now += 120
    world.deliver()
    assert (world.on_disk(), world.in_dead()) == ([], [line(3)])


def test_trial_is_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines on which the server hangs delay others for a minute; the next trial continues."""
    slow = WriteResult("retry", "timeout", "did not answer in time", answered=False)
    now = [0.0]
    monkeypatch.setattr(sender.time, "monotonic", lambda: now[0])

    def rule(sent: Sequence[bytes]) -> WriteResult:
        now[0] += 10 if line(3) in sent else 0.01
        return slow if line(3) in sent else WRITTEN

    world.parked.put(line(3), "did not answer in time")
    world.rule = rule
    world.put(8, 9)
    world.deliver()
    trials = 0
    while len(world.parked):
        world.now += 120
        begun, trials = now[0], trials + 1
        world.deliver()
        assert now[0] - begun < 72
        assert trials < 20
    assert trials > 2
    assert world.in_dead() == [line(3)]


def test_many_parked_lines(world: World) -> None:
    """They are sent in groups, the oldest first, with new lines in between."""
    bad = set(lines(0, 50))
    world.rule = lambda sent: REJECTED if bad & set(sent) else WRITTEN
    world.put(0, 60)
    world.deliver()
    assert len(world.parked) == 50
    world.now += 120
    for number, left in enumerate((30, 10, 0)):
        world.put(100 + number, 101 + number)
        world.sender.deliver_once()
        assert (len(world.parked), world.spool.pending) == (left, 0)
    assert world.in_dead() == lines(0, 50)


# The thread


def test_thread_wakes_up_for_a_parked_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parked line is sent when it is due, even if no other line arrives."""
    monkeypatch.setattr(parked_module, "RETRY_SECONDS", 0.2)
    world.parked._clock = time.monotonic
    world.put(0, 8)
    world.sender.start()
    wait_for(lambda: world.in_dead() == [line(3)], "a decision")
    world.sender.stop(PATIENCE_SECONDS)


# Room


def test_as_many_as_there_is_room_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for more, delivery waits with a reason; nothing is lost, and it continues."""
    monkeypatch.setattr(parked_module, "MAX_LINES", 5)
    bad = set(lines(0, 12))
    world.rule = lambda sent: REJECTED if bad & set(sent) else WRITTEN
    world.put(0, 20)
    assert world.deliver() == 120.0
    assert world.sender.failing == "parked_full"
    assert (len(world.parked), world.in_dead()) == (5, [])
    assert set(world.spool.read(99).lines) >= bad - set(lines(0, 5))
    for _ in range(3):
        world.now += 120
        world.deliver()
    assert world.in_dead() == lines(0, 12)
    assert set(world.taken) == set(lines(12, 20))
    assert (world.spool.pending, world.sender.failing) == (0, "")


def test_long_backlog_beyond_retention(world: World) -> None:
    """Fresh points pass 222 consecutive bad lines after 4 requests a line, and their trial too."""
    bad = set(lines(0, 222))
    world.rule = lambda sent: REJECTED if bad & set(sent) else WRITTEN
    world.put(0, 230)
    assert world.sender.deliver_once() == 0
    assert (world.spool.pending, len(world.parked)) == (0, 222)
    assert len(world.requests) <= 4 * 222 + 10
    world.now += 120
    for number in itertools.count(230):
        world.put(number, number + 1)
        asked = len(world.requests)
        assert world.sender.deliver_once() == 0
        assert world.taken[-1] == line(number)
        assert len(world.requests) - asked < 1200
        if not len(world.parked):
            break
    assert number < 230 + 222 // 20 + 3
    assert world.in_dead() == lines(0, 222)


@pytest.mark.slow
def test_more_bad_lines_than_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for more, delivery continues when a parked line is due, not after a back-off."""
    monkeypatch.setattr(parked_module, "MAX_LINES", 200)
    bad = set(lines(0, 1000))
    world.rule = lambda sent: REJECTED if bad & set(sent) else WRITTEN
    world.put(0, 1010)
    begun = world.now
    while (wait := world.deliver()) is not None or len(world.parked):
        assert world.sender.failures.keys() <= {"parked_full"}
        world.now += wait or 120
    assert world.now - begun <= 120 * (1000 / 200 + 1)
    assert sorted(world.in_dead()) == sorted(lines(0, 1000))
    assert set(world.taken) == set(lines(1000, 1010))


def test_bound_of_bytes(tmp_path: Path) -> None:
    """They never exceed their share of the disk; none is dropped for another."""
    parked = ParkedLines(tmp_path, 16 * 1024, lambda: 0.0)
    kept = list(itertools.takewhile(lambda text: parked.put(text, "no" * 50), lines(0, 1000)))
    assert 30 < len(kept) < 100
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) <= 16 * 1024
    assert [letter.line.encode() for letter in letters(tmp_path)] == kept
    parked.close()


def test_line_that_is_larger_than_the_room(tmp_path: Path) -> None:
    """It is kept in memory, without other lines, so that delivery does not wait forever."""
    parked = ParkedLines(tmp_path, 16 * 1024, lambda: 0.0)
    huge = b'm x="%b" 1' % (b"x" * 20_000)
    assert parked.put(huge, "too large")
    assert not parked.put(huge, "too large")
    assert len(parked) == 1
    assert list(letters(tmp_path)) == []
    parked.close()


def test_full_disk(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk a line is parked in memory, and delivery continues."""
    logging.getLogger("goe_exporter").propagate = True
    world.put(0, 8)

    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert world.deliver() is None
    assert (world.spool.pending, len(world.parked), world.on_disk()) == (0, 1, [])
    assert [record.getMessage() for record in caplog.records].count(
        "parked lines are in memory only"
    ) == 1
    world.rule = lambda _sent: WRITTEN
    world.now += 120
    world.deliver()
    assert set(world.taken) == set(lines(0, 8))


# What is on disk


@pytest.mark.parametrize("text", [b'm x="\xc3\xa4 \\" \n" 1', b"\xff\xfe\x80 1", b""])
def test_line_comes_back_as_it_was(tmp_path: Path, text: bytes) -> None:
    """A line of any bytes is unchanged after a restart, and waits again."""
    parked = ParkedLines(tmp_path, LIMIT, lambda: 0.0)
    assert parked.put(text, 'say "no"\n')
    parked.close()
    again = ParkedLines(tmp_path, LIMIT, lambda: 1000.0)
    assert (len(again), again.due(), again.wait_seconds()) == (1, [], pytest.approx(120, abs=60))
    again._clock = lambda: 1120.0
    (suspect,) = again.due()
    assert (suspect.line, again.wait_seconds()) == (text, 0.0)
    again.settle([suspect], [])
    assert (len(again), again.wait_seconds(), list(letters(tmp_path))) == (0, None, [])
    again.close()


def test_alone_and_accepted(world: World) -> None:
    """Without any other line, a parked line that the server accepts now is delivered."""
    world.put(0, 8)
    world.deliver()
    world.close()
    world.open()
    world.rule = lambda _sent: WRITTEN
    world.now += 120
    world.deliver()
    assert (world.taken[-1], world.on_disk(), world.sender.written) == (line(3), [], 1)


def test_parked_long_ago(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart a line that has waited two minutes is due at once; `spool drain` needs it."""
    world.put(0, 8)
    world.deliver()
    world.close()
    later = time.time() + 120
    monkeypatch.setattr(parked_module.time, "time", lambda: later)
    world.open()
    world.rule = lambda _sent: WRITTEN
    assert world.deliver() is None
    assert (world.taken[-1], world.on_disk()) == (line(3), [])


@pytest.mark.parametrize("moved_by", [-3600.0, -0.1, 3600.0])
def test_clock_that_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved_by: float
) -> None:
    """A line never waits longer than two minutes, whatever the clock shows."""
    parked = ParkedLines(tmp_path, LIMIT, lambda: 0.0)
    parked.put(line(0), "no")
    parked.close()
    shown = time.time() + moved_by
    monkeypatch.setattr(parked_module.time, "time", lambda: shown)
    again = ParkedLines(tmp_path, LIMIT, lambda: 1000.0)
    assert again.wait_seconds() == pytest.approx(0 if moved_by > 0 else 120, abs=1)
    again.close()


def test_server_that_is_busy_in_a_trial(world: World) -> None:
    """New lines are delivered although every trial fails."""
    busy = WriteResult("retry", "rejected", "HTTP 429: slow down")
    world.put(0, 60)
    world.rule = lambda sent: REJECTED if {*lines(0, 50)} & {*sent} else WRITTEN
    world.deliver()
    assert len(world.parked) == 50
    world.rule = lambda sent: busy if {*lines(0, 50)} & {*sent} else WRITTEN
    for number in range(60, 70):
        world.now += 120
        world.put(number, number + 1)
        world.deliver()
        world.deliver()
        assert world.taken[-1] == line(number)
    assert len(world.parked) == 50


def test_another_server(world: World) -> None:
    """What one server accepted and rejected does not count for the next."""
    world.put(0, 8)
    world.deliver()
    world.now += 120
    stopped_at = 15

    def rule(sent: Sequence[bytes]) -> WriteResult:
        if len(world.requests) == asked + stopped_at:
            world.sender.change(Server(world), 5000, 10.0)
        return REJECTED if line(3) in sent else WRITTEN

    asked, world.rule = len(world.requests), rule
    world.sender._toss = lambda _count: 1
    world.deliver()
    assert len(world.requests) == asked + stopped_at
    assert (world.in_dead(), world.on_disk()) == ([], [line(3)])
    world.put(8, 9)
    world.deliver()
    world.now += 120
    before = len(world.requests)
    world.deliver()
    assert (world.in_dead(), len(world.requests) - before) == ([line(3)], 21)


class Server:
    """Another server with the rule of a world."""

    def __init__(self, world: World) -> None:
        self.write = world.write


# A directory that comes and goes


def test_spool_put_in_place(world: World) -> None:
    """The parked lines of a spool that is put in place are sent too."""
    other = ParkedLines(world.folder.with_name("other") / "parked", LIMIT)
    other.put(line(20), "no")
    other.close()
    world.put(0, 8)
    world.deliver()
    parked = world.folder / "parked"
    parked.rename(world.folder.with_name("elsewhere"))
    other.spool.directory.rename(parked)
    world.now += 120
    world.rule = lambda _sent: WRITTEN
    world.deliver()
    world.now += 120
    world.deliver()
    assert {line(3), line(20)} <= {*world.taken}
    assert (world.on_disk(), len(world.parked)) == ([], 0)


def test_parked_in_memory_then_on_disk(world: World) -> None:
    """Lines parked while the directory is unusable leave the disk when they are decided."""
    parked = world.folder / "parked"
    parked.rename(world.folder.with_name("elsewhere"))
    parked.write_text("in the way")
    world.put(0, 8)
    world.deliver()
    assert len(world.parked) == 1
    parked.unlink()
    world.now += 60
    world.deliver()
    assert world.on_disk() == [line(3)]
    world.now += 60
    world.deliver()
    assert (world.on_disk(), world.in_dead()) == ([], [line(3)])


def test_in_memory_at_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for which the disk had no room is written at the close, or counted as dropped."""
    world.rule = lambda sent: REJECTED if {line(3), line(4)} & {*sent} else WRITTEN
    with monkeypatch.context() as patch:
        patch.setattr(world.parked.spool, "_put", lambda *_args, **_options: False)
        world.put(0, 4)
        world.deliver()
        assert (world.on_disk(), len(world.parked)) == ([], 1)
    world.close()
    assert (world.on_disk(), world.parked.spool.dropped) == ([line(3)], 0)
    world.open()
    with monkeypatch.context() as patch:
        patch.setattr(world.parked.spool, "_put", lambda *_args, **_options: False)
        world.put(4, 8)
        world.deliver()
        world.close()
    assert (world.on_disk(), world.parked.spool.dropped) == ([line(3)], 1)
    assert "parked lines lost" in caplog.text
    world.open()


def test_undecided_lines_stay_on_disk(parked: ParkedLines, tmp_path: Path) -> None:
    """Lines decided behind an undecided one are deleted with it."""
    for text in lines(0, 6):
        parked.put(text, "no")
    parked._clock = lambda: 1120.0
    tried = parked.due()
    parked.settle(tried[:3], [tried[1]])
    assert [letter.line.encode() for letter in letters(tmp_path)] == lines(1, 6)
    assert [each.line for each in parked.due()] == lines(3, 6)
    parked.settle(parked.due(), [])
    assert [letter.line.encode() for letter in letters(tmp_path)] == lines(1, 6)
    assert parked.due() == []
    parked._clock = lambda: 1240.0
    parked.put(line(6), "no")
    (left,) = parked.due()
    assert left.line == line(1)
    parked.settle([left], [])
    assert [letter.line.encode() for letter in letters(tmp_path)] == lines(6, 7)
    assert len(parked) == 1


def test_damaged_record_costs_itself(parked: ParkedLines, tmp_path: Path) -> None:
    """The other parked lines are there after a restart."""
    for text in lines(0, 3):
        parked.put(text, "no")
    parked.spool.append(b'{"no": "letter"}')
    parked.close()
    (segment,) = tmp_path.glob("*.log")
    content = bytearray(segment.read_bytes())
    content[content.index(b"power_w=1.0")] ^= 1
    segment.write_bytes(content)
    again = ParkedLines(tmp_path, LIMIT, lambda: 0.0)
    assert [each.line for each in again._waiting] == [line(0), line(2)]
    assert again.spool.damaged == 1
    again.close()


def test_no_descriptor_at_the_start(
    parked: ParkedLines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the files cannot be read at the moment, the start fails with one line; the files stay."""
    parked.put(line(0), "no")
    parked.close()

    def none_left(_self: object, _start: object, _size: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_data", none_left)
        with pytest.raises(UsageError, match="Too many open files"):
            ParkedLines(tmp_path, LIMIT)
    again = ParkedLines(tmp_path, LIMIT)
    assert len(again) == 1
    again.close()


def test_killed_with_parked_lines(
    launch: Launch, fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` loses no parked line: the next process decides them."""
    taking = False

    def rule(request: Received) -> Reply:
        return Reply(400, b"no") if not taking and b"charger=bad" in request.body else Reply()

    fake = fakes(rule)
    with Simulator(speed=20) as simulator:
        boxes = {name: simulator.add(Charger("V4")) for name in ("good", "bad")}
        settings = push_config(
            tmp_path, fake.url, {name: box.address for name, box in boxes.items()}
        )
        for _ in range(3):
            command = launch("push", "--config", str(settings))
            before = survey(tmp_path / "spool" / "parked").pending
            wait_for(
                lambda before=before: survey(tmp_path / "spool" / "parked").pending >= before + 2,  # type: ignore[misc]
                "parked lines",
            )
            command.process.kill()
            assert command.end().status == -signal.SIGKILL
    found = list(letters(tmp_path / "spool" / "parked"))
    assert len(found) >= 6
    taking = True
    monkeypatch.setattr(parked_module, "RETRY_SECONDS", 0.0)
    section = config.load(str(settings)).influxdb
    assert section is not None
    pusher = open_agent(section)
    assert pusher.stats().spooled >= len(found)
    pusher.store.queue.append(line(0))
    while pusher.stats().spooled:
        pusher.sender.deliver_once()
    pusher.stop(0)
    assert {letter.line.encode() for letter in found} <= set(fake.taken)
    assert survey(tmp_path / "spool" / "dead").pending == 0
