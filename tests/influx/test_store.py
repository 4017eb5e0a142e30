"""The four queues of the push agent, and the limit that they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.durable.clock import Moment
from goe_exporter.errors import UsageError
from goe_exporter.influx import line_protocol
from goe_exporter.influx import store as store_module
from goe_exporter.influx.store import Contents, Store, contents
from goe_exporter.polling.view import Poll
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import Dropped

LIMIT = 1024 * 1024
NOW = 1_780_000_000_000


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Yield a store whose clock is not confirmed."""
    keeper = store_module.TrustedClock

    def unconfirmed(*args: object, **options: object) -> object:
        return keeper(*args, synchronised=lambda: False, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store_module, "TrustedClock", unconfirmed)
    opened = Store(tmp_path / "spool", LIMIT)
    yield opened
    opened.close()


def line(number: int) -> bytes:
    return b"goe_charger,charger=garage power_w=%d.0 %d" % (number, NOW + number)


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.log"))


def test_shares(store: Store) -> None:
    """Of 1 MiB, 32 KiB each are for parked lines and dead letters, 840 KiB for unstamped points."""
    assert store.queue.limit_bytes == 960 * 1024
    assert store.unstamped.spool.limit_bytes == 840 * 1024
    assert store.parked.spool.limit_bytes == 32 * 1024
    assert store.dead_letters.spool.limit_bytes == 32 * 1024


def test_queue_gets_what_unstamped_points_leave(store: Store, tmp_path: Path) -> None:
    """The queue drops its oldest lines for unstamped points, and grows after them."""
    while not store.queue.dropped:
        store.queue.extend([line(0)] * 500)
    full = store.queue.size_bytes
    store.unstamped.spool.extend([b"x" * 1000] * 600)
    store.add(Poll("garage", "012345", 0.0, None), {})
    assert store.has_unstamped
    assert store.unstamped.spool.pending == 601
    assert store.queue.size_bytes <= 960 * 1024 - store.unstamped.spool.size_bytes
    assert store.size_bytes == on_disk(tmp_path)
    store.clock.compare(None)
    while store.stamp_some():
        assert store.size_bytes <= LIMIT
    store.queue.extend([line(0)] * 10_000)
    assert full - 64 * 1024 <= store.queue.size_bytes <= 960 * 1024


def test_requeue_leaves_room_for_unstamped_points(store: Store) -> None:
    """Letters are put back only if the queue has room beside the unstamped points."""
    store.unstamped.spool.extend([b"x" * 1000] * 820)
    store.dead_letters.extend([(line(number), "no") for number in range(150)])
    while store.queue.extend([line(1)] * 100, make_room=False) == 100:
        pass
    before = store.queue.pending
    assert store.requeue() == (0, 0, 150)
    assert (store.queue.pending, store.queue.dropped) == (before, 0)
    store.unstamped.spool.commit(store.unstamped.spool.read(1000).end)
    assert store.requeue() == (150, 0, 0)


def test_a_part_in_use(tmp_path: Path, store: Store) -> None:
    """If one queue cannot be opened, the others are released."""
    store.close()
    taken = Spool(tmp_path / "spool" / "dead", LIMIT)
    with pytest.raises(UsageError, match="dead is in use by another process"):
        Store(tmp_path / "spool", LIMIT)
    taken.close()
    Store(tmp_path / "spool", LIMIT).close()


def test_contents(tmp_path: Path, store: Store) -> None:
    """The contents are counted per queue, with and without a process that has the store open."""
    store.queue.extend([line(7), line(8), line(9)])
    store.unstamped.spool.extend([b"a point"] * 2)
    store.parked.put(line(1), "no")
    store.dead_letters.extend([(line(number), "no") for number in range(4)])
    store.queue.extend([b"x" * LIMIT] * 5)
    found = contents(tmp_path / "spool")
    assert found[:4] == (3, 2, 1, 4)
    assert found.size_bytes == on_disk(tmp_path)
    assert found.oldest == 1_780_000_000.007
    assert found.dropped.lines == 5
    store.close()
    assert contents(tmp_path / "spool") == found


def test_contents_of_nothing(tmp_path: Path) -> None:
    """A store that does not exist holds nothing, and is not created."""
    assert contents(tmp_path / "none") == Contents(0, 0, 0, 0, 0, None, Dropped(0, 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("age", [0.0, 30.0, 45.0])
def test_point_has_the_time_of_its_measurement(store: Store, age: float) -> None:
    """Values that were old when they arrived have a point of that time, whenever it is stamped."""
    now = store.clock.now()[0]
    snapshot = Snapshot("garage", 2, now - age, 1000.0, (), age)
    poll = Poll("garage", "012345", now - age, snapshot)
    store.add(poll, {})
    assert store.has_unstamped
    store.clock.compare(None)
    while store.stamp_some():
        pass
    store.add(poll, {})
    times = [line_protocol.timestamp(line) for line in store.queue.read(10).lines]
    assert times == [pytest.approx(now - age, abs=5.0)] * 2


def test_stamp_after_the_clock_was_corrected(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the clock was corrected since the arrival, the age is subtracted from the right time."""
    store.clock.compare(None)
    monkeypatch.setattr(store.clock, "trusted", lambda: Moment(1_790_000_000.0, 1000.0))
    snapshot = Snapshot("garage", 2, 100.0, 1000.0, (), 30.0)
    store.add(Poll("garage", "012345", 100.0, snapshot), {})
    assert store.queue.read(10).lines[-1].endswith(b" 1789999970000")
