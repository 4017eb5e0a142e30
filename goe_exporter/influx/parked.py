"""Lines that the server rejected once: kept apart until they are sent again minutes later.

They are on disk before they leave the queue, in a spool of their own, in the format of `dead/`.
In memory, lines that remain undecided move to the end; on disk they stay where they are, and the
cursor moves up to the first undecided line. After a restart each of them waits again, and one that
was decided behind an undecided one is sent once more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice, takewhile
from pathlib import Path

from goe_exporter.errors import UsageError
from goe_exporter.influx.dead_letters import packed, unpacked
from goe_exporter.influx.write_api import WriteResult
from goe_exporter.logs import Incident, logger
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import FRAME_BYTES

RETRY_SECONDS = 120.0
"""Time between two attempts to send a parked line, in which a broken server may be repaired."""

MAX_LINES = 10_000
MAX_BATCH_LINES = 20

_log = logger(__name__)


class ParkedLine:
    """A parked line, and since when (monotonic clock) it waits for its next attempt.

    `end` is the position behind it on disk, None if it is in memory only. `rejection` is its last
    one since it was parked, `accepted` how often the server accepted another line meanwhile.
    """

    def __init__(self, line: bytes, since: float, end: tuple[int, int] | None) -> None:
        self.line = line
        self.since = since
        self.end = end
        self.rejection: WriteResult | None = None
        self.accepted = 0


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
        self._on_disk: deque[ParkedLine] = deque()
        self._decided: set[ParkedLine] = set()
        self._failures = Incident(_log, "parked lines are in memory only", "parked lines on disk")
        try:
            found = self.spool.read(self.spool.pending)
        except OSError as error:
            self.close()
            raise UsageError(f"cannot use the spool {directory}: {error.strerror}") from error
        for stored, end in zip(found.lines, found.ends, strict=True):
            if (letter := unpacked(stored)) is not None:
                self._add(letter.line.encode("utf-8", "surrogateescape"), end)

    def __len__(self) -> int:
        """Return the number of parked lines."""
        return len(self._waiting)

    def put(self, line: bytes, message: str) -> bool:
        """Park a line that was rejected just now; return False if there is no room for it.

        It is on disk when this returns, unless the disk is full.
        """
        stored = packed(line.decode("utf-8", "surrogateescape"), message)
        room = self.spool.limit_bytes - self.spool.size_bytes - len(stored) - FRAME_BYTES
        if self._waiting and (room < 0 or len(self._waiting) >= MAX_LINES):
            return False
        self._add(line, self._write(stored))
        return True

    def due(self) -> list[ParkedLine]:
        """Return the lines to send again now, at most `MAX_BATCH_LINES`, the oldest first."""
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
            elif each.end is not None:
                self._decided.add(each)
        end = None
        while self._on_disk and self._on_disk[0] in self._decided:
            first = self._on_disk.popleft()
            self._decided.remove(first)
            end = first.end
        if end is not None:
            self.spool.commit(end)

    def close(self) -> None:
        """Release the files."""
        self.spool.close()

    def _add(self, line: bytes, end: tuple[int, int] | None) -> None:
        added = ParkedLine(line, self._clock(), end)
        self._waiting.append(added)
        if end is not None:
            self._on_disk.append(added)

    def _write(self, stored: bytes) -> tuple[int, int] | None:
        """Put a record on disk and return the position behind it, None if there is no room."""
        try:
            written = self.spool.extend([stored], make_room=False)
        except OSError as error:
            self._failures.begins(error=str(error))
            return None
        if not written:
            self._failures.begins(error="no room")
            return None
        self._failures.ends()
        return self.spool.end
