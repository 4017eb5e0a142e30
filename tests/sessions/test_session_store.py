"""The session store: what is written stays, and a damaged file stops nothing."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from goe_exporter.errors import UsageError
from goe_exporter.sessions.memory import Memory, Open
from goe_exporter.sessions.observation import Moment, Observation
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book, Correction, DayReading, Session, Unassigned
from goe_exporter.sessions.store import Store, StoreError, Tracked

START = 1_767_225_600
SESSION = Session(
    f"7_{START}", "garage", "7", 2, START, START + 60, 100, 1_000, 1_100, ((START, 100),), 1
)
MEMORY = Memory(
    START,
    900,
    Observation(
        Moment(50.0, START + 80.5, "boot-1", trusted=True), 2, 15.1, plugged=True, meter_wh=1_110
    ),
    mark=12.25,
    session=Open(2, START + 65.5, 1_100, ((START, 10),), 10, flags=frozenset({"may_be_two"})),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "sessions.db"


def sessions(path: Path) -> list[Session]:
    with Records(path) as records:
        return list(records.sessions())


def test_everything_is_read_as_written(path: Path) -> None:
    """Sessions, readings, corrections and books are there after a restart."""
    correction = Correction("garage", "7", START, 2, 1, -1, "meter_reset")
    reading = DayReading("garage", "7", "2026-01-01", START, 900, 9, "mid", "PRO", "60.4")
    store = Store(path)
    store.write([SESSION, correction, reading], {"7": Tracked("garage", MEMORY)})
    store.close()
    again = Store(path)
    assert again.tracked() == {"7": Tracked("garage", MEMORY)}
    assert again.size_bytes() > 0
    again.close()
    with Records(path) as records:
        assert list(records.sessions()) == [SESSION]
        assert list(records.corrections()) == [correction]
        assert list(records.readings()) == [reading]
        under_way = Session(
            f"7_{START + 65}", "garage", "7", 2, START + 65, START + 80, 10, 1_100, 1_110,
            ((START, 10),), flags=("may_be_two",),
        )  # fmt: skip
        assert list(records.books()) == [
            Book("garage", "7", 2, START, 900, START + 80, 1_110, under_way)
        ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_unassigned_energy_adds_up(path: Path) -> None:
    """The energy of a quarter hour is one row."""
    store = Store(path)
    for energy in (3, 4):
        store.write([Unassigned("garage", "7", START, energy)], {})
    store.close()
    with Records(path) as records:
        assert list(records.unassigned()) == [Unassigned("garage", "7", START, 7)]


def test_first_reading_of_a_day(path: Path) -> None:
    """The first reading of a day stays."""
    store = Store(path)
    for meter in (900, 950):
        store.write([DayReading("garage", "7", "2026-01-01", START, meter)], {})
    store.close()
    with Records(path) as records:
        assert [each.meter_wh for each in records.readings()] == [900]


def test_id_that_is_taken(path: Path) -> None:
    """Two sessions of the same second have different ids, and both are kept."""
    store = Store(path)
    store.write([SESSION], {})
    store.write([SESSION, SESSION], {})
    store.close()
    assert [session.id for session in sessions(path)] == [
        "7_1767225600", "7_1767225601", "7_1767225602"
    ]  # fmt: skip


def test_one_writer(path: Path) -> None:
    """A second writer is refused; a reader is not."""
    store = Store(path)
    store.write([SESSION], {})
    with pytest.raises(UsageError, match="is in use by another process"):
        Store(path)
    assert sessions(path) == [SESSION]
    store.close()
    Store(path).close()


def test_reading_while_writing(path: Path) -> None:
    """A reader sees one state, whatever is written after it has begun."""
    store = Store(path)
    store.write([SESSION], {})
    with Records(path) as records:
        assert list(records.books()) == []
        with pytest.raises(StoreError, match="locked"):
            schema_busy(store)
        assert len(list(records.sessions())) == 1
    store.write([SESSION], {})
    store.close()
    assert len(sessions(path)) == 2


def schema_busy(store: Store) -> None:
    """Write without waiting for readers."""
    assert store._connection is not None
    store._connection.execute("PRAGMA busy_timeout = 0")
    store.write([SESSION], {})


def test_newer_version(path: Path) -> None:
    """The store of a newer release is refused, and stays as it is."""
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="has version 3, and this release reads versions up to 2"):
        Store(path)
    assert path.read_bytes() == before


def test_newer_version_while_running(path: Path) -> None:
    """A newer release's store that takes the place of the open one is never written."""
    store = Store(path)
    newer = path.with_name("newer.db")
    Store(newer).close()
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    before = newer.read_bytes()
    newer.replace(path)
    for _ in range(2):
        with pytest.raises(StoreError, match="has version 3, and this release reads versions up"):
            store.write([SESSION], {})
    store.close()
    assert path.read_bytes() == before


