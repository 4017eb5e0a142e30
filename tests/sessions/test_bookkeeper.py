"""The bookkeeper: polls become sessions on disk, whatever the disk does."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clocks import Clock, Clocks
from session_runs import ROWS

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.durable.clock import TrustedClock
from goe_exporter.polling.view import Poll
from goe_exporter.sessions.bookkeeper import MAX_WAITING, Bookkeeper
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import DayReading, Session
from goe_exporter.sessions.store import Store, StoreError
from goe_exporter.sessions.tally import Tally
from goe_exporter.simulator import Car, Charger
from goe_exporter.simulator.responses import status_v2

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YEAR = dt.datetime(2027, 1, 1, tzinfo=BERLIN).timestamp()
ALL_ROWS = {"model", "firmware", "mid_energy", "meter_certification"}


class House:
    """A simulated charger, its clocks and the bookkeeper that takes its polls."""

    def __init__(self, path: Path, *, wall: float = NEW_YEAR + 43_200, synced: bool = True) -> None:
        self.path = path
        self.clocks = Clocks(wall=wall)
        self.clocks.synchronised = synced
        self.monotonic = Clock()
        self.charger = Charger("V4", serial="7")
        self.rows = ROWS
        self.keeper = self.open()

    def open(self) -> Bookkeeper:
        """Open the store, as the process does at its start."""
        clocks = self.clocks
        clock = TrustedClock(
            self.path.with_suffix(".clock"), clocks.boot_id, lambda: clocks.wall,
            lambda: clocks.up, lambda: clocks.synchronised,
        )  # fmt: skip
        self.store = Store(self.path)
        return Bookkeeper(self.store, clock, BERLIN, self.monotonic)

    def go(self, seconds: float, name: str = "garage") -> None:
        """Let time pass, with a poll every 5 s."""
        for _ in range(int(seconds / 5)):
            self.charger.advance(5)
            self.clocks.go(5)
            self.monotonic.sleep(5)
            self.keeper.take(self.poll(name))

    def poll(self, name: str = "garage") -> Poll:
        """Return a poll of the charger now."""
        time = self.clocks.wall
        boot_time = time - self.charger.uptime_ms / 1000
        status = status_v2(self.charger)
        readings = decode(status, 2, self.rows, boot_time).readings
        snapshot = Snapshot(name, 2, time, 0.0, readings, boot_time=boot_time)
        return Poll(name, self.charger.serial, time, snapshot)

    def charge(self, seconds: float = 300) -> None:
        """Let a car come, charge and leave."""
        self.charger.plug(Car(wait_s=5))
        self.go(seconds)
        self.charger.unplug()
        self.go(15)

    def stored(self) -> list[Session]:
        """Return the closed sessions on disk."""
        with Records(self.path) as records:
            return list(records.sessions())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "sessions.db")
    yield made
    made.keeper.stop(1)


def test_session_on_disk(house: House) -> None:
    """A session is on disk with the next transaction, and the books close."""
    house.go(10)
    house.charge()
    assert house.stored() == []
    house.keeper.write()
    (session,) = house.stored()
    assert session.energy_wh == int(house.charger.energy_wh) > 500
    assert (session.charger, session.serial, session.flags) == ("garage", "7", ())
    with Records(house.path) as records:
        (book,) = records.books()
    assert (book.first_wh, book.last_wh, book.under_way) == (0, session.energy_wh, None)


def test_failed_polls(house: House) -> None:
    """Failed polls, and those without a serial number, are ignored."""
    poll = house.poll()
    house.keeper.take(replace(poll, snapshot=None))
    house.keeper.take(replace(poll, serial=""))
    house.keeper.write()
    with Records(house.path) as records:
        assert list(records.books()) == []


def test_restart(house: House) -> None:
    """A session that is under way continues after a restart of the exporter."""
    house.go(10)
    house.charger.plug(Car(wait_s=5))
    house.go(120)
    house.keeper.stop(1)
    house.charger.advance(600)
    house.clocks.go(600)
    house.keeper = house.open()
    house.go(60)
    house.charger.unplug()
    house.go(15)
    house.keeper.write()
    (session,) = house.stored()
    assert session.energy_wh == int(house.charger.energy_wh)
    assert session.unobserved_seconds == 605
    assert session.unobserved_wh > 0


def test_tally(house: House) -> None:
    """Counts are those of the store, even after a restart; a session counts once it is stored."""
    house.go(10)
    assert house.keeper.stats().chargers == {"garage": Tally()}
    house.charge()
    assert house.keeper.stats().chargers["garage"].closed == {}
    house.keeper.write()
    house.charger.plug(Car(wait_s=5))
    house.charger.transaction = 3
    house.go(120)
    house.charger.unplug()
    house.charger.transaction = None
    house.go(15)
    house.charger.energy_wh += 20  # with no car
    house.go(10)
    house.charger.plug(Car(wait_s=5))
    house.go(90)
    for _ in range(2):
        house.keeper.write()
        tally = house.keeper.stats().chargers["garage"]
        assert tally.closed == {"unknown": 1, "3": 1}
        first, second = house.stored()
        assert tally.last == second
        assert second.card == 3
        assert tally.unassigned_wh == 20
        assert tally.under_way is not None
        assert tally.under_way.started == pytest.approx(house.clocks.wall - 90, abs=10)
        present = int(house.charger.energy_wh) - first.energy_wh - second.energy_wh - 20
        assert tally.under_way.energy_wh == pytest.approx(present, abs=200)
        house.keeper.stop(1)
        house.keeper = house.open()


def test_what_is_not_written_is_not_counted(house: House, fail: Fail) -> None:
    """While the disk fails, nothing is counted; afterwards, what waited is counted once."""
    house.go(10)
    fail(True)
    house.charge()
    house.keeper.write()
    assert house.keeper.stats().chargers["garage"].closed == {}
    fail(False)
    house.keeper.write()
    house.keeper.write()
    assert house.keeper.stats().chargers["garage"].closed == {"unknown": 1}


def test_stats_read_no_file(house: House) -> None:
    """A scrape makes no query."""
    house.charge()
    house.keeper.write()
    statements: list[str] = []
    assert house.store._connection is not None
    house.store._connection.set_trace_callback(statements.append)
    house.keeper.stats()
    assert statements == []


def test_memory_is_saved_every_minute(house: House) -> None:
    """After a kill, the saved session is at most a minute old."""
    house.go(10)
    house.charger.plug(Car(wait_s=5))
    house.go(600)
    house.keeper.write()
    with Records(house.path) as records:
        (book,) = records.books()
    assert book.under_way is not None
    assert house.clocks.wall - book.last_time <= 60


def test_one_transaction_for_all_chargers(house: House) -> None:
    """The records of 5,000 chargers are written in one transaction."""
    statements: list[str] = []
    poll = house.poll()
    for number in range(5_000):
        house.keeper.take(replace(poll, charger=f"c{number}", serial=str(number)))
    assert house.store._connection is not None
    house.store._connection.set_trace_callback(statements.append)
    house.keeper.write()
    house.keeper.write()
    assert sum(each.startswith("BEGIN") for each in statements) == 1
    with Records(house.path) as records:
        assert len(list(records.books())) == 5_000


def test_first_reading_of_each_local_day(tmp_path: Path) -> None:
    """Each local day has the first reading after midnight, and what the charger reports then."""
    house = House(tmp_path / "sessions.db", wall=NEW_YEAR - 12.5)
    house.charger = Charger("PRO", firmware="60.4", serial="7")
    house.charger.energy_wh = 5_000.0
    house.rows = (*ROWS, *(row for row in CHANNELS if row.name in ALL_ROWS))
    house.go(60)
    house.keeper.stop(1)
    with Records(house.path) as records:
        found = list(records.readings())
    certification = {"1": "mid", "2": "mid_and_calibration_law"}[str(house.charger.hardware.mid)]
    more = (5_000, 5_000, certification, found[0].model, "60.4")
    assert found == [
        DayReading("garage", "7", "2026-12-31", int(NEW_YEAR - 7.5), *more),
        DayReading("garage", "7", "2027-01-01", int(NEW_YEAR + 2.5), *more),
    ]
    assert found[0].model


def test_day_of_23_hours(tmp_path: Path) -> None:
    """The next day begins at midnight, even after the clock changes in spring and autumn."""
    for month, day in ((3, 28), (10, 31)):  # both in 2027
        midnight = dt.datetime(2027, month, day, tzinfo=BERLIN).timestamp()
        house = House(tmp_path / f"{month}.db", wall=midnight)
        house.go(5)
        hours = {3: 23, 10: 25}[month]
        house.clocks.go(hours * 3_600 - 15)
        house.go(15)
        house.keeper.stop(1)
        with Records(house.path) as records:
            found = [(each.day, each.time) for each in records.readings()]
        following = dt.date(2027, month, day) + dt.timedelta(days=1)
        assert found[1] == (following.isoformat(), int(midnight + hours * 3_600)), found


def test_clock_that_is_not_trusted(tmp_path: Path) -> None:
    """Without a trusted clock, a session is flagged, and there is no daily reading."""
    house = House(tmp_path / "sessions.db", wall=1_000.0, synced=False)
    house.go(10)
    house.charge()
    house.keeper.stop(1)
    assert [session.flags for session in house.stored()] == [("clock_unsure",)]
    with Records(house.path) as records:
        assert list(records.readings()) == []


def test_another_charger_of_the_same_name(house: House) -> None:
    """The session of a charger that was replaced ends with its last poll."""
    house.go(10)
    house.charger.plug(Car(wait_s=5))
    house.go(120)
    energy, ended = int(house.charger.energy_wh), house.clocks.wall
    house.charger = Charger("V4", serial="8")
    house.go(10)
    house.keeper.write()
    (session,) = house.stored()
    assert (session.serial, session.energy_wh, session.ended) == ("7", energy, int(ended))
    assert session.flags == ("charger_replaced", "end_not_seen")
    with Records(house.path) as records:
        books = {book.serial: book for book in records.books()}
    assert set(books) == {"7", "8"}
    assert books["7"].under_way is None


def test_exchanged_chargers(house: House) -> None:
    """If two chargers swap addresses, only the session of the one that was missing is split."""
    seven, eight = house.charger, Charger("V4", serial="8")

    def go(seconds: float, names: dict[str, Charger]) -> None:
        for _ in range(int(seconds / 5)):
            house.clocks.go(5)
            for charger in (seven, eight):
                charger.advance(5)
            for name, house.charger in names.items():
                house.keeper.take(house.poll(name))

    go(10, {"garage": seven, "carport": eight})
    for charger in (seven, eight):
        charger.plug(Car(wait_s=5))
    go(120, {"garage": seven, "carport": eight})
    go(120, {"garage": eight, "carport": seven})
    for charger in (seven, eight):
        charger.unplug()
    go(15, {"garage": eight, "carport": seven})
    house.keeper.write()
    found = {(each.serial, each.charger): each for each in house.stored()}
    assert {key: each.flags for key, each in found.items()} == {
        ("7", "garage"): ("charger_replaced", "end_not_seen"),
        ("7", "carport"): ("start_not_seen",),
        ("8", "garage"): (),
    }
    assert found["8", "garage"].energy_wh == int(eight.energy_wh)
    energies = [each.energy_wh for each in found.values() if each.serial == "7"]
    assert sum(energies) == int(seven.energy_wh)


Fail = Callable[[bool], None]


@pytest.fixture
def fail(house: House, monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Return a function that makes the store fail, or not."""
    real = house.store.write

    def begin(failing: bool) -> None:
        def refuse(*_: object) -> None:
            raise StoreError("database or disk is full")

        monkeypatch.setattr(house.store, "write", refuse if failing else real)

    return begin


