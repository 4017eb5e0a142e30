r"""A queue of lines on disk that loses nothing it has taken: not by kill, power cut or damage.

A spool is a directory of append-only segments `NNNNNNNNNNNN.log`, each record
`crc32 line\n`. A line counts as taken once it is written and `fdatasync`ed. The reader's place is
in the file `cursor`, committed (tmp, fsync, rename, fsync of the directory) before a segment that
was delivered is deleted. The whole is bounded: beyond `limit_bytes`, or on a full disk, the oldest
whole segment goes, and its lines are counted. Knows nothing of what a line says.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.errors import UsageError
from goe_exporter.logs import logger
from goe_exporter.spool import recovery, segments
from goe_exporter.spool.segments import Batch, Position

LARGEST_SEGMENT_BYTES = 1024 * 1024
SMALLEST_SEGMENT_BYTES = 4096
LONGEST_LINE_BYTES = 1024 * 1024

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
"""What the system lacks at the moment is no fault of a file."""

_log = logger(__name__)


class _Segment:
    """A segment file: how long it is and how many records it holds behind the cursor."""

    def __init__(self, path: Path, size: int, records: int) -> None:
        self.path = path
        self.size = size
        self.records = records


class Spool:
    """The spool in `directory`, at most `limit_bytes` on disk; a second opener is refused.

    `append` may be called by many threads, `read` and `commit` by one. `dropped` counts lines
    that went to keep the bound or with their file, `damaged` records that were unreadable. After
    `close` nothing on disk changes any more, whoever calls.
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
        self._lent: Sequence[tuple[int, int]] = ()
        self._adrift: list[tuple[int, int]] = []
        self._written = 0
        self._synced = 0
        self._fd: int | None = None
        self._lock_fd: int | None = files.locked(directory)
        self._segments: dict[int, _Segment] = {}
        self._newest = 0
        try:
            self._cursor = self._recover()
        except OSError as error:
            self.close()
            raise UsageError(f"cannot use the spool {directory}: {error.strerror}") from error
        self._inspected = self._cursor

    @property
    def pending(self) -> int:
        """How many lines wait."""
        return sum(segment.records for segment in list(self._segments.values()))

    @property
    def size_bytes(self) -> int:
        """How much the segments take on disk."""
        return sum(segment.size for segment in list(self._segments.values()))

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
            try:
                taken = len(line) <= LONGEST_LINE_BYTES and self._put(segments.record(line))
            except OSError:
                self.dropped += 1
                raise
            self.dropped += not taken
            mine = self._written
        return taken and self._synchronise(mine)

    def extend(self, lines: Iterable[bytes], *, make_room: bool = True) -> int:
        """Take lines with one sync; return how many were taken.

        Without `make_room` nothing is dropped for them: it ends at the first that does not fit.
        """
        taken = 0
        with self._write:
            for line in lines:
                if self._put(segments.record(line), make_room=make_room):
                    taken += 1
                elif make_room:
                    self.dropped += 1
                else:
                    break
            mine = self._written
        self._synchronise(mine)
        return taken

    def bound(self, limit_bytes: int) -> None:
        """Set the limit and keep to it at once."""
        with self._write:
            self.limit_bytes = limit_bytes
            while self.size_bytes > limit_bytes and self._drop_oldest():
                pass

    def read(self, most: int) -> Batch:
        """Return up to `most` of the oldest lines, skipping and counting damaged records.

        Reading again without a commit gives the same lines. Raises `OSError` where the system
        cannot open files just now.
        """
        with self._write:
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
            if self._lock_fd is not None and end > self._cursor:
                self._let_go(end)

    def _let_go(self, end: Position) -> None:
        """Move the cursor and delete what lies before it."""
        self._move_cursor(end)
        done = [number for number in self._segments if number < end.segment]
        for number in done:
            self._segments.pop(number).path.unlink(missing_ok=True)
        segment = self._segments.get(end.segment)
        if segment is None:
            return
        if end.offset >= segment.size and end.segment != self._newest:
            self._segments.pop(end.segment).path.unlink(missing_ok=True)
        elif end.offset >= segment.size:
            segment.records = 0
        else:
            # What cannot be read is seen to when it is read next.
            with contextlib.suppress(OSError):
                segment.records = segments.count(segment.path, end.offset)

    def close(self) -> None:
        """Release the files and the directory; everything taken is on disk already."""
        with self._sync, self._write:
            try:
                self._end_segment()
            finally:
                if self._lock_fd is not None:
                    os.close(self._lock_fd)
                    self._lock_fd = None

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
        if self._lock_fd is None or len(record) > self.limit_bytes:
            return False
        if self._was_deleted():
            self._restore()
        while self.size_bytes + len(record) > self.limit_bytes:
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
                return True

    def _write_whole(self, record: bytes) -> None:
        """Write a record to the last segment, or nothing of it."""
        last = self._segments.get(self._newest)
        if self._fd is None or last is None or last.size + len(record) > self._segment_bytes:
            last = self._begin_segment()
        assert self._fd is not None
        try:
            files.write(self._fd, record)
        except OSError:
            os.ftruncate(self._fd, last.size)
            raise
        last.size += len(record)
        last.records += 1

    def _begin_segment(self) -> _Segment:
        self._end_segment()
        path = self._path(self._newest + 1)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, files.FILE_MODE)
        try:
            files.sync_directory(self.directory)
        except OSError:
            os.close(descriptor)
            raise
        self._fd = descriptor
        self._newest += 1
        segment = self._segments[self._newest] = _Segment(path, 0, 0)
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
        path = self._segments[number].path
        self.dropped += self._forget(number)
        path.unlink(missing_ok=True)
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
        path = self._path(start.segment)
        try:
            with path.open("rb") as file:
                file.seek(start.offset)
                return file.read(max(size - start.offset, 0))
        except FileNotFoundError:
            with self._write:
                self.dropped += self._forget(start.segment)  # 0 if it was dropped meanwhile
        except OSError as error:
            if error.errno in _PASSING:
                raise
            with self._write:
                self.damaged += self._forget(start.segment)
                recovery.set_aside(path, error)
        return b""

    def _was_deleted(self) -> bool:
        """Tell whether somebody deleted the files that are open here."""
        descriptor = self._lock_fd if self._fd is None else self._fd
        assert descriptor is not None
        return os.fstat(descriptor).st_nlink == 0

    def _restore(self) -> None:
        """Make anew what somebody deleted; what waited there is lost, and counted."""
        gone = [number for number, each in self._segments.items() if not each.path.exists()]
        lost = sum(map(self._forget, gone))
        self.dropped += lost
        if not (self.directory / "lock").exists() and self._lock_fd is not None:
            try:
                lock = files.locked(self.directory)
            except UsageError as error:
                raise OSError(str(error)) from error
            os.close(self._lock_fd)
            self._lock_fd = lock
        _log.warning("spool was deleted; made anew", directory=str(self.directory), lost=lost)

    def _recover(self) -> Position:
        """Read what is there: mend torn tails, count what waits, find the cursor."""
        cursor = segments.stored_cursor(self.directory)
        self._newest = cursor.segment
        for number, path in segments.segments(self.directory):
            if number < cursor.segment:
                path.unlink()
                continue
            self._newest = max(self._newest, number)
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
            waiting = data.count(b"\n", start)
            self._segments[number] = _Segment(path, len(data), waiting)
        return cursor

    def _move_cursor(self, end: Position) -> None:
        line = b"%d %d" % end
        try:
            files.replace(self.directory / "cursor", b"%08x %b\n" % (zlib.crc32(line), line))
        except OSError as error:
            # On a full or deleted disk it stays behind: the batch is repeated after a restart.
            if error.errno not in (*_DISK_FULL, *_PASSING, errno.ENOENT):
                raise
        self._cursor = end

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:012}.log"
