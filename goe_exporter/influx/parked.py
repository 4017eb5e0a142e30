"""Lines that the server rejected once: kept apart until they are sent again minutes later.

They are on disk before they leave the queue, in a spool of their own, in the format of `dead/`.
In memory, lines that remain undecided move to the end; on disk they stay where they are, and the
cursor moves up to the first undecided line. After a restart, one that was decided behind an
undecided one is sent once more.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice, takewhile
from pathlib import Path

from goe_exporter.errors import UsageError
from goe_exporter.influx.dead_letters import packed, unpacked
from goe_exporter.logs import Incident, Pace, logger
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import FRAME_BYTES

RETRY_SECONDS = 120.0
"""Time between two attempts to send a parked line, in which a broken server may be repaired."""

MAX_LINES = 10_000
MAX_BATCH_LINES = 20

_log = logger(__name__)


class ParkedLine:
    """A parked line, and since when (monotonic clock) it waits for its next attempt.

    `message` is the server's. `end` is the position behind it on disk, None if it is in memory
    only, `size_bytes` its size there. `accepted` is how often the server accepted another line
    since this one was parked. It was `rejected` at this Unix time, or now.
    """

    def __init__(
        self, line: bytes, message: str, since: float, rejected: float | None = None
    ) -> None:
        self.line = line
        self.message = message
        self.since = since
        self.rejected = time.time() if rejected is None else rejected
        self.end: tuple[int, int] | None = None
        self.accepted = 0
        self.size_bytes = len(_packed(self)) + FRAME_BYTES


class ParkedLines:
    """The parked lines in `directory`, at most `MAX_LINES` and `limit_bytes`; for one thread.

    If the disk is full, a line is kept in memory only.
    """

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the lines; raises `UsageError`."""
        self.spool = Spool(directory, limit_bytes)
        self._clock = clock
        self._waiting: deque[ParkedLine] = deque()
        self._waiting_bytes = 0
        self._on_disk: deque[ParkedLine] = deque()
        self._decided: set[ParkedLine] = set()
        self._loaded = 0
        self._failures = Incident(
            _log, "parked lines are in memory only", "parked lines on disk", Pace(clock)
        )
        try:
            self._load()
        except OSError as error:
            self.close()
            raise UsageError(f"cannot use the spool {directory}: {error.strerror}") from error

    def __len__(self) -> int:
        """Return the number of parked lines."""
        return len(self._waiting)

    def put(self, line: bytes, message: str) -> bool:
        """Park a line that was rejected just now; return False if there is no room for it.

        It is on disk when this returns, unless the disk is full.
        """
        added = ParkedLine(line, message, self._clock())
        used = max(self.spool.size_bytes, self._waiting_bytes)
        full = used + added.size_bytes > self.spool.limit_bytes or len(self._waiting) >= MAX_LINES
        if self._waiting and full:
            return False
        self._add(added)
        self._write(added)
        return True

    def due(self) -> list[ParkedLine]:
        """Return the lines to send again now, at most `MAX_BATCH_LINES`, the oldest first."""
        self._failures.tell()
        self.spool.check_directory()
        if self.spool.opened != self._loaded:
            with contextlib.suppress(OSError):  # tried again the next time
                self._load()
        until = self._clock() - RETRY_SECONDS
        oldest = islice(self._waiting, MAX_BATCH_LINES)
        return list(takewhile(lambda each: each.since <= until, oldest))

    def wait_seconds(self) -> float | None:
        """Return the seconds until a line is due; None if none is parked."""
        if not self._waiting:
            return None
        return max(self._waiting[0].since + RETRY_SECONDS - self._clock(), 0.0)

    def oldest(self) -> bytes | None:
        """Return the line that is due first, None if none is parked."""
        return self._waiting[0].line if self._waiting else None

    def settle(self, tried: Sequence[ParkedLine], undecided: Collection[ParkedLine]) -> None:
        """Delete the lines that `due` returned, except undecided ones, which wait again."""
        for each in tried:
            self._waiting.popleft()
            if each in undecided:
                each.since = self._clock()
                self._waiting.append(each)
                continue
            self._waiting_bytes -= each.size_bytes
            if each.end is not None:
                self._decided.add(each)
        self._delete_decided()

    def forget_counts(self) -> None:
        """Begin all trials anew: the lines are sent to another server now."""
        for each in self._waiting:
            each.accepted = 0

    def close(self) -> None:
        """Release the files; lines that cannot be put on disk are lost, and counted as dropped."""
        self._write_all()
        self._failures.flush()
        if lost := sum(each.end is None for each in self._waiting):
            self.spool.dropped += lost
            _log.warning("parked lines lost", lost=lost)
        self.spool.close()

    def _load(self) -> None:
        """Find the lines on disk: those of this process, and others; raises `OSError`.

        The directory was opened, for the first time, or again because it was replaced or its disk
        failed. Lines that are in memory only are put on disk.
        """
        opened = self.spool.opened
        found = self.spool.read(self.spool.pending)
        known = defaultdict[bytes, deque[ParkedLine]](deque)
        for each in (*self._waiting, *self._decided):
            each.end = None
            known[each.line].append(each)
        self._on_disk.clear()
        for stored, end in zip(found.lines, found.ends, strict=True):
            if (letter := unpacked(stored)) is None:
                continue
            line = letter.line.encode("utf-8", "surrogateescape")
            if known[line]:
                each = known[line].popleft()
            else:
                waited = min(max(time.time() - letter.time, 0.0), RETRY_SECONDS)
                each = ParkedLine(line, letter.message, self._clock() - waited, letter.time)
                self._add(each)
            each.end = end
            self._on_disk.append(each)
        self._decided = {each for each in self._decided if each.end is not None}
        self._waiting = deque(sorted(self._waiting, key=lambda each: each.since))
        self._loaded = opened
        self._write_all()
        self._delete_decided()

    def _delete_decided(self) -> None:
        """Delete decided lines from disk up to the first undecided one; later, if that fails."""
        decided = list(takewhile(self._decided.__contains__, self._on_disk))
        if not decided or self.spool.opened != self._loaded:
            return
        end = decided[-1].end
        assert end is not None
        if self.spool.commit(end):
            for each in decided:
                self._on_disk.popleft()
                self._decided.remove(each)

    def _add(self, parked: ParkedLine) -> None:
        self._waiting.append(parked)
        self._waiting_bytes += parked.size_bytes

    def _write_all(self) -> None:
        """Put the lines that are in memory only on disk."""
        for each in self._waiting:
            if each.end is None:
                self._write(each)

    def _write(self, parked: ParkedLine) -> None:
        """Put a line on disk, if there is room."""
        if not self.spool.extend([_packed(parked)], make_room=False):
            self._failures.begins(error="no room")
            return
        self._failures.ends()
        parked.end = self.spool.end
        self._on_disk.append(parked)


def _packed(parked: ParkedLine) -> bytes:
    line = parked.line.decode("utf-8", "surrogateescape")
    return packed(line, parked.message, parked.rejected)