def test_full_disk(house: House, fail: Fail, caplog: pytest.LogCaptureFixture) -> None:
    """Records that cannot be written wait, are written later, and are counted once."""
    caplog.set_level(logging.INFO)
    house.go(10)
    fail(True)
    for _ in range(3):
        house.charge(60)
        house.keeper.write()
    assert house.keeper.stats()[1:5] == (3, 0, 0, 3)
    fail(False)
    house.keeper.write()
    assert len(house.stored()) == 3
    assert house.keeper.stats()[1:5] == (3, 0, 0, 0)
    with Records(house.path) as records:
        (book,) = records.books()
    assert sum(session.energy_wh for session in house.stored()) == book.last_wh
    assert "session store failed" in caplog.text


def test_too_many_sessions_wait(house: House, fail: Fail) -> None:
    """The oldest sessions beyond the limit are lost, and counted."""
    fail(True)
    session = Session("7_0", "garage", "7", 2, 0, 1, 0, 0, 0)
    house.keeper._records += [
        replace(session, id=f"7_{number}", started=number) for number in range(MAX_WAITING + 5)
    ]
    house.keeper.write()
    stats = house.keeper.stats()
    assert (stats.lost, stats.waiting) == (5, MAX_WAITING)
    fail(False)
    house.keeper.write()
    assert min(each.started for each in house.stored()) == 5


