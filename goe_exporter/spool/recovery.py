"""Repair segments that end in a torn record, and set unreadable ones aside."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.logs import logger
from goe_exporter.spool import segments

_log = logger(__name__)


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
        for older in path.parent.glob("*.log.bad"):
            older.unlink()
    with contextlib.suppress(OSError):
        path.rename(path.with_suffix(".log.bad"))
