r"""A queue of lines on disk that loses nothing it has taken: not by kill, power cut or damage.

A spool is a directory of append-only segments `NNNNNNNNNNNN.log`, each record
`crc32 line\n`. A line counts as taken once it is written and `fdatasync`ed. The reader's place is
in the file `cursor`, committed (tmp, fsync, rename, fsync of the directory) before a segment that
was delivered is deleted. The whole is bounded: beyond `limit_bytes`, or on a full disk, the oldest
whole segment goes, and its lines are counted. Where the directory cannot be used, because somebody
moved it or its file system was unmounted, segments are kept in memory until it can. Knows nothing
of what a line says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.errors import UsageError
from goe_exporter.logs import logger
from goe_exporter.spool import recovery, segments
from goe_exporter.spool.directory import Directory, leads_to
from goe_exporter.spool.segments import Batch, Position

LARGEST_SEGMENT_BYTES = 1024 * 1024
SMALLEST_SEGMENT_BYTES = 4096
LONGEST_LINE_BYTES = 1024 * 1024
MEMORY_BYTES = 8 * 1024 * 1024
"""Most that waits in memory while the directory cannot be used."""

SAVE_SECONDS = 60.0
"""Least time between two writes of the count of dropped lines."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
"""What the system lacks at the moment is no fault of a file."""

_log = logger(__name__)


