"""What is read from the session store."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from session_stores import write

from goe_exporter.errors import UsageError
from goe_exporter.sessions import records as records_module
from goe_exporter.sessions import schema
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book, Correction, DayReading, Session, Unassigned

FIRST = Session(
    id="212234_1767225600",
    charger="garage",
    serial="212234",
    api=2,
    started=1_767_225_600,
    ended=1_767_229_200,
    energy_wh=3_600,
    meter_start_wh=100_000,
    meter_end_wh=103_600,
    slots=((1_767_225_600, 900), (1_767_226_500, 2_700)),
    card=1,
    flags=("end_not_seen", "start_not_seen"),
    charging_seconds=3_500,
    counter_wh=3_601,
    meter_wh=3_600,
    max_power_w=11_000,
    sources={"solar": 3_000, "grid": 600},
)
SECOND = Session(
    "212234_1767229300", "garage", "212234", 2, 1_767_229_300, 1_767_229_400, 0, 103_600, 103_600
)
OTHER = Session("9_1767225601", "yard", "9", 1, 1_767_225_601, 1_767_225_700, 5, 0, 1_000, card=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store with three closed sessions, and one of everything else."""
    path = write(tmp_path / "sessions.db", (SECOND, OTHER, FIRST))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO unassigned VALUES ('9', 1767225600, 'yard', 12)")
    connection.execute(
        "INSERT INTO correction VALUES ('9', 'yard', 1767225650, 5000, 10, -4990, 'meter_reset')"
    )
    connection.execute(
        "INSERT INTO reading VALUES"
        " ('9', '2026-01-01', 'yard', 1767225601, 10, 9, 'mid', 'PRO', '60.4')"
    )
    connection.execute(
        "INSERT INTO tracked VALUES ('9', 'yard', 1, 1767225600, 5000, 1767225700, 27, ?, '{}')",
        (OTHER.to_json(),),
    )
    connection.close()
    return path


@pytest.mark.parametrize("session", [FIRST, SECOND, OTHER], ids=lambda each: each.id)
def test_session_through_json(session: Session) -> None:
    """A session is the same after it was written and read."""
    assert Session.from_json(session.to_json()) == session


def test_session_of_a_later_release() -> None:
    """A field that this release does not know is ignored."""
    text = SECOND.to_json().replace('{"id"', '{"phases":3,"id"', 1)
    assert Session.from_json(text) == SECOND


@pytest.mark.parametrize("text", ["", "1", "[]", "{}", '{"id":"1"}', '{"slots":[1]}'])
def test_no_session(text: str) -> None:
    """Any other text is a ValueError."""
    with pytest.raises(ValueError, match=r"not a session|Expecting"):
        Session.from_json(text)


def test_sessions(path: Path) -> None:
    """Sessions are selected by period, charger and card, and come in the order of beginning."""
    with Records(path) as records:
        assert list(records.sessions()) == [FIRST, OTHER, SECOND]
        assert list(records.sessions(last=2)) == [OTHER, SECOND]
        assert list(records.sessions(1_767_229_200)) == [FIRST, SECOND]
        assert list(records.sessions(1_767_229_201)) == [SECOND]
        assert list(records.sessions(until=1_767_225_601)) == [FIRST]
        assert list(records.sessions(serials=["9", "x"])) == [OTHER]
        assert list(records.sessions(cards=[0, 1], until=1_767_225_601)) == [FIRST]


def test_count(path: Path) -> None:
    """Sessions are counted by the same periods and serial numbers by which they are read."""
    with Records(path) as records:
        assert records.count() == 3
        assert records.count(serials=["212234", "x"]) == 2
        assert records.count(1_767_229_200) == 2
        assert records.count(1_767_229_201, serials=["9"]) == 0
        assert records.count(until=1_767_225_601) == 1
        assert records.count(until=1_767_225_600) == 0


def test_metered(path: Path) -> None:
    """The rise of a meter counts the sessions that ended before."""
    with Records(path) as records:
        assert records.metered_wh("212234", 1_767_229_201) == 3_600
        assert records.metered_wh("212234", 1_767_229_200) == 0
        assert records.metered_wh("9", 2_000_000_000) == 0


