r"""A queue of lines on disk that loses nothing it has taken: not by kill, power cut or damage.

A spool is a directory of append-only segments `NNNNNNNNNNNN.log`, each record
`crc32 line\n`. A line counts as taken once it is written and `fdatasync`ed. The reader's place is
in the file `cursor`, committed (tmp, fsync, rename, fsync of the directory) before a segment that
was delivered is deleted. The whole is bounded: beyond `limit_bytes`, or on a full disk, the oldest
whole segment goes, and its lines are counted. Knows nothing of what a line says.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import zlib
from pathlib import Path
from typing import NamedTuple

from goe_exporter import records
from goe_exporter.errors import UsageError
from goe_exporter.records import Position

LARGEST_SEGMENT_BYTES = 1024 * 1024
SMALLEST_SEGMENT_BYTES = 4096
LONGEST_LINE_BYTES = 1024 * 1024

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Batch(NamedTuple):
    """Lines as they were taken, oldest first, the place behind each, and behind all of them.

    The places are plain pairs, of which a drain makes too many for more.
    """

    lines: list[bytes]
    ends: list[tuple[int, int]]
    end: Position


class _Segment:
    """A segment file: how long it is and how many records it holds behind the cursor."""

    def __init__(self, path: Path, size: int, records: int) -> None:
        self.path = path
        self.size = size
        self.records = records


class Spool:
    """The spool in `directory`, at most `limit_bytes` on disk; a second opener is refused.

    `append` may be called by many threads, `read` and `commit` by one. `dropped` counts lines
    that went to keep the bound, `damaged` records that were unreadable.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Open or make the spool, and mend what a kill or a power cut left.

        Raises `UsageError` if the directory cannot be used or another process uses it.
        """
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.dropped = 0
        self.damaged = 0
        self._segment_bytes = min(
            max(limit_bytes // 16, SMALLEST_SEGMENT_BYTES), LARGEST_SEGMENT_BYTES
        )
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._written = 0
        self._synced = 0
        self._fd: int | None = None
        self._lock_fd: int | None = _locked(directory)
        self._segments: dict[int, _Segment] = {}
        try:
            self._cursor = self._recover()
        except OSError as error:
            self.close()
            raise UsageError(f"cannot use the spool {directory}: {error}") from error
        self._inspected = self._cursor

    @property
    def pending(self) -> int:
        """How many lines wait."""
        return sum(segment.records for segment in list(self._segments.values()))

    @property
    def size_bytes(self) -> int:
        """How much the segments take on disk."""
        return sum(segment.size for segment in list(self._segments.values()))

    def append(self, line: bytes) -> bool:
        """Take one line (without a NUL in it) for good; False if it had to be dropped.

        A newline in it is stored as a NUL. Threads that come at once share one `fdatasync`.
        """
        record = records.record(line)
        with self._write:
            if len(line) > LONGEST_LINE_BYTES or not self._put(record):
                self.dropped += 1
                return False
            self._written += 1
            mine = self._written
        with self._sync:
            if self._synced < mine:
                with self._write:
                    if self._fd is None:
                        return False  # its segment went on a full disk, and was counted
                    # A copy, for another thread may close this one to begin the next segment.
                    target, descriptor = self._written, os.dup(self._fd)
                try:
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
                self._synced = max(self._synced, target)
        return True

    def read(self, most: int) -> Batch:
        """Return up to `most` of the oldest lines, skipping and counting damaged records.

        Reading again without a commit gives the same lines.
        """
        lines: list[bytes] = []
        ends: list[tuple[int, int]] = []
        with self._write:
            end = self._cursor
            numbers = sorted(number for number in self._segments if number >= end.segment)
            sizes = {number: self._segments[number].size for number in numbers}
        for number in numbers:
            if len(lines) >= most:
                break
            start = end.offset if number == end.segment else 0
            data = self._data(number, start, sizes[number])
            self._take(Position(number, start), data, most, lines, ends)
            whole = len(lines) < most
            end = Position(number, start + len(data)) if whole else Position(*ends[-1])
        self._inspected = max(self._inspected, end)
        return Batch(lines, ends, end)

    def commit(self, end: tuple[int, int]) -> None:
        """Let go of everything before `end` (a position): it was delivered."""
        end = Position(*end)
        with self._write:
            if end <= self._cursor:
                return
            self._move_cursor(end)
            done = [number for number in self._segments if number < end.segment]
            for number in done:
                self._segments.pop(number).path.unlink(missing_ok=True)
            segment = self._segments.get(end.segment)
            if segment is None:
                return
            if end.offset >= segment.size and end.segment != self._last():
                self._segments.pop(end.segment).path.unlink(missing_ok=True)
            elif end.offset >= segment.size:
                segment.records = 0
            else:
                segment.records = records.count(segment.path, end.offset)

    def close(self) -> None:
        """Release the files and the directory; everything taken is on disk already."""
        with self._sync, self._write:
            if self._fd is not None:
                os.fdatasync(self._fd)
                self._synced = self._written
                os.close(self._fd)
                self._fd = None
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None

    def _put(self, record: bytes) -> bool:
        """Write a record, making room as needed; False if there is none to be made."""
        if len(record) > self.limit_bytes:
            return False
        while self.size_bytes + len(record) > self.limit_bytes:
            if not self._drop_oldest():
                return False
        while True:
            try:
                self._write_whole(record)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                if not self._drop_oldest():
                    return False
            else:
                return True

    def _write_whole(self, record: bytes) -> None:
        """Write a record to the last segment, or nothing of it."""
        last = self._segments.get(self._last())
        if self._fd is None or last is None or last.size + len(record) > self._segment_bytes:
            last = self._begin_segment()
        assert self._fd is not None
        written = 0
        try:
            while written < len(record):
                written += os.write(self._fd, record[written:])
        except OSError:
            os.ftruncate(self._fd, last.size)
            raise
        last.size += len(record)
        last.records += 1

    def _begin_segment(self) -> _Segment:
        number = max(self._last(), self._cursor.segment) + 1
        path = self._path(number)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        if self._fd is not None:
            os.fdatasync(self._fd)
            self._synced = self._written
            os.close(self._fd)
        self._fd = descriptor
        self._segments[number] = _Segment(path, 0, 0)
        _sync_directory(self.directory)
        return self._segments[number]

    def _drop_oldest(self) -> bool:
        """Delete the oldest segment with all its lines; False if that would make no room."""
        if not self.size_bytes:
            return False
        number = min(self._segments)
        segment = self._segments.pop(number)
        if not self._segments and self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._synced = self._written
        self.dropped += segment.records
        segment.path.unlink(missing_ok=True)
        if self._cursor.segment <= number:
            # In memory only: a cursor before the first segment means its start.
            self._cursor = Position(number + 1, 0)
        return True

    def _data(self, number: int, start: int, size: int) -> bytes:
        """Return a segment from `start` to `size`; nothing if it was dropped meanwhile."""
        try:
            with self._path(number).open("rb") as file:
                file.seek(start)
                return file.read(max(size - start, 0))
        except FileNotFoundError:
            return b""

    def _take(
        self,
        start: Position,
        data: bytes,
        most: int,
        lines: list[bytes],
        ends: list[tuple[int, int]],
    ) -> None:
        """Add the sound lines of a segment's data, and the place behind each, up to `most`."""
        number, offset = start
        sound, first, at, crc32, view = True, len(lines), 0, zlib.crc32, memoryview(data)
        while len(lines) < most and (end := data.find(b"\n", at)) >= 0:
            body = at + records.HEADER_BYTES
            if data[at:body] == b"%08x " % crc32(view[body:end]):
                line: bytes | None = data[body:end]
            else:
                # A stray newline breaks one record into two pieces: counted once.
                new = Position(number, offset + end + 1) > self._inspected
                self.damaged += new and (sound or records.HEADER.match(data, at, end) is not None)
                line = records.intact_end(data[at:end])
            at, sound = end + 1, line is not None
            if line is not None:
                lines.append(line)
                ends.append((number, offset + at))
        if b"\0" in data:
            lines[first:] = [line.replace(b"\0", b"\n") for line in lines[first:]]

    def _recover(self) -> Position:
        """Read what is there: mend torn tails, count what waits, find the cursor."""
        numbers = sorted(
            int(match[1])
            for path in self.directory.iterdir()
            if (match := records.SEGMENT_NAME.fullmatch(path.name))
        )
        cursor = records.stored_cursor(self.directory)
        for number in numbers:
            path = self._path(number)
            if number < cursor.segment:
                path.unlink()
                continue
            size = self._mend_tail(path)
            start = cursor.offset if number == cursor.segment else 0
            if start > size:
                start, cursor = 0, Position(number, 0)
            self._segments[number] = _Segment(path, size, records.count(path, start))
        return cursor

    def _mend_tail(self, path: Path) -> int:
        """Cut a record that was torn, or end it if only its newline is missing."""
        data = path.read_bytes()
        tail = data[data.rfind(b"\n") + 1 :]
        if not tail:
            return len(data)
        with path.open("r+b") as file:
            if records.line_of(tail) is not None:
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
                size = len(data) + 1
            else:
                size = len(data) - len(tail)
                file.truncate(size)
                self.damaged += 1
            file.flush()
            os.fsync(file.fileno())
        return size

    def _move_cursor(self, end: Position) -> None:
        line = b"%d %d" % end
        temporary = self.directory / "cursor.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(b"%08x %b\n" % (zlib.crc32(line), line))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.directory / "cursor")
            _sync_directory(self.directory)
        except OSError as error:
            # On a full disk the cursor stays behind: the batch is repeated after a restart.
            if error.errno not in _DISK_FULL:
                raise
            temporary.unlink(missing_ok=True)
        self._cursor = end

    def _last(self) -> int:
        return max(self._segments, default=0)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:012}.log"


def _locked(directory: Path) -> int:
    """Make the directory and take its lock for this process."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise UsageError(f"cannot use the spool {directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UsageError(
            f"the spool {directory} is in use by another process; give each its own directory"
        ) from None
    return descriptor


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
