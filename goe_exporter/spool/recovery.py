"""Find the segments of a spool, repair torn records, and set unreadable segments aside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable import files
from goe_exporter.logs import logger
from goe_exporter.spool import segments
from goe_exporter.spool.segment import Segment
from goe_exporter.spool.segments import Position

MAX_SET_ASIDE = 64
"""Maximum number of unreadable segments that are kept."""

_log = logger(__name__)


class Recovered(NamedTuple):
    """The segments on disk by number, the cursor, the newest number, and unreadable records."""

    segments: dict[int, Segment]
    cursor: Position
    newest: int
    damaged: int


def recovered(directory: Path, base: int, is_lost: Callable[[Path, OSError], bool]) -> Recovered:
    """Return the segments on disk by number from `base`, and delete those before the cursor.

    Torn records are repaired, and unreadable segments set aside if they are lost; raises `OSError`
    for others. The records of a lost segment, whose number is unknown, count as one.
    """
    stored = segments.stored_cursor(directory)
    cursor = Position(base + stored.segment, stored.offset)
    newest, damaged = cursor.segment, 0
    found: dict[int, Segment] = {}
    for on_disk, path in segments.segments(directory):
        number = base + on_disk
        if number < cursor.segment:
            path.unlink()
            continue
        newest = max(newest, number)
        try:
            data = path.read_bytes()
        except OSError as error:
            if not is_lost(path, error):
                raise
            damaged += 1
            set_aside(path, error)
            continue
        data, torn = repaired(path, data)
        damaged += torn
        start = cursor.offset if number == cursor.segment else 0
        if start > len(data):
            start, cursor = 0, Position(number, 0)
        found[number] = Segment(path, len(data), data.count(b"\n", start))
    return Recovered(found, cursor, newest, damaged)


def repaired(path: Path, data: bytes) -> tuple[bytes, bool]:
    """Cut off a torn last record, or end it if only its newline is missing.

    A sound record behind a damaged one without a newline is ended too. Return the segment's bytes,
    and whether a record was lost. If the repair cannot be written, the file stays as it is: readers
    skip a record without its end.
    """
    sound, tail = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
    if not tail:
        return data, False
    whole = segments.sound_line(tail) is not None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            if whole:
                files.write(descriptor, b"\n")
            else:
                os.ftruncate(descriptor, len(sound))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _log.warning("torn record not repaired", file=str(path), error=str(error))
        return sound, not whole
    return (data + b"\n", False) if whole else (sound, True)


def set_aside(path: Path, error: OSError) -> None:
    """Rename an unreadable segment, and keep only the last of them."""
    _log.warning("unreadable segment set aside", file=str(path), error=str(error))
    with contextlib.suppress(OSError):
        for older in sorted(path.parent.glob("*.log.bad"))[: 1 - MAX_SET_ASIDE or None]:
            older.unlink()
    with contextlib.suppress(OSError):
        path.rename(path.with_suffix(".log.bad"))