def test_everything_else(path: Path) -> None:
    """Readings, unassigned energy, corrections and books are selected by period."""
    unassigned = Unassigned("yard", "9", 1_767_225_600, 12)
    correction = Correction("yard", "9", 1_767_225_650, 5_000, 10, -4_990, "meter_reset")
    reading = DayReading("yard", "9", "2026-01-01", 1_767_225_601, 10, 9, "mid", "PRO", "60.4")
    with Records(path) as records:
        assert list(records.unassigned()) == [unassigned]
        assert list(records.unassigned(1_767_225_601)) == []
        assert list(records.corrections(1_767_225_650, 1_767_225_651)) == [correction]
        assert list(records.corrections(until=1_767_225_650)) == []
        assert list(records.readings()) == list(records.readings("2026-01-01")) == [reading]
        assert list(records.readings("2026-01-02")) == []
        assert list(records.readings(until_day="2026-01-01")) == []
        assert list(records.readings(serials=["9", "x"])) == [reading]
        assert list(records.readings(serials=["x"])) == list(records.books(["x"])) == []
        assert list(records.books()) == [
            Book("yard", "9", 1, 1_767_225_600, 5_000, 1_767_225_700, 27, OTHER)
        ]


def test_closed_sessions_are_final(path: Path) -> None:
    """A closed session can neither be changed nor deleted."""
    connection = sqlite3.connect(path)
    for statement in ("UPDATE session SET energy_wh = 1", "DELETE FROM session"):
        with pytest.raises(sqlite3.IntegrityError, match="closed sessions are not"):
            connection.execute(statement)
    connection.close()


def test_unreadable_stores(path: Path, tmp_path: Path) -> None:
    """A store that cannot be read is an error of one line, and none is created."""
    missing, damaged, foreign = (tmp_path / name for name in ("missing", "damaged", "foreign"))
    damaged.write_bytes(b"no database" * 1_000)
    sqlite3.connect(foreign).execute("CREATE TABLE x (y)").connection.close()
    expected = {
        missing: "there is no such file; serve and push create it",
        damaged: "file is not a database",
        foreign: "it is not a session store",
    }
    for file, reason in expected.items():
        with pytest.raises(UsageError, match=f"cannot read the session store .*{reason}$"):
            Records(file)
    assert not missing.exists()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(UsageError, match="version 3, and this release reads versions up to 2"):
        Records(path)


def test_latest(path: Path) -> None:
    """Sessions are listed by their end, the latest first; the list continues after any of them."""
    with Records(path) as records:
        assert records.latest(limit=9) == [SECOND, FIRST, OTHER]
        assert records.latest(limit=2) == [SECOND, FIRST]
        assert records.latest(limit=9, before=FIRST.id) == [OTHER]
        assert records.latest(limit=9, before=OTHER.id) == []
        assert records.latest(limit=9, cards=[1, 0]) == [FIRST, OTHER]
        assert records.latest(limit=9, serials=["9"]) == [OTHER]
        assert records.latest(1_767_225_700, 1_767_229_300, limit=9) == [FIRST, OTHER]
        with pytest.raises(LookupError):
            records.latest(limit=9, before="212234_1")


def test_latest_of_the_same_second(path: Path) -> None:
    """Sessions that end in the same second have an order, too, so that none is left out."""
    connection = schema.connect(path)
    for number in range(5):
        connection.execute(
            "INSERT INTO session VALUES (?, 'a', 'a', 1, 1767229400, 0, 0, NULL, ?)",
            (f"a_{number}", replace(SECOND, id=f"a_{number}").to_json()),
        )
    connection.close()
    seen, before = [], ""
    with Records(path) as records:
        while part := records.latest(limit=2, before=before):
            seen += [each.id for each in part]
            before = seen[-1]
    rest = [SECOND.id, FIRST.id, OTHER.id]
    assert sorted(seen) == sorted(["a_0", "a_1", "a_2", "a_3", "a_4", *rest])


def test_reading_that_takes_too_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, reading ends with an error instead of keeping the writer waiting."""
    monkeypatch.setattr(records_module, "CHECKED_STEPS", 1)
    with (
        pytest.raises(UsageError, match=r"sessions\.db: reading it takes too long$"),
        Records(path, 0) as records,
    ):
        records.latest(limit=9)


def test_time_limit_includes_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for another process ends after the time limit, too."""
    monkeypatch.setattr(schema, "BUSY_SECONDS", 120.0)
    began = time.monotonic()
    with closing(schema.connect(path)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UsageError, match=r"sessions\.db: database is locked$"):
            Records(path, 0.1)
    assert time.monotonic() - began < 60
