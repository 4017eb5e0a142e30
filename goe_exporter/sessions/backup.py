"""Copying the session store while another process may write it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from goe_exporter.config.quoting import one_line, os_reason
from goe_exporter.durable import files
from goe_exporter.errors import UsageError
from goe_exporter.sessions import schema


def backup(store: Path, copy: Path) -> None:
    """Copy the store to a new file, which is complete or does not exist.

    Raises `UsageError` if the store cannot be read or is damaged, or the file exists or cannot be
    written.
    """
    if os.path.lexists(copy):
        raise UsageError(f"cannot write {one_line(str(copy))}: the file exists")
    part = copy.with_name(f"{copy.name}.part")
    try:
        with closing(schema.connect_to_store(store)) as source:
            try:
                _write(source, part)
                part.rename(copy)
            finally:
                part.unlink(missing_ok=True)
        files.sync_directory(copy.parent)
    except (sqlite3.Error, OSError, ValueError) as error:
        reason = (
            schema.reason(store, error) if isinstance(error, sqlite3.Error) else os_reason(error)
        )
        raise UsageError(
            f"cannot copy the session store {one_line(str(store))} to {one_line(str(copy))}:"
            f" {reason}"
        ) from error


def _write(source: sqlite3.Connection, part: Path) -> None:
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, files.FILE_MODE)
    try:
        with closing(sqlite3.connect(part)) as target:
            source.backup(target)
            (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"it is damaged: {found}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
