"""Writing the session store: one process writes it, others may read it meanwhile.

Records and the memories that account for them are written in one transaction, so that a crash
loses nothing that was written, and nothing is counted twice.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable import files
from goe_exporter.durable.directory import lock
from goe_exporter.errors import UsageError
from goe_exporter.logs import logger
from goe_exporter.sessions import schema
from goe_exporter.sessions.memory import Memory
from goe_exporter.sessions.outbox import Outbox, Outlet
from goe_exporter.sessions.session import Correction, DayReading, Session, Unassigned
from goe_exporter.sessions.tally import Tally, card_label

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY_CODE = 0xFF

_log = logger(__name__)


class StoreError(Exception):
    """The store cannot be written now; the text says why."""


class Tracked(NamedTuple):
    """The name of a charger, and the memory of its tracker."""

    charger: str
    memory: Memory


Record = Session | Unassigned | Correction | DayReading


class Store:
    """The store at `path`, which no other process can write until `close`.

    `damaged` counts the files that were found damaged and set aside. `wall` returns the Unix time.
    `outlet` is another sink of closed sessions, if there is one.
    """

    def __init__(
        self, path: Path, wall: Callable[[], float] = time.time, outlet: Outlet | None = None
    ) -> None:
        """Open or create the file; raises `UsageError`."""
        self.path = path
        self.damaged = 0
        self._wall = wall
        self._outbox = Outbox(outlet)
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        with contextlib.ExitStack() as opened:
            try:
                files.make(path.parent)
                self._lock = lock(Path(f"{path}.lock"), f"the session store {path}", "file")
                opened.callback(os.close, self._lock)
                opened.callback(self._disconnect)
                self._repaired(self._connect)
            except OSError as error:
                reason = error.strerror
                raise UsageError(f"cannot use the session store {path}: {reason}") from error
            except StoreError as error:
                raise UsageError(f"cannot use the session store {path}: {error}") from error
            opened.pop_all()

    def tracked(self) -> dict[str, Tracked]:
        """Return the memories of the trackers by serial number; raises `UsageError`."""
        query = "SELECT serial, charger, memory FROM tracked"
        found = {}
        try:
            for serial, charger, memory in self._opened().execute(query):
                found[serial] = Tracked(charger, Memory.from_json(memory))
        except (sqlite3.Error, ValueError, StoreError) as error:
            raise schema.cannot_read(self.path, error) from error
        return found

    def tallies(self) -> dict[str, Tally]:
        """Return the counts of each charger by its name; raises `UsageError`."""
        found: dict[str, Tally] = {}
        try:
            connection = self._opened()
            counts = "SELECT charger, card, count(*) FROM session GROUP BY charger, card"
            for charger, card, count in connection.execute(counts):
                before = found.get(charger, Tally())
                label = card_label(card)
                closed = {**before.closed, label: before.closed.get(label, 0) + count}
                found[charger] = replace(before, closed=closed)
            last = "SELECT doc FROM session WHERE charger = ? ORDER BY ended DESC LIMIT 1"
            for charger, tally in found.items():
                ((doc,),) = connection.execute(last, (charger,))
                found[charger] = replace(tally, last=Session.from_json(doc))
            unassigned = "SELECT charger, sum(energy_wh) FROM unassigned GROUP BY charger"
            for charger, energy_wh in connection.execute(unassigned):
                found[charger] = replace(found.get(charger, Tally()), unassigned_wh=energy_wh)
        except (sqlite3.Error, ValueError, StoreError) as error:
            raise schema.cannot_read(self.path, error) from error
        return found

    def write(self, records: Iterable[Record], memories: Mapping[str, Tracked]) -> None:
        """Write records and the memories of some chargers, by serial number, in one transaction.

        Raises `StoreError` if nothing was written. A damaged file is set aside first.
        """
        records = tuple(records)
        self._change(lambda connection: self._write(connection, records, memories))

    def hand_over(self) -> None:
        """Hand the lines about closed sessions over to the other sink.

        Raises `StoreError`; lines that were handed over are not handed over again.
        """
        if self._outbox.waiting:
            self._change(self._outbox.hand_over)

    def size_bytes(self) -> int:
        """Return the size of the file, 0 if there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def in_place(self) -> bool:
        """Return whether the path still leads to the open file."""
        try:
            return self._file is not None and os.path.samestat(self.path.stat(), self._file)
        except OSError:
            return False

    def close(self) -> None:
        """Close the file, and let other processes write it."""
        self._disconnect()
        os.close(self._lock)

    def _opened(self) -> sqlite3.Connection:
        """Return the connection; opens the file again if it was closed, moved or deleted."""
        if self._connection is not None and not self.in_place():
            _log.warning("session store disappeared", file=str(self.path))
            self._disconnect()
        if self._connection is None:
            self._repaired(self._connect)
        assert self._connection is not None
        return self._connection

    def _repaired(self, action: Callable[[], None]) -> None:
        """Run an action; if the file is damaged, set it aside, and run the action with a new one.

        Raises `StoreError`.
        """
        try:
            action()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise StoreError(str(error)) from error
            self._set_aside(error)
            try:
                action()
            except sqlite3.Error as again:
                raise StoreError(str(again)) from again

    def _connect(self) -> None:
        try:
            if not self.path.exists():
                # SQLite would create it readable by everybody.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, files.FILE_MODE))
            connection = schema.connect(self.path)
            try:
                file = self.path.stat()
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise StoreError(error.strerror) from error
        self._connection, self._file = connection, file

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Check that the file can be written, and create the tables in a new one."""
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        # With FULL, a power cut could bring a transaction back that was undone.
        connection.execute("PRAGMA synchronous = EXTRA")
        if schema.version_of(connection, self.path) == 0:
            schema.create(connection)
            files.sync_directory(self.path.parent)
        connection.execute("BEGIN IMMEDIATE")  # fails if the file may only be read
        connection.execute("ROLLBACK")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise _damage(str(found))

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Rename a damaged file, and its journal, which belongs to no other."""
        self._disconnect()
        aside = Path(f"{self.path}.bad-{int(self._wall())}")
        try:
            self.path.rename(aside)
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}-journal").rename(f"{aside}-journal")
            files.sync_directory(self.path.parent)
        except OSError as failed:
            raise StoreError(failed.strerror) from failed
        self.damaged += 1
        _log.warning("damaged session store set aside", file=str(aside), error=str(error))

    def _change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Change the file; one that is damaged is set aside first. Raises `StoreError`."""
        try:
            self._repaired(lambda: change(self._opened()))
        except UsageError as error:  # another file took its place
            raise StoreError(str(error)) from error

    def _write(
        self,
        connection: sqlite3.Connection,
        records: tuple[Record, ...],
        memories: Mapping[str, Tracked],
    ) -> None:
        with schema.transaction(connection):
            schema.upgrade(connection)
            for record in records:
                _insert(connection, record, self._outbox)
            for serial, (charger, memory) in memories.items():
                last, session = memory.last, memory.closed(charger, serial)
                _execute(
                    connection,
                    "REPLACE INTO tracked",
                    serial=serial,
                    charger=charger,
                    api=last.api,
                    first_time=int(memory.first_time),
                    first_wh=memory.first_wh,
                    last_time=int(last.moment.time),
                    last_wh=memory.meter_wh,
                    session=session and session.to_json(),
                    memory=memory.to_json(),
                )


def _insert(connection: sqlite3.Connection, record: Record, outbox: Outbox) -> None:
    if isinstance(record, Session):
        session = _with_free_id(connection, record)
        names = "id charger serial started ended energy_wh meter_wh card".split()
        columns = {name: getattr(session, name) for name in names}
        _execute(connection, "INSERT INTO session", **columns, doc=session.to_json())
        outbox.put(connection, session)
    elif isinstance(record, Unassigned):
        connection.execute(
            "INSERT INTO unassigned (serial, start, charger, energy_wh) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET energy_wh = energy_wh + excluded.energy_wh",
            (record.serial, record.start, record.charger, record.energy_wh),
        )
    elif isinstance(record, Correction):
        _execute(connection, "INSERT INTO correction", **vars(record))
    else:
        _execute(connection, "INSERT OR IGNORE INTO reading", **vars(record))


def _with_free_id(connection: sqlite3.Connection, session: Session) -> Session:
    """Return the session with an id that is not taken: the beginning counts up by a second."""
    name, _, second = session.id.rpartition("_")
    number = int(second)
    while connection.execute(
        "SELECT 1 FROM session WHERE id = ?", (f"{name}_{number}",)
    ).fetchone():
        number += 1
    return replace(session, id=f"{name}_{number}")


def _execute(connection: sqlite3.Connection, verb: str, **values: object) -> None:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    connection.execute(f"{verb} ({names}) VALUES ({marks})", tuple(values.values()))


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _DAMAGED


def _damage(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
