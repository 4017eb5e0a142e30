"""Whether the books close, and where they do not."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from session_runs import Run
from session_stores import BERLIN, Record, autumn, session, slots, unix, write

from goe_exporter.errors import UsageError
from goe_exporter.sessions.backup import backup
from goe_exporter.sessions.books import Account, accounts, difference_wh, faults
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book, DayReading, Session, Unassigned
from goe_exporter.sessions.store import Store, Tracked

ALWAYS = Period(None, None, BERLIN)
OCTOBER, NOVEMBER, DECEMBER = (Period.month(date(2026, month, 1), BERLIN) for month in (10, 11, 12))


def found(path: Path, records: list[Record], period: Period = ALWAYS) -> list[Account]:
    with Records(write(path / "sessions.db", records)) as store:
        return accounts(store, period)


def wrong(path: Path, records: list[Record]) -> list[str]:
    """Return the faults of all chargers."""
    with Records(write(path / "sessions.db", records)) as store:
        return [text for each in accounts(store, ALWAYS) for text in faults(store, each)]


def test_books_close(tmp_path: Path) -> None:
    """Over all time, everything adds up to the Wh, on API v1 by the meter."""
    yard, garage = sorted(found(tmp_path, autumn()), key=lambda each: each.book.charger)
    assert garage.meter_wh == -979_090
    assert (garage.sessions_wh, garage.unassigned_wh, garage.corrections_wh) == (
        20_600,
        310,
        -1_000_000,
    )
    assert (garage.difference_wh, garage.closes) == (0, True)
    assert (yard.meter_wh, yard.metered_wh, yard.sessions_wh) == (10_000, 10_000, 10_050)
    assert (yard.difference_wh, yard.counter_wh, yard.closes) == (0, 50, True)
    assert yard.tolerance_wh == 100 + 2 * 1_000


def test_books_of_a_month(tmp_path: Path) -> None:
    """The meter readings at midnight are calculated, unless the meter was read then."""
    months = [
        next(each for each in found(tmp_path / str(n), autumn(), period) if each.book.api == 2)
        for n, period in enumerate((OCTOBER, NOVEMBER, DECEMBER))
        if (tmp_path / str(n)).mkdir() is None
    ]
    shown = [
        (each.meter_start_wh, each.start_read, each.meter_end_wh, each.end_read) for each in months
    ]
    assert shown == [
        (1_000_000, True, 1_004_000, False),
        (1_004_000, False, 16_910, True),
        (16_910, True, 20_910, True),
    ]
    assert [each.sessions_wh for each in months] == [4_000, 12_600, 4_000]
    assert [each.unassigned_wh for each in months] == [0, 310, 0]
    assert [each.corrections_wh for each in months] == [0, -1_000_000, 0]
    assert [each.difference_wh for each in months] == [0, 0, 0]
    assert [len(each.entries) for each in months] == [1, 3, 1]
    assert months[2].entries[0].under_way
    assert months[1].since == unix("2026-11-01 00:00")
    assert months[0].since == unix("2026-10-30 12:00")


def test_charger_that_was_not_tracked_then(tmp_path: Path) -> None:
    """A charger has no account for a month before it was tracked."""
    assert [each.book.charger for each in found(tmp_path, autumn(), OCTOBER)] == ["garage"]


def test_missing_energy_is_named_and_placed(tmp_path: Path) -> None:
    """The energy of a missing session is located between the daily readings around it."""
    records = [each for each in autumn() if not (isinstance(each, Session) and each.card == 3)]
    readings = [
        DayReading("garage", "212234", f"2026-11-{day:02}", unix(f"2026-11-{day:02} 00:00"), meter)
        for day, meter in ((5, 1_008_000), (6, 1_016_600), (7, 1_016_910))
    ]
    (fault,) = wrong(tmp_path, [*records, *readings])
    place = ", between the readings of 2026-11-05 and 2026-11-06"
    assert fault == f"+3,000 Wh of the meter are in no account{place}"


def test_energy_that_is_too_much(tmp_path: Path) -> None:
    """Energy that the meter never counted is negative; it may be after the last reading."""
    more = Unassigned("garage", "212234", unix("2026-12-02 08:00"), 12)
    assert wrong(tmp_path, [*autumn(), more]) == [
        "-12 Wh of the meter are in no account, after the reading of 2026-12-01"
    ]


def test_counter_that_disagrees(tmp_path: Path) -> None:
    """On API v1, a counter that differs by more than 1 % and the meter's steps is a fault."""
    records = [
        dataclasses.replace(each, energy_wh=12_101, slots=((each.started, 12_101),))
        if isinstance(each, Session) and each.api == 1
        else each
        for each in autumn()
    ]
    assert wrong(tmp_path, records) == [
        "the session counter differs from the meter by +2,101 Wh; 2,100 Wh are allowed"
    ]