def test_readings_displace_no_session(house: House, fail: Fail) -> None:
    """The daily readings of a large fleet do not displace waiting sessions."""
    fail(True)
    house.keeper._records += [
        Session("7_0", "garage", "7", 2, 0, 1, 0, 0, 0),
        *(DayReading("c", str(number), "2027-01-01", 0, 0) for number in range(5_000)),
    ]
    house.keeper.write()
    assert house.keeper.stats().lost == 0
    fail(False)
    house.keeper.write()
    assert len(house.stored()) == 1
    with Records(house.path) as records:
        assert len(list(records.readings())) == 5_000


def test_thread(tmp_path: Path) -> None:
    """The thread writes waiting records, and all memories at the end."""
    house = House(tmp_path / "sessions.db")
    assert house.keeper.is_stalled()
    house.keeper.start()
    assert not house.keeper.is_stalled()
    house.go(10)
    house.charger.plug(Car(wait_s=5))
    house.go(30)
    house.keeper.stop(10)
    with Records(house.path) as records:
        (book,) = records.books()
    assert book.last_time == int(house.clocks.wall)
    assert book.under_way is not None


def test_disk_that_hangs_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stop does not wait for the disk; whatever was not written is only a gap."""
    house = House(tmp_path / "sessions.db")
    house.go(10)
    house.charger.plug(Car(wait_s=5))
    house.go(60)
    house.keeper.write()
    saved, waiting, go_on = int(house.clocks.wall), threading.Event(), threading.Event()
    real = house.store.write

    def hang(*arguments: Any) -> None:
        waiting.set()
        go_on.wait()
        real(*arguments)

    monkeypatch.setattr(house.store, "write", hang)
    house.go(10)
    house.keeper.start()
    house.keeper.stop(0.01)
    assert waiting.wait(10)
    assert "sessions not saved in time" in caplog.text
    with Records(house.path) as records:
        (book,) = records.books()
    assert saved - 60 <= book.last_time <= saved
    go_on.set()
    house.keeper.stop(10)
    with Records(house.path) as records:
        (book,) = records.books()
    assert book.last_time == int(house.clocks.wall)


def test_sessions_are_handed_over(house: House) -> None:
    """A closed session is handed over once it is on disk, when the bookkeeper stops at the latest.

    While that fails, it is tried again each second, and counted; sessions are tracked meanwhile.
    """
    handed: list[int] = []
    broken = True

    def hand_over() -> None:
        if broken:
            raise StoreError("the disk is full")
        handed.append(len(house.stored()))

    house.store.hand_over = hand_over  # type: ignore[method-assign]
    house.go(10)
    house.charge()
    house.keeper.write()
    house.keeper.write()
    assert house.keeper.stats().failures == 2
    broken = False
    house.charge()
    assert handed == []
    house.keeper.write()
    house.charge()
    house.keeper.stop(1)
    assert handed == [2, 3]
    house.keeper = house.open()