def test_other_files(tmp_path: Path) -> None:
    """Another program's database is refused, and so is an unusable path."""
    foreign = tmp_path / "foreign.db"
    sqlite3.connect(foreign).execute("CREATE TABLE x (y)").connection.close()
    with pytest.raises(UsageError, match="it is not a session store"):
        Store(foreign)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot use the session store .*: Not a directory"):
        Store(tmp_path / "file" / "sessions.db")
    with pytest.raises(UsageError, match=r"cannot use the session store .*: "):
        Store(tmp_path)


def test_damage_at_the_start(path: Path) -> None:
    """A damaged file is set aside, with its journal, and a new one begun."""
    store = Store(path)
    store.write([SESSION], {})
    store.close()
    damaged = bytearray(path.read_bytes())
    damaged[4_096:8_192] = b"x" * 4_096
    for content in (bytes(damaged), b"no database " * 1_000):
        path.write_bytes(content)
        store = Store(path, wall=lambda: 1_780_000_000.5)
        assert store.damaged == 1
        store.write([SESSION], {})
        store.close()
        assert sessions(path) == [SESSION]
        assert Path(f"{path}.bad-1780000000").read_bytes() == content


def test_damage_while_running(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is damaged while in use is set aside; what is being written is not lost."""
    store = Store(path, wall=lambda: 1_780_000_000.0)
    store.write([SESSION], {})
    with path.open("r+b") as file:
        file.write(b"x" * 8_192)
    store.write([SESSION], {"7": Tracked("garage", MEMORY)})
    store.write([SESSION], {})
    store.close()
    assert store.damaged == 1
    assert len(sessions(path)) == 2
    assert Path(f"{path}.bad-1780000000").exists()
    assert "damaged session store set aside" in caplog.text


def test_file_that_disappears(path: Path) -> None:
    """A file that was moved or deleted is replaced by a new one; the moved one is not written."""
    store = Store(path)
    store.write([SESSION], {})
    moved = path.rename(path.with_name("moved.db"))
    store.write([SESSION, SESSION], {})
    store.close()
    assert (len(sessions(path)), len(sessions(moved))) == (2, 1)


def test_full_disk(path: Path) -> None:
    """On a full disk, nothing of a transaction is written; later, all of it can be."""
    store = Store(path)
    store.write([SESSION], {})
    connection = store._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    many = [Unassigned("garage", "7", START + 900 * number, 1) for number in range(10_000)]
    with pytest.raises(StoreError, match="full"):
        store.write([SESSION, *many], {"7": Tracked("garage", MEMORY)})
    assert (len(sessions(path)), store.tracked(), store.damaged) == (1, {}, 0)
    connection.execute("PRAGMA max_page_count = 1000000")
    store.write([SESSION, *many], {"7": Tracked("garage", MEMORY)})
    store.close()
    assert len(sessions(path)) == 2


def test_settings_that_survive_a_power_cut(path: Path) -> None:
    """Each transaction is on disk when it is done."""
    store = Store(path)
    assert store._connection is not None
    settings = [
        store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    store.close()
    assert settings == ["truncate", 3]


def test_memory_that_cannot_be_read(path: Path) -> None:
    """An invalid memory is an error of one line."""
    store = Store(path)
    store.write([], {"7": Tracked("garage", MEMORY)})
    connection = sqlite3.connect(path)
    connection.execute("UPDATE tracked SET memory = '{}'")
    connection.commit()
    connection.close()
    with pytest.raises(UsageError, match=r"cannot read the session store .*: not a tracker"):
        store.tracked()
    store.close()
