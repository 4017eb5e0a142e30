"""The power fails after each step that changes the disk: nothing that was accepted is lost."""

from __future__ import annotations

import functools
import itertools
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from power import WAYS, Disk

from goe_exporter.durable.clock import TrustedClock
from goe_exporter.influx import store as store_module
from goe_exporter.influx.agent import Agent
from goe_exporter.influx.dead_letters import DeadLetters, letters
from goe_exporter.influx.parked import ParkedLines
from goe_exporter.influx.sender import Sender
from goe_exporter.influx.write_api import WriteResult
from goe_exporter.polling.view import Poll
from goe_exporter.spool.queue import Spool

LIMIT = 1024 * 1024
NOW = 1_780_000_000.0

Watch = Callable[[Callable[[Path], None]], Disk]


def line(number: int) -> bytes:
    return b"goe_charger,charger=garage power_w=%d.5 %d" % (number, 10**12 + number)


def numbers(found: Sequence[bytes]) -> list[int]:
    return [int(text.rpartition(b" ")[2]) - 10**12 for text in found]


def drained(folder: Path, limit: int = LIMIT) -> list[bytes]:
    """Return all lines of a newly opened spool."""
    spool = Spool(folder, limit)
    found: list[bytes] = []
    while (batch := spool.read(7)).lines:
        found += batch.lines
        spool.commit(batch.end)
    spool.close()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "spool"


@pytest.fixture
def watch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watch]:
    """Return a function that checks the state after a power cut at every following step."""
    (tmp_path / "disk").mkdir()
    names = (str(number) for number in itertools.count())
    cuts = tmp_path_factory.mktemp("cuts")
    made: list[Disk] = []

    def begin(check: Callable[[Path], None]) -> Disk:
        def at_each_step() -> None:
            for way in WAYS:
                check(made[0].left(cuts / next(names), way) / "spool")

        made.append(Disk(monkeypatch, tmp_path / "disk", at_each_step))
        return made[0]

    yield begin
    monkeypatch.undo()


def test_spool(watch: Watch, folder: Path) -> None:
    """Accepted lines are there and in order; committed lines never come back."""
    given: list[int] = []
    taken: set[int] = set()
    leaving: set[int] = set()
    gone: set[int] = set()

    def check(left: Path) -> None:
        found = numbers(drained(left)) if left.is_dir() else []
        assert found == sorted(set(found))
        assert set(found) <= set(given)
        assert taken - leaving <= set(found)
        assert not gone & set(found)

    disk = watch(check)
    spool = Spool(folder, LIMIT)
    spool._storage.segment_bytes = 260
    for first in (0, 20, 40):
        for number in range(first, first + 7):
            given.append(number)
            assert spool.append(line(number))
            taken.add(number)
        many = range(first + 7, first + 20)
        given += many
        assert spool.extend(map(line, many)) == 13
        taken |= set(many)
        for count in (1, 3, 9):
            batch = spool.read(count)
            leaving |= set(numbers(batch.lines))
            spool.commit(batch.end)
            gone |= set(numbers(batch.lines))
    spool.close()
    assert disk.steps > 150


def test_cut_while_a_tail_is_mended(watch: Watch, folder: Path) -> None:
    """A torn record is counted at one start only; a record without its newline is never lost."""
    records = [b"%08x %b\n" % (zlib.crc32(line(number)), line(number)) for number in range(6)]
    folder.mkdir(parents=True)
    (folder / "000000000001.log").write_bytes(b"".join(records[:3])[:-1])
    (folder / "000000000002.log").write_bytes(b"".join(records[3:])[:-20])
    opened: list[Spool] = []

    def check(left: Path) -> None:
        again = Spool(left, LIMIT)
        assert again.damaged == (0 if opened else again.damaged)
        assert numbers(again.read(9).lines) == [0, 1, 2, 3, 4]
        again.close()

    disk = watch(check)
    opened.append(Spool(folder, LIMIT))
    assert opened[0].damaged == 1
    disk.cut()
    opened[0].close()


class Picky:
    """A server that rejects some lines and keeps the others."""

    def __init__(self, bad: set[bytes]) -> None:
        self.bad = bad
        self.taken: list[bytes] = []

    def write(self, lines: Sequence[bytes]) -> WriteResult:
        if self.bad & set(lines):
            return WriteResult("rejected", "rejected", "HTTP 400: field type conflict")
        self.taken += lines
        return WriteResult("written", server_time=NOW)


def test_refused_lines(watch: Watch, folder: Path) -> None:
    """A rejected line is always in the queue, parked, or a dead letter.

    A decided line may still be parked while lines parked before it are undecided.
    """
    server = Picky({line(2), line(5), line(6), line(7)})
    taken: set[bytes] = set()
    parked_once: set[bytes] = set()
    now = [0.0]

    def check(left: Path) -> None:
        dead = {letter.line.encode() for letter in letters(left / "dead")}
        parked = {letter.line.encode() for letter in letters(left / "parked")}
        waiting = set(drained(left)) if left.is_dir() else set()
        assert taken <= waiting | parked | dead | set(server.taken)
        assert dead <= parked_once
        assert parked <= server.bad | {line(7)}
        parked_once.update(parked)

    disk = watch(check)
    spool = Spool(folder, LIMIT)
    dead = DeadLetters(folder / "dead", LIMIT)
    dead.spool._storage.segment_bytes = 300
    apart = ParkedLines(folder / "parked", LIMIT, lambda: now[0])
    apart.spool._storage.segment_bytes = 300
    for number in range(9):
        spool.append(line(number))
        taken.add(line(number))
    sender = Sender(spool, server, dead, apart, toss=random.Random(1).randrange)
    assert [sender.deliver_once() for _ in range(2)] == [0.0, None]
    assert (len(apart), sender.rejected) == (4, 0)
    server.bad.remove(line(7))
    now[0] += 120
    assert sender.deliver_once() is None
    assert (len(apart), sender.rejected) == (0, 3)
    assert dead.requeue(spool) == (3, 0, 0)
    assert disk.steps > 100


def test_held_points(watch: Watch, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point that waits for the clock is always unstamped or in the queue, and in order."""
    clock = {"wall": 100.0, "up": 10.0}
    keeper = functools.partial(
        TrustedClock,
        wall=lambda: clock["wall"],
        since_boot=lambda: clock["up"],
        synchronised=lambda: False,
    )
    monkeypatch.setattr(store_module, "TrustedClock", keeper)
    monkeypatch.setattr(store_module, "boot", lambda: "boot-1")
    names: list[bytes] = []

    def check(left: Path) -> None:
        held = drained(left / "held") if (left / "held").is_dir() else []
        stamped = drained(left) if left.is_dir() else []
        found = [text.partition(b"charger=")[2][:3] for text in (*stamped, *held)]
        assert set(names) <= set(found)
        assert found == sorted(found) or len(set(found)) < len(found)

    disk = watch(check)
    pusher = Agent(folder, LIMIT, Picky(set()), {}, 5000)
    pusher.store.unstamped.spool._storage.segment_bytes = 400
    for number in range(100, 112):
        clock["wall"], clock["up"] = clock["wall"] + 5, clock["up"] + 5
        pusher.take(Poll(str(number), "", clock["wall"], None))
        names.append(b"%d" % number)
    clock["wall"] = NOW
    pusher._answered(WriteResult("written", server_time=NOW))
    assert not pusher.store.has_unstamped
    pusher.stop(0)
    assert disk.steps > 60
