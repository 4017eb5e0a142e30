r"""A durable, bounded queue of lines: no kill, power cut or damaged file loses a line it accepted.

A spool is a directory of append-only segments `NNNNNNNNNNNN.log`, each record `crc32 line\n`. A
line is accepted once it is written and `fdatasync`ed. The reader's position is in the file
`cursor`; it is committed (appended and `fdatasync`ed) before a delivered segment is deleted. Above
`limit_bytes`, or on a full disk, the oldest whole segment is dropped and its lines are counted.
While the directory is unusable (moved, unmounted, or on a disk that fails), segments are kept in
memory. The spool knows nothing of what a line means.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.errors import UsageError
from goe_exporter.logs import logger
from goe_exporter.spool import recovery, segments
from goe_exporter.spool.availability import MAX_MEMORY_BYTES, Availability
from goe_exporter.spool.in_flight import InFlight
from goe_exporter.spool.segments import Batch, Position
from goe_exporter.spool.storage import TRANSIENT, Storage

MAX_LINE_BYTES = 1024 * 1024

_log = logger(__name__)


class Spool:
    """The spool in `directory`, for one process at a time.

    It holds at most `limit_bytes`, minus what `used_elsewhere` returns at the moment: the bytes of
    other queues that share the limit. Many threads may call `append`, one may call `read` and
    `commit`. `dropped` counts the lines dropped for room or deleted with their file, `damaged` the
    unreadable records. After `close` nothing changes on disk, even if methods are called.
    """

    def __init__(
        self, directory: Path, limit_bytes: int, used_elsewhere: Callable[[], int] = lambda: 0
    ) -> None:
        """Open or create the spool, and repair what a kill or a power cut left.

        Raises `UsageError` if the directory is unusable, in use, or written by a newer release.
        """
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.dropped = 0
        self._used_elsewhere = used_elsewhere
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._in_flight = InFlight()
        self._availability = Availability(directory)
        self._storage, self._closed = Storage(directory, limit_bytes // 16), False
        self._cursor = self._inspected = Position(0, 0)
        self._open()

    @property
    def pending(self) -> int:
        """The number of lines that wait."""
        return self._storage.pending

    @property
    def size_bytes(self) -> int:
        """The size of the segments."""
        return self._storage.size_bytes

    @property
    def damaged(self) -> int:
        """The number of unreadable records."""
        return self._storage.damaged

    @property
    def unavailable(self) -> str:
        """Why the directory is unusable at the moment, "" if it is usable."""
        return self._availability.reason

    @property
    def opened(self) -> int:
        """How often the directory was opened: again if it was replaced, or its disk failed."""
        return self._storage.opened

    @property
    def full(self) -> bool:
        """Whether lines were dropped just now for new ones, or are about to be."""
        return self.size_bytes + 2 * self._storage.segment_bytes > self._limit

    @property
    def end(self) -> Position:
        """The position behind the newest line."""
        with self._write:
            return self._storage.end

    def append(self, line: bytes) -> bool:
        """Accept one line without a NUL; return False if it had to be dropped.

        A newline in it is stored as a NUL. Concurrent threads share one `fdatasync`.
        """
        return self.extend([line]) > 0

    def extend(self, lines: Iterable[bytes], *, make_room: bool = True) -> int:
        """Accept lines with one sync; return how many were accepted.

        Without `make_room` no other line is dropped: accepting ends at the first that has no room.
        """
        accepted = 0
        with self._write:
            self._check_directory()
            for line in lines:
                record = segments.record(line)
                put = len(line) <= MAX_LINE_BYTES and self._put(record, make_room=make_room)
                if not put and not make_room:
                    break
                accepted, self.dropped = accepted + put, self.dropped + (not put)
            self._storage.store_dropped(self.dropped)
            mine = self._storage.written
        return accepted if self._synchronise(mine) else 0

    def make_room(self, size_bytes: int) -> None:
        """Drop the oldest lines until the limit leaves room for `size_bytes`."""
        with self._write, self._surviving():
            while self.size_bytes + size_bytes > self._limit and self._drop_oldest():
                pass
            self._storage.store_dropped(self.dropped)

    def rotate(self, lines: Sequence[bytes], end: tuple[int, int]) -> bool:
        """Move `lines`, which were read, to the end, and commit `end`; the limit does not apply.

        Return False, without a commit, if the disk is full.
        """
        with self._write:
            self._check_directory()
            records = map(segments.record, lines)
            moved = all(self._put(each, make_room=False, limited=False) for each in records)
            mine = self._storage.written
        if moved:
            self._synchronise(mine)
            self.commit(end)
        return moved

    def check_directory(self) -> None:
        """Check whether the directory is in place, or back; every other call does so too."""
        with self._write:
            self._check_directory()

    def read(self, most: int) -> Batch:
        """Return up to `most` of the oldest lines, skipping and counting damaged records.

        Reading again without a commit returns the same lines. Raises `OSError` if the system
        cannot open files at the moment.
        """
        with self._write:
            self._check_directory()
            end = self._cursor
            found = self._storage.segments
            numbers = sorted(number for number in found if number >= end.segment)
            sizes = {number: found[number].size for number in numbers}
        batch = Batch([], [], end)
        for number in numbers:
            if len(batch.lines) >= most:
                break
            start = Position(number, end.offset if number == end.segment else 0)
            data = self._data(start, sizes[number])
            damage = segments.collect(start, data, most, batch)
            self._storage.damaged += sum(place > self._inspected for place in damage)
            whole = len(batch.lines) < most
            end = Position(number, start.offset + len(data)) if whole else Position(*batch.ends[-1])
        self._inspected = max(self._inspected, end)
        return batch._replace(end=end)

    def newest(self) -> bytes | None:
        """Return the newest line that waits."""
        with self._write:
            number, size = self._storage.newest_waiting()
        last = self._data(Position(number, 0), size).rstrip(b"\n").rpartition(b"\n")[2]
        line = segments.line_of(last)
        return line and segments.restored(line)

    def mark_in_flight(self, ends: Sequence[tuple[int, int]]) -> int:
        """Name the lines (by the positions behind them) that are being delivered, and no others.

        A line dropped in flight counts as dropped only if it is not committed either. Return how
        many of the first lines were dropped since they were read.
        """
        with self._write:
            gone = bisect_right(ends, self._cursor)
            self.dropped += self._in_flight.begin(ends[gone:])
        return gone

    def commit(self, end: tuple[int, int]) -> bool:
        """Delete everything before `end`; False if it is of an earlier directory, or that fails."""
        end = Position(*end)
        with self._write:
            self._in_flight.deliver(end)
            self._check_directory()
            if self._closed or end <= self._cursor:
                return False
            with self._surviving():
                self._storage.store_cursor(end)
                self._cursor = end
                self._storage.delete_before(end)
                return True
        return False

    def close(self) -> None:
        """Release the files and the directory; all accepted lines are on disk, if it is usable."""
        with self._sync, self._write:
            if self._closed:
                return
            if self._storage.segments:
                self._availability.retry_now()
                self._check_directory()
            with self._surviving():
                self._storage.end_segment()
            self._storage.store_dropped(self.dropped, at_once=True)
            self._closed = True
            if not self._storage.on_disk and (lost := self.pending):
                self.dropped += lost
                _log.warning("points in memory lost", directory=str(self.directory), lost=lost)
            self._storage.close()

    @property
    def _limit(self) -> int:
        limit = self.limit_bytes - self._used_elsewhere()
        return limit if self._storage.on_disk else min(limit, MAX_MEMORY_BYTES)

    def _synchronise(self, mine: int) -> bool:
        """Wait until the write with this number is on disk; return False if its segment is gone."""
        storage = self._storage
        with self._sync:
            if storage.synced >= mine:
                return True
            try:
                with self._write:
                    if storage.descriptor is None:
                        return False  # dropped on a full disk, and counted
                    # A copy, since another thread may close the descriptor to begin a segment.
                    target, descriptor = storage.written, os.dup(storage.descriptor)
                files.sync_and_close(descriptor)
            except OSError as error:
                with self._write:
                    if storage.synced < mine:
                        self._fail(error)
            else:
                with self._write:
                    storage.note_synced(target)
        return True

    def _put(self, record: bytes, *, make_room: bool = True, limited: bool = True) -> bool:
        """Write a record, making room if allowed; return False if there is no room."""
        while not self._closed:
            with self._surviving():
                limit = self._limit if limited else math.inf
                fits = self.size_bytes + len(record) <= limit
                if fits and self._storage.write(record):
                    return True
                if len(record) > limit or not make_room or not self._drop_oldest():
                    return False
        return False

    def _drop_oldest(self) -> bool:
        """Delete the oldest segment with all its lines; return False if there is none."""
        if not self.size_bytes:
            return False
        number, segment = min(self._storage.segments.items())
        segment.delete()
        self.dropped += self._forget(number)
        # In memory only: a cursor before the first segment means its start.
        self._cursor = max(self._cursor, Position(number + 1, 0))
        return True

    def _forget(self, number: int) -> int:
        """Stop using a segment; return how many of its lines waited and are not in flight."""
        segment = self._storage.remove(number)
        flying = self._in_flight.drop(number, self._cursor)
        return max(segment.records - flying, 0) if segment else 0

    def _data(self, start: Position, size: int) -> bytes:
        """Return a segment from `start` to `size`; nothing if it is gone or unreadable."""
        segment = self._storage.segments.get(start.segment)
        if segment is None:
            return b""  # dropped meanwhile
        try:
            return segment.read(start.offset, size)
        except OSError as error:
            if error.errno in TRANSIENT:
                raise
            with self._write:
                if isinstance(error, FileNotFoundError):
                    self._check_directory()
                    self.dropped += self._forget(start.segment)  # 0 if it was dropped meanwhile
                elif segment.path is None or not self._storage.is_lost(segment.path, error):
                    self._fail(error)
                elif start.segment in self._storage.segments:
                    self._storage.damaged += self._forget(start.segment)
                    recovery.set_aside(segment.path, error)
        return b""

    def _check_directory(self) -> None:
        """Leave a directory that is no longer in place, and open the one that is there now."""
        if self._closed or self._storage.in_place():
            return
        if self._storage.on_disk:
            with contextlib.suppress(OSError):
                self._storage.end_segment()
            self._leave()
        if self._availability.may_try:
            try:
                self._open()
            except UsageError as error:
                self._availability.end(str(error), error.__cause__)

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Continue in memory after an error of the disk."""
        try:
            yield
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Continue in memory after an error of the disk, and try the disk again later."""
        if self._storage.on_disk:
            self._leave()
        self._availability.fail(error)

    def _leave(self) -> None:
        """Close the directory. Its lines are lost if they were deleted, not if it was moved."""
        waiting, (fate, moved) = self.pending, self._storage.fate()
        lost = sum(map(self._forget, self._storage.missing()))
        self.dropped += lost
        count = {"lost": lost} if fate == "deleted" else {"points": waiting}
        self._availability.leave(fate, **moved, **count)
        self._cursor = self._storage.leave()
        self._in_flight.leave()

    def _open(self) -> None:
        """Open the directory, and move the lines in memory into it; raises `UsageError`."""
        kept = self._storage.records_in_memory(self._cursor)
        self._cursor = self._inspected = self._storage.open()
        self._availability.begin(len(kept))
        without_room = sum(not self._put(record) for record in kept)
        self.dropped += without_room
        with self._surviving():
            self._storage.end_segment()