@pytest.mark.parametrize(
    ("last", "tolerance_wh"), [(62_000, 105 + 2 * 1_000), (62_100, 106 + 2 * 100)]
)
def test_step_of_a_meter_whose_first_reading_is_calculated(
    tmp_path: Path, last: int, tolerance_wh: int
) -> None:
    """On API v1, the books of a car that charged at the first poll begin between two steps."""
    first, noon = 51_470, unix("2026-11-20 12:00")
    energies = slots("2026-11-20 12:00", 10, 1_040)
    charged = Session(
        *("999_1", "yard", "999", 1, noon, noon + 9_000, 10_400, first, last, energies),
        counter_wh=10_400,
        meter_wh=last - first,
    )
    book = Book("yard", "999", 1, noon, first, noon + 9_000, last)
    (account,) = found(tmp_path, [charged, book])
    assert (account.tolerance_wh, account.closes) == (tolerance_wh, True)


def test_sessions_that_contradict(tmp_path: Path) -> None:
    """Sessions that overlap, or whose quarter hours do not add up, are named."""
    first = session("2026-11-01 10:00", "2026-11-01 12:00", 0, slots("2026-11-01 10:00", 4, 10))
    second = session("2026-11-01 11:59", "2026-11-01 13:00", 40, ())
    broken = dataclasses.replace(first, slots=first.slots[:3])
    book = Book("garage", "212234", 2, unix("2026-11-01 00:00"), 0, unix("2026-11-02 00:00"), 40)
    assert wrong(tmp_path, [broken, second, book]) == [
        f"session {first.id}: the energies of its quarter hours do not add up",
        f"session {second.id} begins before session {first.id} ends",
    ]


@pytest.mark.parametrize(("seed", "api"), [(1, 2), (2, 2), (1, 1)])
def test_books_of_a_random_day(tmp_path: Path, seed: int, api: int) -> None:
    """The tracker's books have no fault, and a day begins with the reading that ended the last."""
    run = Run(seed, api=api)
    store = Store(tmp_path / "sessions.db")
    store.write(run.events, {"123456": Tracked("garage", run.memory)})
    store.close()
    with Records(tmp_path / "sessions.db") as records:
        (whole,) = accounts(records, ALWAYS)
        assert faults(records, whole) == []
        assert difference_wh(records, whole.book) == 0
        assert whole.metered_wh > 0
        day = datetime.fromtimestamp(whole.since, BERLIN).date()
        days = [
            account
            for number in range(3)
            for one in [day + timedelta(days=number)]
            for account in accounts(records, Period(one, one, BERLIN))
        ]
    assert [each.difference_wh for each in days] == [0] * len(days)
    ends = [whole.meter_start_wh, *(each.meter_end_wh for each in days)]
    assert [each.meter_start_wh for each in days] == ends[:-1]
    assert ends[-1] == whole.meter_end_wh


def test_backup(tmp_path: Path) -> None:
    """The copy holds the same records while the store is being read, and only readable ones."""
    store = write(tmp_path / "sessions.db", autumn())
    copy = tmp_path / "copy.db"
    with Records(store) as records:
        backup(store, copy)
        expected = list(records.sessions()), list(records.books()), list(records.corrections())
    with Records(copy) as records:
        assert (list(records.sessions()), list(records.books()), list(records.corrections())) == (
            expected
        )
    assert copy.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "sessions.db"]


def test_backup_that_cannot_be_made(tmp_path: Path) -> None:
    """An existing file is not replaced, and nothing is left of a copy that failed."""
    store = write(tmp_path / "sessions.db", autumn())
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database" * 1000)
    with pytest.raises(UsageError, match=r"the file exists$"):
        backup(store, damaged)
    for source, target, reason in (
        (
            tmp_path / "missing.db",
            tmp_path / "a.db",
            "there is no such file; serve and push create it",
        ),
        (damaged, tmp_path / "a.db", "file is not a database"),
        (store, tmp_path / "nowhere/a.db", "No such file or directory"),
    ):
        with pytest.raises(UsageError, match=f"cannot copy the session store .*: {reason}$"):
            backup(source, target)
    assert not list(tmp_path.glob("a.db*"))


def test_a_month_needs_no_earlier_session(tmp_path: Path) -> None:
    """The rise of the meter before a month is summed from an index, without reading sessions."""
    store = write(tmp_path / "sessions.db", autumn())
    with contextlib.closing(sqlite3.connect(store)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT coalesce(sum(meter_wh), 0) FROM session"
            " WHERE serial = ? AND ended < ?",
            ("212234", 0),
        ).fetchall()
    assert "COVERING INDEX session_meter" in str(plan)
