"""Lines about closed sessions reach another sink: each of them, and always the same line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import session_stores
import session_writer

from goe_exporter.sessions.outbox import MAX_LINES
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Session, Unassigned
from goe_exporter.sessions.store import Store, StoreError

START = 1_767_225_600
SESSION = Session(f"7_{START}", "garage", "7", 2, START, START + 60, 100, 1_000, 1_100)
LINE, NEXT = "7_1767225600 of garage", "7_1767225601 of garage"


class Shelf:
    """Another sink, with room for `room` lines more; `told` are the lines of all calls."""

    def __init__(self, room: int = 10_000) -> None:
        self.room = room
        self.told: list[str] = []
        self.accepted: list[str] = []
        self.title = "of garage"

    def line(self, session: Session) -> str:
        return f"{session.id} {self.title}"

    def take(self, lines: Sequence[str]) -> int:
        self.told += lines
        taken = lines[: self.room]
        self.room -= len(taken)
        self.accepted += taken
        return len(taken)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def sqlite(store: Store, statement: str) -> None:
    """Change the store behind its back, in its own connection."""
    assert store._connection is not None
    store._connection.execute(statement)


def fail(store: Store, when: str) -> None:
    """Let changes of the outbox fail until the trigger `x` is dropped."""
    sqlite(store, f"CREATE TEMP TRIGGER x {when} ON outbox BEGIN SELECT RAISE(ABORT, 'x'); END")


def test_line_waits_until_it_is_accepted(path: Path) -> None:
    """Lines wait in the store while the other sink has no room, also over a restart."""
    store = Store(path, outlet=Shelf(0))
    store.write([SESSION, SESSION], {})
    store.hand_over()
    store.close()
    assert list(session_stores.outbox(path).values()) == [LINE, NEXT]
    shelf = Shelf(1)
    store = Store(path, outlet=shelf)
    store.hand_over()
    assert shelf.accepted == [LINE]
    assert list(session_stores.outbox(path).values()) == [NEXT]
    shelf.room = 1
    store.hand_over()
    store.hand_over()
    store.close()
    assert shelf.accepted == [LINE, NEXT]
    assert session_stores.outbox(path) == {}


def test_line_is_not_made_twice(path: Path) -> None:
    """A line handed over again after a crash is the same, whatever has changed meanwhile."""
    shelf = Shelf()
    store = Store(path, outlet=shelf)
    store.write([SESSION], {})
    fail(store, "BEFORE DELETE")
    with pytest.raises(StoreError):
        store.hand_over()
    store.close()
    again = Shelf()
    again.title = "of another name"
    store = Store(path, outlet=again)
    store.hand_over()
    store.close()
    assert shelf.accepted == again.accepted == [LINE]


def test_line_that_cannot_be_deleted(path: Path) -> None:
    """A running exporter does not hand over a line again that it could not delete."""
    shelf = Shelf()
    store = Store(path, outlet=shelf)
    store.write([SESSION], {})
    fail(store, "BEFORE DELETE")
    for _ in range(3):
        with pytest.raises(StoreError, match="x"):
            store.hand_over()
    sqlite(store, "DROP TRIGGER x")
    store.write([SESSION], {})
    store.hand_over()
    store.close()
    assert shelf.told == [LINE, NEXT]
    assert session_stores.outbox(path) == {}


def test_session_and_line_are_one_transaction(path: Path) -> None:
    """If a session cannot be written, its line is not written either."""
    shelf = Shelf()
    store = Store(path, outlet=shelf)
    fail(store, "AFTER INSERT")
    with pytest.raises(StoreError):
        store.write([SESSION], {})
    store.hand_over()
    assert shelf.told == []
    sqlite(store, "DROP TRIGGER x")
    store.write([SESSION], {})
    store.hand_over()
    store.close()
    assert shelf.accepted == [LINE]


def test_many_lines(path: Path) -> None:
    """They are handed over in the order of their sessions, a limited number at once."""
    shelf = Shelf()
    store = Store(path, outlet=shelf)
    count = MAX_LINES + 1
    sessions = [replace(SESSION, id=f"7_{START + 60 * number}") for number in range(count)]
    store.write(sessions, {})
    store.hand_over()
    assert len(shelf.accepted) == 1_000
    store.hand_over()
    store.close()
    assert shelf.accepted == [f"7_{START + 60 * number} of garage" for number in range(count)]
    assert session_stores.outbox(path) == {}


def test_without_another_sink(path: Path) -> None:
    """Without another sink no line is written; lines that are there stay until there is one."""
    store = Store(path, outlet=Shelf(0))
    store.write([SESSION], {})
    store.close()
    store = Store(path)
    store.write([SESSION], {})
    store.hand_over()
    store.close()
    assert session_stores.outbox(path) == {"7_1767225600": LINE}
    shelf = Shelf()
    store = Store(path, outlet=shelf)
    store.hand_over()
    store.close()
    assert shelf.accepted == [LINE]


def test_store_of_version_1(path: Path) -> None:
    """A store of the previous release loses nothing; only sessions closed later get a line."""
    session_stores.of_version_1(path)
    with Records(path) as records:  # commands that read do not upgrade it
        (first,) = records.sessions()
    session_writer.main(path, 525, 11)
    with Records(path) as records:
        sessions = list(records.sessions())
        (book,) = records.books()
    assert [session.id for session in sessions] == ["7_1800000050", "7_1800000350", "7_1800000650"]
    assert sessions[0] == first
    assert [session.energy_wh for session in sessions] == [360, 360, 360]
    assert (book.first_wh, book.last_wh) == (0, 1_080)
    assert session_writer.accepted(path) == ["7_1800000350 1800000550", "7_1800000650 1800000850"]


def test_upgrade_on_a_full_disk(path: Path) -> None:
    """A store of version 1 is opened on a full disk, and upgraded when there is room."""
    session_stores.of_version_1(path)
    shelf = Shelf()
    store = Store(path, outlet=shelf)
    assert store._connection is not None
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    sqlite(store, f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        store.write([SESSION, Unassigned("garage", "7", START, 1)], {})
    store.hand_over()
    sqlite(store, "PRAGMA max_page_count = 1000000")
    store.write([SESSION], {})
    store.hand_over()
    store.close()
    assert shelf.accepted == [LINE]
    with Records(path) as records:
        assert [session.id for session in records.sessions()] == ["7_1767225600", "7_1800000050"]


def test_damage_while_handing_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is damaged is set aside; what is written to the new one is handed over."""
    shelf = Shelf(0)
    store = Store(path, outlet=shelf)
    store.write([SESSION], {})
    with path.open("r+b") as file:
        file.write(b"x" * 8_192)
    store.hand_over()
    assert store.damaged == 1
    assert "damaged session store set aside" in caplog.text
    shelf.room = 1
    store.write([SESSION], {})
    store.hand_over()
    store.close()
    assert shelf.accepted == [LINE]
