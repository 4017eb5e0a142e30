r"""The files of a spool: segments of records `crc32 line\n`, and the reader's position in them.

Reads only, and needs no lock: the checksum shows whether a record is complete.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable.directory import has_version

NOUN = "spool"
VERSION = 1
"""The version of the files in a spool; spools older than versions have no file `version`."""

READ_BYTES = 1024 * 1024
HEADER_BYTES = 9
FRAME_BYTES = HEADER_BYTES + 1
"""The size of a record without its line."""
HEADER = re.compile(rb"(?=[0-9a-f]{8} )")
CURSOR = "cursor"
_POSITION = re.compile(rb"([0-9]{1,18}) ([0-9]{1,18})")
SEGMENT_NAME = re.compile(r"([0-9]{12}|[1-9][0-9]{12,17})\.log")


class Position(NamedTuple):
    """A position in the spool: segment number and byte offset."""

    segment: int
    offset: int


class Batch(NamedTuple):
    """Lines, oldest first, the position behind each, and behind all of them.

    The positions are plain pairs: a `Position` for every line would slow a drain.
    """

    lines: list[bytes]
    ends: list[tuple[int, int]]
    end: Position


def record(line: bytes) -> bytes:
    """Return the record of a line; a newline in it is stored as a NUL."""
    stored = line.replace(b"\n", b"\0")
    return b"%08x %b\n" % (zlib.crc32(stored), stored)


def line_of(record: bytes) -> bytes | None:
    """Return the stored line of a record, None if the record is damaged."""
    line = record[HEADER_BYTES:]
    return line if record[:HEADER_BYTES] == b"%08x " % zlib.crc32(line) else None


def restored(line: bytes) -> bytes:
    """Return a stored line as it was accepted."""
    return line.replace(b"\0", b"\n")


def intact_end(record: bytes) -> bytes | None:
    """Return the line of a sound record behind a damaged one that lost its newline.

    An empty line does not count: garbage may end in its checksum, zeros.
    """
    for match in HEADER.finditer(record, 1):
        if line := line_of(record[match.start() :]):
            return line
    return None


def sound_line(record: bytes) -> bytes | None:
    """Return the line of a record, or of a sound record at its end."""
    line = line_of(record)
    return intact_end(record) if line is None else line


def collect(start: Position, data: bytes, most: int, batch: Batch) -> list[Position]:
    """Add the sound lines of a segment's data to a batch, up to `most`; return where damage ends.

    A stray newline breaks one record into two pieces: one damage.
    """
    number, offset = start
    lines, ends, damage = batch.lines, batch.ends, []
    sound, first, at, crc32, view = True, len(lines), 0, zlib.crc32, memoryview(data)
    while len(lines) < most and (end := data.find(b"\n", at)) >= 0:
        body = at + HEADER_BYTES
        if data[at:body] == b"%08x " % crc32(view[body:end]):
            line: bytes | None = data[body:end]
        else:
            if sound or HEADER.match(data, at, end):
                damage.append(Position(number, offset + end + 1))
            line = intact_end(data[at:end])
        at, sound = end + 1, line is not None
        if line is not None:
            lines.append(line)
            ends.append((number, offset + at))
    if b"\0" in data:
        lines[first:] = map(restored, lines[first:])
    return damage


def count(path: Path, offset: int) -> int:
    """Count the records of a segment behind an offset."""
    with path.open("rb") as file:
        file.seek(offset)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(READ_BYTES), b""))


def segments(directory: Path) -> list[tuple[int, Path]]:
    """Return the segments of a spool, numbered, the oldest first; raises `OSError`."""
    found = ((SEGMENT_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


class Survey(NamedTuple):
    """The contents of a spool: number of waiting lines, bytes, and the first line."""

    pending: int
    size_bytes: int
    first: bytes | None


def survey(directory: Path) -> Survey:
    """Inspect a spool without its lock and without changing it, also while it is in use."""
    pending, size_bytes, first = 0, 0, None
    for size, found in _waiting(directory):
        pending, size_bytes = pending + len(found), size_bytes + size
        first = first or next(filter(None, map(sound_line, found)), None)
    return Survey(pending, size_bytes, first)


def lines(directory: Path) -> Iterator[bytes]:
    """Yield the sound waiting lines of a spool, without its lock."""
    for _size, found in _waiting(directory):
        yield from (restored(line) for line in map(sound_line, found) if line is not None)


def _waiting(directory: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the size of each segment and its waiting records; nothing without a spool."""
    has_version(directory, NOUN, VERSION)
    cursor = stored_cursor(directory)
    try:
        found = segments(directory)
    except FileNotFoundError:
        return
    for number, path in found:
        if number < cursor.segment:
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue  # delivered meanwhile
        start = cursor.offset if number == cursor.segment else 0
        yield len(data), data[start if start <= len(data) else 0 :].split(b"\n")[:-1]


class Dropped(NamedTuple):
    """How many lines a spool has dropped since it was created, and when it last did (Unix)."""

    lines: int
    time: int


def stored_dropped(directory: Path) -> Dropped:
    """Return the count of dropped lines on disk, zeros if there is no readable one."""
    try:
        stored = line_of((directory / "dropped").read_bytes().rstrip(b"\n"))
        lines, time = map(int, (stored or b"0 0").split())
    except (OSError, ValueError):
        return Dropped(0, 0)
    return Dropped(max(lines, 0), max(time, 0))


def stored_cursor(directory: Path) -> Position:
    """Return the committed cursor; a damaged one means an earlier one, or the start.

    Then lines are repeated.
    """
    try:
        records = (directory / CURSOR).read_bytes().split(b"\n")
    except OSError:
        return Position(0, 0)
    for record in reversed(records):
        if found := _POSITION.fullmatch(line_of(record) or b""):
            return Position(int(found[1]), int(found[2]))
    return Position(0, 0)
