"""Lines that a server rejected once: kept apart until they are sent again, minutes later.

They are on disk before the spool lets go of them: a spool of their own, of letters as in `dead/`.
In memory they are a queue, in which those that stay undecided move to the end; on disk they stay
where they are, and the cursor follows the first that is undecided. After a restart each of them
waits anew, and one that was decided behind an undecided one is sent once more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice, takewhile
from pathlib import Path

from goe_exporter.errors import UsageError
from goe_exporter.influx.dead_letters import Letter, packed, unpacked
from goe_exporter.influx.write_api import Verdict
from goe_exporter.logs import Episode, logger
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import FRAME_BYTES

PATIENCE_SECONDS = 120.0
"""Time between two attempts to send a parked line: a broken server may be repaired in it."""

MOST_LINES = 1000
AT_ONCE = 20

_log = logger(__name__)


class Suspect:
    """A parked line, and since when (monotonic clock) it waits for its next attempt.

    `end` is the place behind it on disk, None if the disk had no room for it. `verdict` is the
    last one against it since it was parked, `times` how often the server accepted another line
    meanwhile.
    """

    def __init__(self, line: bytes, since: float, end: tuple[int, int] | None) -> None:
        self.line = line
        self.since = since
        self.end = end
        self.verdict: Verdict | None = None
        self.times = 0


class Parked:
    """The parked lines in `directory`, at most `MOST_LINES` and `limit_bytes`; for one thread.

    A line that finds no room on a full disk is kept in memory alone.
    """

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open them; raises `UsageError`."""
        self.spool = Spool(directory, limit_bytes)
        self._clock = clock
        self._queue: deque[Suspect] = deque()
        self._on_disk: deque[Suspect] = deque()
        self._decided: set[Suspect] = set()
        self._failures = Episode(_log, "parked lines are in memory only", "parked lines on disk")
        try:
            found = self.spool.read(self.spool.pending)
        except OSError as error:
            self.close()
            raise UsageError(f"cannot use the spool {directory}: {error.strerror}") from error
        for stored, end in zip(found.lines, found.ends, strict=True):
            if (letter := unpacked(stored)) is not None:
                self._add(letter.line.encode("utf-8", "surrogateescape"), end)

    def __len__(self) -> int:
        """How many lines are parked."""
        return len(self._queue)

    def put(self, line: bytes, words: str) -> bool:
        """Keep a line that was rejected just now; False if as many are parked as there is room for.

        It is on disk when this returns, unless the disk has no room.
        """
        letter = Letter(time.time(), words, line.decode("utf-8", "surrogateescape"))
        stored = packed(letter)
        room = self.spool.limit_bytes - self.spool.size_bytes - len(stored) - FRAME_BYTES
        if self._queue and (room < 0 or len(self._queue) >= MOST_LINES):
            return False
        self._add(line, self._write(stored))
        return True

    def due(self) -> list[Suspect]:
        """Return the lines to send again now, at most `AT_ONCE`, the oldest first."""
        until = self._clock() - PATIENCE_SECONDS
        return list(takewhile(lambda each: each.since <= until, islice(self._queue, AT_ONCE)))

    def wait_seconds(self) -> float | None:
        """Return how long until a line is due; None if none is parked."""
        if not self._queue:
            return None
        return max(self._queue[0].since + PATIENCE_SECONDS - self._clock(), 0.0)

    def oldest(self) -> bytes | None:
        """Return the line that is due first, None if none is parked."""
        return self._queue[0].line if self._queue else None

    def settle(self, tried: Sequence[Suspect], undecided: Collection[Suspect]) -> None:
        """Let go of what `due` returned, but of the undecided lines, which wait anew."""
        for suspect in tried:
            self._queue.popleft()
            if suspect in undecided:
                suspect.since = self._clock()
                self._queue.append(suspect)
            elif suspect.end is not None:
                self._decided.add(suspect)
        end = None
        while self._on_disk and self._on_disk[0] in self._decided:
            suspect = self._on_disk.popleft()
            self._decided.remove(suspect)
            end = suspect.end
        if end is not None:
            self.spool.commit(end)

    def close(self) -> None:
        """Release the files."""
        self.spool.close()

    def _add(self, line: bytes, end: tuple[int, int] | None) -> None:
        suspect = Suspect(line, self._clock(), end)
        self._queue.append(suspect)
        if end is not None:
            self._on_disk.append(suspect)

    def _write(self, stored: bytes) -> tuple[int, int] | None:
        """Return the place behind a record that is on disk now, None if there is no room."""
        try:
            taken = self.spool.extend([stored], make_room=False)
        except OSError as error:
            self._failures.shows(error=str(error))
            return None
        if not taken:
            self._failures.shows(error="no room")
            return None
        self._failures.ends()
        return self.spool.end
