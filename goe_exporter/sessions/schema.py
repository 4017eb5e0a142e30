"""The SQLite file of the session store: its tables and how it is opened.

Closed sessions can only be inserted: triggers reject everything else.
"""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from goe_exporter.durable.directory import refuse_newer
from goe_exporter.errors import UsageError

VERSION = 2
"""The file's version, its `user_version`; version 1 has no table `outbox`."""

BUSY_SECONDS = 5.0
"""How long a reader or the writer waits for the other."""

NO_STORE = "it is not a session store"

OUTBOX = "CREATE TABLE outbox (session TEXT PRIMARY KEY, line TEXT NOT NULL);"

TABLES = f"""
CREATE TABLE session (
    id TEXT PRIMARY KEY, charger TEXT NOT NULL, serial TEXT NOT NULL, started INTEGER NOT NULL,
    ended INTEGER NOT NULL, energy_wh INTEGER NOT NULL, meter_wh INTEGER NOT NULL, card INTEGER,
    doc TEXT NOT NULL
);
CREATE INDEX session_period ON session (ended, started);
CREATE INDEX session_serial ON session (serial, started);
CREATE INDEX session_meter ON session (serial, ended, meter_wh);
CREATE INDEX session_charger ON session (charger, ended, card);
CREATE TABLE unassigned (
    serial TEXT, start INTEGER, charger TEXT NOT NULL, energy_wh INTEGER NOT NULL,
    PRIMARY KEY (serial, start)
);
CREATE TABLE correction (
    serial TEXT NOT NULL, charger TEXT NOT NULL, time INTEGER NOT NULL,
    before_wh INTEGER NOT NULL, after_wh INTEGER NOT NULL, energy_wh INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE reading (
    serial TEXT, day TEXT, charger TEXT NOT NULL, time INTEGER NOT NULL,
    meter_wh INTEGER NOT NULL, mid_wh INTEGER, certification TEXT, model TEXT, firmware TEXT,
    PRIMARY KEY (serial, day)
);
CREATE TABLE tracked (
    serial TEXT PRIMARY KEY, charger TEXT NOT NULL, api INTEGER NOT NULL,
    first_time INTEGER NOT NULL, first_wh INTEGER NOT NULL,
    last_time INTEGER NOT NULL, last_wh INTEGER NOT NULL, session TEXT, memory TEXT NOT NULL
);
CREATE TRIGGER session_is_final BEFORE UPDATE ON session
    BEGIN SELECT RAISE(ABORT, 'closed sessions are not changed'); END;
CREATE TRIGGER session_is_kept BEFORE DELETE ON session
    BEGIN SELECT RAISE(ABORT, 'closed sessions are not deleted'); END;
{OUTBOX}
"""
"""Times are Unix seconds, energies Wh.

`tracked` has the memory of each charger's tracker, and the session under way. `outbox` has the
lines about closed sessions that another sink has not accepted yet.
"""


def connect(path: Path, wait_seconds: float | None = None) -> sqlite3.Connection:
    """Open the file, which must exist; raises `sqlite3.Error`.

    `wait_seconds` is how long it waits for other processes instead of `BUSY_SECONDS`.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        timeout=BUSY_SECONDS if wait_seconds is None else wait_seconds,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


def connect_to_store(path: Path, wait_seconds: float | None = None) -> sqlite3.Connection:
    """Open a store; raises `sqlite3.Error` if it is none, `UsageError` for a newer release's."""
    connection = connect(path, wait_seconds)
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if not version_of(connection, path):
        raise sqlite3.DatabaseError(NO_STORE)


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's version, 0 if it is new; raises `UsageError` for a newer release's."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    refuse_newer(version, VERSION, f"the session store {path}", "another file")
    return version


def create(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file; raises `sqlite3.Error` if it is not new."""
    if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.OperationalError(NO_STORE)
    connection.executescript(f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")


def is_current(connection: sqlite3.Connection) -> bool:
    """Return whether the file has the tables of this release, and not those of an earlier one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool(version == VERSION)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the tables of an earlier release up to date, in the transaction under way."""
    if not is_current(connection):
        connection.execute(OUTBOX)
        connection.execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or nothing of it if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def cannot_read(path: Path, error: Exception) -> UsageError:
    """Return the error for a store that cannot be read."""
    return UsageError(f"cannot read the session store {path}: {reason(path, error)}")


def reason(path: Path, error: Exception) -> str:
    """Return why a store cannot be read; SQLite does not say if there is none."""
    try:
        is_directory = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return "there is no such file; serve and push create it"
    except OSError as failed:
        return failed.strerror or str(failed)
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return "reading it takes too long"
    return "it is a directory" if is_directory else str(error)
