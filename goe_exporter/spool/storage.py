"""The segments of a spool: files in its directory, or memory while the directory is unusable.

The mechanism without the policy: what is written, read and deleted. Not thread-safe; the spool
holds a lock around every call except `read`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.durable.directory import Directory, leads_to
from goe_exporter.errors import UsageError
from goe_exporter.spool import recovery, segments
from goe_exporter.spool.cursor import CursorFile
from goe_exporter.spool.segment import Segment
from goe_exporter.spool.segments import Position

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
"""Errors of the system that have nothing to do with a file."""

_EUCLEAN = getattr(errno, "EUCLEAN", errno.EIO)  # not on macOS
UNREADABLE = (errno.EIO, errno.EBADMSG, _EUCLEAN)
"""Errors of a bad sector, or of a disk that fails for a while."""

MISPLACED = (errno.EISDIR, errno.ELOOP)
"""Errors of what is not a file."""

UNREADABLE_SECONDS = 300.0
"""Time for which a segment must be unreadable until it is set aside."""

MIN_SEGMENT_BYTES = 4096
MAX_SEGMENT_BYTES = 1024 * 1024
SAVE_SECONDS = 60.0
"""Minimum time between two writes of the count of dropped lines."""


class Storage:
    """The segments in `directory`, by number, and the one that is written to.

    `written` counts the records written, `synced` those that are certainly on disk, `damaged` the
    records found unreadable, `opened` how often the directory was opened. Numbers rise from one
    directory to the next, so a position in an earlier directory is never valid in a later one; on
    disk they begin at 0.
    """

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self.directory = directory
        self.segment_bytes = min(max(segment_bytes, MIN_SEGMENT_BYTES), MAX_SEGMENT_BYTES)
        self.segments: dict[int, Segment] = {}
        self.newest = -1
        self.written = 0
        self.synced = 0
        self.damaged = 0
        self.opened = 0
        self.descriptor: int | None = None
        self._home: Directory | None = None
        self._mount_point: Path | None = None
        self._base = 0
        self._cursor = CursorFile(directory)
        self._unsynced: list[bytes] = []
        self._unreadable_since: dict[Path, float] = {}
        self._saved_at: float | None = None
        self._dropped_on_disk = 0

    @property
    def on_disk(self) -> bool:
        """Whether segments are files in the directory, not memory."""
        return self._home is not None

    @property
    def size_bytes(self) -> int:
        """The size of all segments."""
        return sum(segment.size for segment in list(self.segments.values()))

    @property
    def pending(self) -> int:
        """The number of records behind the cursor."""
        return sum(segment.records for segment in list(self.segments.values()))

    @property
    def end(self) -> Position:
        """The position behind the newest record."""
        last = self.segments.get(self.newest)
        return Position(self.newest, last.size if last else 0)

    def is_lost(self, path: Path, error: OSError) -> bool:
        """Return whether a segment that cannot be read is lost, rather than its disk for a while.

        Not before five minutes of errors, unless the process has just started.
        """
        if error.errno not in UNREADABLE or not self.opened:
            return error.errno in UNREADABLE + MISPLACED
        since = self._unreadable_since.setdefault(path, time.monotonic())
        return time.monotonic() - since >= UNREADABLE_SECONDS

    def newest_waiting(self) -> tuple[int, int]:
        """Return the number and the size of the newest segment with records behind the cursor."""
        waiting = [(number, each.size) for number, each in self.segments.items() if each.records]
        return max(waiting, default=(-1, 0))

    def open(self) -> Position:
        """Open the directory, recover its segments in place of all others, return the cursor.

        Raises `UsageError`; then nothing has changed.
        """
        home = Directory(self.directory, segments.NOUN, segments.VERSION, self._mount_point)
        base = self.newest + 1
        try:
            self._check_room()
            found = recovery.recovered(self.directory, base, self.is_lost)
        except OSError as error:
            home.close()
            raise UsageError(f"cannot use the spool {self.directory}: {error.strerror}") from error
        self._home, self._mount_point, self._base = home, home.mount_point, base
        self.segments, self.newest = found.segments, found.newest
        self.damaged += found.damaged
        self.opened += 1
        self._cursor = CursorFile(self.directory)
        return found.cursor

    def in_place(self) -> bool:
        """Return whether the directory and the segment that is written to are at their paths."""
        if self._home is None or not self._home.in_place():
            return False
        last = self.segments.get(self.newest)
        if self.descriptor is None or last is None or last.path is None:
            return True
        return leads_to(last.path, self.descriptor)

    def fate(self) -> tuple[str, dict[str, str]]:
        """Return what happened to the directory that was open, and `to` where it was moved.

        It was `deleted` (wholly or in part), `moved` or `unmounted`; "" if it is still in place.
        """
        assert self._home is not None
        found_at = self._home.found_at()
        if self._home.deleted() or (self._home.at_its_path() and self.missing()):
            return "deleted", {}
        if found_at is None:
            return "unmounted", {}
        return ("", {}) if self._home.at_its_path() else ("moved", {"to": str(found_at)})

    def missing(self) -> list[int]:
        """Return the segments that were deleted with the directory or in it."""
        assert self._home is not None
        if self._home.at_its_path():
            return [number for number in self.segments if not _exists(self._path(number))]
        return [*self.segments] if self._home.deleted() else []

    def leave(self) -> Position:
        """Close the directory and continue in memory; return the new cursor.

        Records that may not have reached the disk are kept in memory.
        """
        assert self._home is not None
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                self._cut_off_unsynced()
            os.close(self.descriptor)
            self.descriptor = None
        self._home.close()
        self._home = None
        self.segments = {}
        self.newest += 1
        cursor = Position(self.newest, 0)
        unsynced, self._unsynced = self._unsynced, []
        for record in unsynced:
            self._write(record)
        self.synced = self.written
        return cursor

    def write(self, record: bytes) -> bool:
        """Write a record to the newest segment, or nothing of it if the disk is full or fails.

        Return False if it is full; raises `OSError` if it fails.
        """
        last = self.segments.get(self.newest)
        if last is not None and last.size + len(record) > self.segment_bytes:
            self.end_segment()  # a sync that fails is an error, whatever its number
        try:
            self._write(record)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            return False
        return True

    def _write(self, record: bytes) -> None:
        last = self.segments.get(self.newest)
        begun = self._home is None or self.descriptor is not None
        if not begun or last is None or last.size + len(record) > self.segment_bytes:
            last = self._begin_segment()
        if self.descriptor is None:
            last.data += record
        else:
            try:
                files.write(self.descriptor, record)
            except OSError:
                os.ftruncate(self.descriptor, last.size)
                raise
        last.size += len(record)
        last.records += 1
        self.written += 1
        if self._home is None:
            self.synced = self.written
        else:
            self._unsynced.append(record)

    def end_segment(self) -> None:
        """Sync and close the segment that is written to."""
        if self.descriptor is None:
            return
        files.sync_data(self.descriptor)
        self.note_synced(self.written)
        os.close(self.descriptor)
        self.descriptor = None

    def note_synced(self, written: int) -> None:
        """Note that the records written up to a number are on disk."""
        if written > self.synced:
            del self._unsynced[: written - self.synced]
            self.synced = written

    def remove(self, number: int) -> Segment | None:
        """Stop using a segment and return it; its file stays."""
        if number == self.newest and self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
            self.note_synced(self.written)
        return self.segments.pop(number, None)

    def delete_before(self, end: Position) -> None:
        """Delete the segments before a position, and count the records behind it anew."""
        for number in [number for number in self.segments if number < end.segment]:
            self.segments.pop(number).delete()
        segment = self.segments.get(end.segment)
        if segment is None:
            return
        if end.offset >= segment.size and end.segment != self.newest:
            self.segments.pop(end.segment).delete()
        elif end.offset >= segment.size:
            segment.records = 0
        else:
            # An unreadable segment is set aside when it is read next.
            with contextlib.suppress(OSError):
                segment.records = segment.count(end.offset)

    def records_in_memory(self, cursor: Position) -> list[bytes]:
        """Return the records behind the cursor."""
        found: list[bytes] = []
        for number, segment in sorted(self.segments.items()):
            start = cursor.offset if number == cursor.segment else 0
            data = segment.read(start, segment.size)
            found += (record + b"\n" for record in data.split(b"\n")[:-1])
        return found

    def store_cursor(self, end: Position) -> None:
        """Write the cursor to disk; raises `OSError` unless a repeat of the batch is harmless."""
        if self._home is None:
            return
        try:
            self._cursor.store(end.segment - self._base, end.offset)
        except OSError as error:
            # On a full or deleted disk the cursor stays: the batch is repeated after a restart.
            if error.errno not in (*DISK_FULL, *TRANSIENT, errno.ENOENT):
                raise

    def store_dropped(self, dropped: int, *, at_once: bool = False) -> None:
        """Add the lines dropped since the last call to the count on disk, at most once a minute."""
        now, lines = time.monotonic(), dropped - self._dropped_on_disk
        due = at_once or self._saved_at is None or now - self._saved_at >= SAVE_SECONDS
        if not lines or not due or self._home is None:
            return
        self._saved_at = now
        total = segments.stored_dropped(self.directory).lines + lines
        record = segments.record(b"%d %d" % (total, time.time()))
        with contextlib.suppress(OSError):
            files.replace(self.directory / "dropped", record)
            self._dropped_on_disk = dropped

    def close(self) -> None:
        """Sync the segment that is written to, and release the directory."""
        try:
            self.end_segment()
        finally:
            if self.descriptor is not None:
                os.close(self.descriptor)
                self.descriptor = None
            if self._home is not None:
                self._home.close()
                self._home = None

    def _cut_off_unsynced(self) -> None:
        """Remove from disk what is kept in memory, or each retry would write it once more."""
        last, size = self.segments[self.newest], sum(map(len, self._unsynced))
        assert self.descriptor is not None
        os.ftruncate(self.descriptor, last.size - size)
        if size == last.size:
            last.delete()

    def _begin_segment(self) -> Segment:
        path = None if self._home is None else self._path(self.newest + 1)
        if path is not None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, files.FILE_MODE)
            try:
                files.sync_directory(self.directory)
            except OSError:
                os.close(descriptor)
                raise
            self.descriptor = descriptor
        self.newest += 1
        segment = self.segments[self.newest] = Segment(path)
        return segment

    def _check_room(self) -> None:
        """Raise `OSError` if the disk has no room for the segments in memory."""
        if self.size_bytes > shutil.disk_usage(self.directory).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _path(self, number: int) -> Path:
        return self.directory / f"{number - self._base:012}.log"


def _exists(path: Path) -> bool:
    """Return whether a file exists, True if its file system cannot tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
