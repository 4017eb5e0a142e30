"""Points that were measured while nobody vouched for the clock: kept, and stamped later.

Each is kept with the boot of the machine, its uptime, what the clock showed, and the last time the
clock was known to be right. In the same boot the uptime gives the time. Of an earlier boot the
clock of then is all there is: it counts where it can have been right.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable.clock import EARLIEST, Timekeeper, shown
from goe_exporter.influx import line_protocol
from goe_exporter.spool.queue import Spool

AT_ONCE = 500
SHARE = 16
LATER_SECONDS = 1.0
"""What rounding and two looks at a clock may make a point younger than now."""


class Stamped(NamedTuple):
    """What became of some held points: lines, and those whose time nobody can tell, with why.

    `unconfirmed` counts the lines that have the time of an earlier boot's clock.
    """

    lines: list[bytes]
    timeless: list[tuple[bytes, str]]
    unconfirmed: int


class Held:
    """The points that wait in `directory` for `timekeeper` to trust the clock.

    `last_stamp` is the time (Unix) of the last point that was stamped: none is older.
    """

    def __init__(
        self, directory: Path, limit_bytes: int, timekeeper: Timekeeper, last_stamp: float
    ) -> None:
        """Open it; raises `UsageError`."""
        self.spool = Spool(directory, limit_bytes)
        self._timekeeper = timekeeper
        self._earliest = max(timekeeper.last_right, last_stamp)

    def record(self, point: str) -> bytes:
        """Return what is to be kept of a point that was measured now."""
        wall, since_boot = self._timekeeper.now()
        known = max(self._earliest, self._timekeeper.last_right)
        head = f"{self._timekeeper.boot} {since_boot:.3f} {wall:.3f} {known:.3f}"
        return f"{head} {point}".encode()

    def stamped(self) -> tuple[Stamped, tuple[int, int]]:
        """Return the oldest points with their time, and the place behind them for `done`.

        They are as many as find room beside what is held, which goes only afterwards.
        """
        batch = self.spool.read(AT_ONCE)
        found, room = Stamped([], [], 0), self.spool.limit_bytes // SHARE
        for record, behind in zip(batch.lines, batch.ends, strict=True):
            found = self._add(found, record)
            room -= len(record)
            if room <= 0:
                return found, behind
        return found, batch.end

    def done(self, end: tuple[int, int]) -> bool:
        """Let go of what `stamped` returned; tell whether nothing is left."""
        self.spool.commit(end)
        return self.spool.pending == 0

    def _add(self, found: Stamped, record: bytes) -> Stamped:
        try:
            boot_id, *numbers, point = record.split(b" ", 4)
            since_boot, wall, known = map(float, numbers)
        except ValueError:
            found.timeless.append((record, "held without a time that can be read"))
            return found
        now, time, unconfirmed = self._timekeeper.now()[0], wall, 0
        if boot_id == self._timekeeper.boot.encode():
            time = self._timekeeper.time_at(since_boot)
            right = 0 <= time <= now + LATER_SECONDS
        else:
            right = max(known, EARLIEST) <= wall <= now
            unconfirmed = 1
        if not right:
            words = f"measured before a restart, when the clock showed {shown(wall)}"
            found.timeless.append((point, words))
            return found
        found.lines.append(b"%b %d" % (point, line_protocol.milliseconds(time)))
        return found._replace(unconfirmed=found.unconfirmed + unconfirmed)
