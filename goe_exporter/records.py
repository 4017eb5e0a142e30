r"""The files of a spool: segments of records `crc32 line\n`, and the reader's place in them.

Reads, never writes, and needs no lock: what is half written is told from what is whole by its
checksum.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import NamedTuple

READ_BYTES = 1024 * 1024
HEADER_BYTES = 9
HEADER = re.compile(rb"(?=[0-9a-f]{8} )")
SEGMENT_NAME = re.compile(r"([0-9]{12})\.log")


class Position(NamedTuple):
    """A place in the spool: segment number and byte offset in it."""

    segment: int
    offset: int


def record(line: bytes) -> bytes:
    """Return the record of a line; a newline in it is stored as a NUL."""
    stored = line.replace(b"\n", b"\0")
    return b"%08x %b\n" % (zlib.crc32(stored), stored)


def line_of(record: bytes) -> bytes | None:
    """Return the line of a record, None if it is damaged."""
    line = record[HEADER_BYTES:]
    return line if record[:HEADER_BYTES] == b"%08x " % zlib.crc32(line) else None


def intact_end(record: bytes) -> bytes | None:
    """Return the sound record that follows a damaged one whose newline was lost."""
    for match in HEADER.finditer(record, 1):
        line = line_of(record[match.start() :])
        if line is not None:
            return line
    return None


def count(path: Path, offset: int) -> int:
    """Count the records of a segment behind an offset."""
    with path.open("rb") as file:
        file.seek(offset)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(READ_BYTES), b""))


class Survey(NamedTuple):
    """What a spool holds, as seen by a passer-by: lines waiting, bytes, and the first line."""

    pending: int
    size_bytes: int
    first: bytes | None


def survey(directory: Path) -> Survey:
    """Look at a spool without its lock and without changing it, also while it is in use."""
    cursor = stored_cursor(directory)
    pending, size_bytes, first = 0, 0, None
    for path in sorted(directory.glob("*.log")):
        match = SEGMENT_NAME.fullmatch(path.name)
        if match is None or int(match[1]) < cursor.segment:
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # delivered meanwhile
        size_bytes += len(data)
        start = cursor.offset if int(match[1]) == cursor.segment else 0
        start = start if start <= len(data) else 0
        records = data[start:].split(b"\n")[:-1]
        pending += len(records)
        first = first or next(filter(None, map(line_of, records)), None)
    return Survey(pending, size_bytes, first)


def stored_cursor(directory: Path) -> Position:
    """Return the committed cursor; a damaged one means the start, and a repeat."""
    try:
        stored = line_of((directory / "cursor").read_bytes().rstrip(b"\n"))
        segment, offset = map(int, (stored or b"0 0").split())
    except (OSError, ValueError):
        return Position(0, 0)
    return Position(segment, offset)