class _Segment:
    """A segment: its size and how many records it holds behind the cursor.

    One in memory has no `path`, and its bytes are `data`.
    """

    def __init__(self, path: Path | None, size: int = 0, records: int = 0) -> None:
        self.path = path
        self.size = size
        self.records = records
        self.data = bytearray()

    def read(self, start: int, size: int) -> bytes:
        """Return the bytes from `start` to `size`."""
        if self.path is None:
            return bytes(self.data[start:size])
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(max(size - start, 0))

    def count(self, offset: int) -> int:
        """Return how many records there are behind an offset."""
        if self.path is None:
            return self.data.count(b"\n", offset)
        return segments.count(self.path, offset)

    def delete(self) -> None:
        """Delete the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Spool:
    """The spool in `directory`, at most `limit_bytes` on disk; a second opener is refused.

    `append` may be called by many threads, `read` and `commit` by one. `dropped` counts lines
    that went to keep the bound or with their file, `damaged` records that were unreadable.
    `unavailable` says why the directory cannot be used at the moment, "" if it can. After `close`
    nothing on disk changes any more, whoever calls.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Open or make the spool, and mend what a kill or a power cut left.

        Raises `UsageError` if the directory cannot be used, another process uses it, or a newer
        release wrote it.
        """
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.dropped = 0
        self.damaged = 0
        self.unavailable = ""
        self._segment_bytes = min(
            max(limit_bytes // 16, SMALLEST_SEGMENT_BYTES), LARGEST_SEGMENT_BYTES
        )
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._lent: Sequence[tuple[int, int]] = ()
        self._adrift: list[tuple[int, int]] = []
        self._written = 0
        self._synced = 0
        self._closed = False
        self._dropped_on_disk = 0
        self._saved_at: float | None = None
        self._home: Directory | None = None
        self._mount_point: Path | None = None
        self._fd: int | None = None
        self._segments: dict[int, _Segment] = {}
        # Numbers rise from one directory to the next, so a place in an earlier one means nothing
        # in a later one. On disk they begin at `_base`.
        self._base = 0
        self._newest = -1
        self._cursor = self._inspected = Position(0, 0)
        self._open()

    @property
    def pending(self) -> int:
        """How many lines wait."""
        return sum(segment.records for segment in list(self._segments.values()))

    @property
    def size_bytes(self) -> int:
        """How much the segments take on disk."""
        return sum(segment.size for segment in list(self._segments.values()))

    @property
    def full(self) -> bool:
        """Whether the oldest lines are about to be dropped for new ones, or were just now."""
        return self.size_bytes + 2 * self._segment_bytes > self._limit

    @property
    def _limit(self) -> int:
        return self.limit_bytes if self._home else min(self.limit_bytes, MEMORY_BYTES)

    @property
    def end(self) -> Position:
        """The place behind the line that was taken last."""
        with self._write:
            last = self._segments.get(self._newest)
            return Position(self._newest, last.size if last else 0)

    def append(self, line: bytes) -> bool:
        """Take one line (without a NUL in it) for good; False if it had to be dropped.

        A newline in it is stored as a NUL. Threads that come at once share one `fdatasync`.
        An `OSError` of the write costs the line, counted; one of the sync leaves it waiting.
        """
        with self._write:
            self._attend()
            try:
                taken = len(line) <= LONGEST_LINE_BYTES and self._put(segments.record(line))
            except OSError:
                self.dropped += 1
                raise
            self.dropped += not taken
            self._save_dropped()
            mine = self._written
        return taken and self._synchronise(mine)

    def extend(self, lines: Iterable[bytes], *, make_room: bool = True) -> int:
        """Take lines with one sync; return how many were taken.

        Without `make_room` nothing is dropped for them: it ends at the first that does not fit.
        """
        taken = 0
        with self._write:
            self._attend()
            for line in lines:
                if self._put(segments.record(line), make_room=make_room):
                    taken += 1
                elif make_room:
                    self.dropped += 1
                else:
                    break
            self._save_dropped()
            mine = self._written
        self._synchronise(mine)
        return taken

    def bound(self, limit_bytes: int) -> None:
        """Set the limit and keep to it at once."""
        with self._write:
            self.limit_bytes = limit_bytes
            while self.size_bytes > limit_bytes and self._drop_oldest():
                pass
            self._save_dropped()

    def attend(self) -> None:
        """Look whether the directory is still in place, or is back; every other call does too."""
        with self._write:
            self._attend()

    def read(self, most: int) -> Batch:
        """Return up to `most` of the oldest lines, skipping and counting damaged records.

        Reading again without a commit gives the same lines. Raises `OSError` where the system
        cannot open files just now.
        """
        with self._write:
            self._attend()
            end = self._cursor
            numbers = sorted(number for number in self._segments if number >= end.segment)
            sizes = {number: self._segments[number].size for number in numbers}
        batch = Batch([], [], end)
        for number in numbers:
            if len(batch.lines) >= most:
                break
            start = Position(number, end.offset if number == end.segment else 0)
            data = self._data(start, sizes[number])
            damage = segments.collect(start, data, most, batch)
            self.damaged += sum(place > self._inspected for place in damage)
            whole = len(batch.lines) < most
            end = Position(number, start.offset + len(data)) if whole else Position(*batch.ends[-1])
        self._inspected = max(self._inspected, end)
        return batch._replace(end=end)

    def newest(self) -> bytes | None:
        """Return the line that was taken last, if it waits."""
        with self._write:
            waiting = [number for number, segment in self._segments.items() if segment.records]
            if not waiting:
                return None
            number = max(waiting)
            size = self._segments[number].size
        last = self._data(Position(number, 0), size).rstrip(b"\n").rpartition(b"\n")[2]
        line = segments.line_of(last)
        return line and segments.restored(line)

    def lend(self, ends: Sequence[tuple[int, int]]) -> int:
        """Say which lines (the places behind them) are on their way now; the earlier ones are not.

        One that is dropped on its way counts as dropped only if it is not committed either.
        Return how many of the first were dropped since they were read.
        """
        with self._write:
            self.dropped += len(self._adrift)
            gone = bisect_right(ends, self._cursor)
            self._lent, self._adrift = ends[gone:], []
        return gone

    def commit(self, end: tuple[int, int]) -> None:
        """Let go of everything before `end` (a position): it was delivered."""
        end = Position(*end)
        with self._write:
            self._lent = self._lent[bisect_right(self._lent, end) :]
            self._adrift = self._adrift[bisect_right(self._adrift, end) :]
            self._attend()
            if not self._closed and end > self._cursor:
                self._let_go(end)

    def _let_go(self, end: Position) -> None:
        """Move the cursor and delete what lies before it."""
        self._move_cursor(end)
        done = [number for number in self._segments if number < end.segment]
        for number in done:
            self._segments.pop(number).delete()
        segment = self._segments.get(end.segment)
        if segment is None:
            return
        if end.offset >= segment.size and end.segment != self._newest:
            self._segments.pop(end.segment).delete()
        elif end.offset >= segment.size:
            segment.records = 0
        else:
            # What cannot be read is seen to when it is read next.
            with contextlib.suppress(OSError):
                segment.records = segment.count(end.offset)

    def close(self) -> None:
        """Release the files and the directory; everything taken is on disk, if that can be used."""
        with self._sync, self._write:
            if self._closed:
                return
            if self._segments:
                self._attend()
            self._save_dropped(at_once=True)
            self._closed = True
            if self._home is None:
                self._lose_memory()
                return
            try:
                self._end_segment()
            finally:
                self._home.close()

    def _synchronise(self, mine: int) -> bool:
        """Wait until the write with this number is on disk; False if its segment is gone."""
        with self._sync:
            if self._synced >= mine:
                return True
            with self._write:
                if self._fd is None:
                    return False  # on a full disk, and was counted
                # A copy, for another thread may close this one to begin the next segment.
                target, descriptor = self._written, os.dup(self._fd)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self._synced = max(self._synced, target)
        return True

    def _put(self, record: bytes, *, make_room: bool = True) -> bool:
        """Write a record, making room if allowed; False if there is none to be made."""
        if self._closed or len(record) > self._limit:
            return False
        while self.size_bytes + len(record) > self._limit:
            if not make_room or not self._drop_oldest():
                return False
        while True:
            try:
                self._write_whole(record)
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                if not make_room or not self._drop_oldest():
                    return False
            else:
                self._written += 1
                if self._home is None:
                    self._synced = self._written
                return True

    def _write_whole(self, record: bytes) -> None:
        """Write a record to the last segment, or nothing of it."""
        last = self._segments.get(self._newest)
        begun = self._home is None or self._fd is not None
        if not begun or last is None or last.size + len(record) > self._segment_bytes:
            last = self._begin_segment()
        if self._fd is None:
            last.data += record
        else:
            try:
                files.write(self._fd, record)
            except OSError:
                os.ftruncate(self._fd, last.size)
                raise
        last.size += len(record)
        last.records += 1

    def _begin_segment(self) -> _Segment:
        self._end_segment()
        path = None if self._home is None else self._path(self._newest + 1)
        if path is not None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, files.FILE_MODE)
            try:
                files.sync_directory(self.directory)
            except OSError:
                os.close(descriptor)
                raise
            self._fd = descriptor
        self._newest += 1
        segment = self._segments[self._newest] = _Segment(path)
        return segment

    def _end_segment(self) -> None:
        """Sync and close the segment that is written to; closed it is in any case."""
        if self._fd is None:
            return
        descriptor, self._fd = self._fd, None
        try:
            os.fdatasync(descriptor)
            self._synced = self._written
        finally:
            os.close(descriptor)

    def _drop_oldest(self) -> bool:
        """Delete the oldest segment with all its lines; False if that would make no room."""
        if not self.size_bytes:
            return False
        number = min(self._segments)
        segment = self._segments[number]
        self.dropped += self._forget(number)
        segment.delete()
        if self._cursor.segment <= number:
            # In memory only: a cursor before the first segment means its start.
            self._cursor = Position(number + 1, 0)
        return True

    def _forget(self, number: int) -> int:
        """Leave a segment out from now on; return how many of its lines waited, and are lost."""
        if number == self._newest and self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._synced = self._written
        segment = self._segments.pop(number, None)
        on_their_way = [end for end in self._lent if end[0] == number and end > self._cursor]
        self._adrift += on_their_way
        return max(segment.records - len(on_their_way), 0) if segment else 0

    def _data(self, start: Position, size: int) -> bytes:
        """Return a segment from `start` to `size`; nothing if it is gone or cannot be read."""
        segment = self._segments.get(start.segment)
        if segment is None:
            return b""  # dropped meanwhile
        try:
            return segment.read(start.offset, size)
        except FileNotFoundError:
            with self._write:
                self._attend()
                self.dropped += self._forget(start.segment)  # 0 if it was dropped meanwhile
        except OSError as error:
            if error.errno in _PASSING:
                raise
            with self._write:
                self.damaged += self._forget(start.segment)
                assert segment.path is not None
                recovery.set_aside(segment.path, error)
        return b""

    def _attend(self) -> None:
        """Leave a directory that is no longer in its place, and open the one that is there now."""
        if self._closed or (self._home is not None and self._in_place(self._home)):
            return
        if self._home is not None:
            self._leave(self._home)
        try:
            self._open()
        except UsageError as error:
            if not self.unavailable:
                _log.warning("spool unavailable, points wait in memory", reason=str(error))
            self.unavailable = str(error)

    def _in_place(self, home: Directory) -> bool:
        """Return whether the directory and the segment that is written to are at their paths."""
        if not home.in_place():
            return False
        return self._fd is None or leads_to(self._path(self._newest), self._fd)

    def _leave(self, home: Directory) -> None:
        """Let go of a directory. Its lines are lost if they were deleted, not if it was moved."""
        with contextlib.suppress(OSError):
            self._end_segment()
        waiting, found_at = self.pending, home.found_at()
        if home.at_its_path():
            gone = [n for n in self._segments if not self._path(n).exists()]
        else:
            gone = [*self._segments] if home.deleted() else []
        lost = sum(map(self._forget, gone))
        self.dropped += lost
        if gone or home.deleted():
            _log.warning("spool deleted", directory=str(self.directory), lost=lost)
        elif found_at is None:
            _log.warning("spool unmounted", directory=str(self.directory), points=waiting)
        elif not home.at_its_path():
            _log.warning("spool moved", directory=str(self.directory), to=str(found_at),
                         points=waiting)  # fmt: skip
        home.close()
        self._home, self._lent = None, ()
        self._segments = {}
        self._newest += 1
        self._cursor = Position(self._newest, 0)

    def _open(self) -> None:
        """Open the directory, and move into it what waits in memory; raises `UsageError`."""
        home = Directory(self.directory, self._mount_point)
        base = self._newest + 1
        try:
            segments, cursor, newest = self._recovered(base)
        except OSError as error:
            home.close()
            raise UsageError(f"cannot use the spool {self.directory}: {error.strerror}") from error
        kept = self._in_memory()
        self._home, self._mount_point, self._base = home, home.mount_point, base
        self._segments, self._newest = segments, newest
        self._cursor = self._inspected = cursor
        if self.unavailable:
            _log.info("spool available again", directory=str(self.directory), points=len(kept))
            self.unavailable = ""
        for record in kept:
            self._put_back(record)
        if kept:
            with contextlib.suppress(OSError):
                self._end_segment()

    def _put_back(self, record: bytes) -> None:
        """Write what waited in memory to disk, or drop it."""
        try:
            taken = self._put(record)
        except OSError as error:
            _log.warning("spool fails", error=str(error))
            taken = False
        self.dropped += not taken

    def _in_memory(self) -> list[bytes]:
        """Return the records in memory that were not delivered."""
        found: list[bytes] = []
        for number, segment in sorted(self._segments.items()):
            start = self._cursor.offset if number == self._cursor.segment else 0
            data = segment.read(start, segment.size)
            found += (record + b"\n" for record in data.split(b"\n")[:-1])
        return found

    def _lose_memory(self) -> None:
        """Count what waits in memory, as the process ends."""
        lost = self.pending
        self.dropped += lost
        if lost:
            _log.warning("points in memory lost", directory=str(self.directory), lost=lost)

    def _recovered(self, base: int) -> tuple[dict[int, _Segment], Position, int]:
        """Read what is on disk: mend torn tails, count what waits, find the cursor.

        Return the segments by their numbers, which begin at `base`, the cursor, and the highest
        number that was given.
        """
        stored = segments.stored_cursor(self.directory)
        cursor = Position(base + stored.segment, stored.offset)
        newest = cursor.segment
        found: dict[int, _Segment] = {}
        for on_disk, path in segments.segments(self.directory):
            number = base + on_disk
            if number < cursor.segment:
                path.unlink()
                continue
            newest = max(newest, number)
            try:
                data = path.read_bytes()
            except OSError as error:
                if isinstance(error, PermissionError) or error.errno in _PASSING:
                    raise
                self.damaged += 1  # how many it were nobody knows
                recovery.set_aside(path, error)
                continue
            data, torn = recovery.mended(path, data)
            self.damaged += torn
            start = cursor.offset if number == cursor.segment else 0
            if start > len(data):
                start, cursor = 0, Position(number, 0)
            found[number] = _Segment(path, len(data), data.count(b"\n", start))
        return found, cursor, newest

    def _move_cursor(self, end: Position) -> None:
        if self._home is not None:
            line = b"%d %d" % (end.segment - self._base, end.offset)
            try:
                files.replace(self.directory / "cursor", segments.record(line))
            except OSError as error:
                # On a full or deleted disk it stays behind: the batch is repeated after a restart.
                if error.errno not in (*_DISK_FULL, *_PASSING, errno.ENOENT):
                    raise
        self._cursor = end

    def _save_dropped(self, *, at_once: bool = False) -> None:
        """Add the lines dropped since to the count on disk, at most once a minute."""
        now = time.monotonic()
        new = self.dropped - self._dropped_on_disk
        due = at_once or self._saved_at is None or now - self._saved_at >= SAVE_SECONDS
        if not new or not due or self._closed or self._home is None:
            return
        self._saved_at = now
        total = segments.stored_dropped(self.directory).lines + new
        with contextlib.suppress(OSError):
            files.replace(
                self.directory / "dropped", segments.record(b"%d %d" % (total, time.time()))
            )
            self._dropped_on_disk = self.dropped

    def _path(self, number: int) -> Path:
        return self.directory / f"{number - self._base:012}.log"
