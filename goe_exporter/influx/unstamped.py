"""Points measured before the clock was trusted: kept on disk, and stamped later.

Each is kept with the boot of the machine, its uptime, the clock's time, and the last time at which
the clock was trusted. In the same boot the uptime gives the time. For an earlier boot only that
boot's clock is known: its time is used if it can have been right.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable.clock import EARLIEST, Moment, TrustedClock, utc
from goe_exporter.influx import line_protocol
from goe_exporter.spool.queue import Spool

MAX_BATCH_POINTS = 500
BATCH_DIVISOR = 16
"""A batch is at most one sixteenth of the limit, so that the queue has room for its lines."""

TOLERANCE_SECONDS = 1.0
"""A stamped point may be this much later than now, from rounding and two readings of a clock."""


class Stamped(NamedTuple):
    """Lines with their time, and (point, reason) of points for which no time is known.

    `unconfirmed` counts the lines that have the time of an earlier boot's clock.
    """

    lines: list[bytes]
    untimed: list[tuple[bytes, str]]
    unconfirmed: int


class UnstampedPoints:
    """The points in `directory` that wait until `clock` is trusted.

    `last_stamp` is the time (Unix) of the last stamped point: none of these is older.
    """

    def __init__(
        self, directory: Path, limit_bytes: int, clock: TrustedClock, last_stamp: float
    ) -> None:
        """Open the queue; raises `UsageError`."""
        self.spool = Spool(directory, limit_bytes)
        self._clock = clock
        self._stamped: list[bytes] = []
        self._repeated: set[bytes] = set()
        self._earliest = max(clock.last_trusted, last_stamp)

    def record(self, point: str, age_seconds: float = 0.0) -> bytes:
        """Return the record of a point that was measured `age_seconds` ago."""
        wall, since_boot = (moment - age_seconds for moment in self._clock.now())
        known = max(self._earliest, self._clock.last_trusted)
        return f"{self._clock.boot} {since_boot:.3f} {wall:.3f} {known:.3f} {point}".encode()

    def stamped(self, now: Moment) -> tuple[Stamped, tuple[int, int]]:
        """Return some of the oldest points with their time, and the position behind them.

        They are as many as have room beside their records, which are deleted by `done`. `now` is
        the present moment of a clock that is trusted.
        """
        batch = self.spool.read(MAX_BATCH_POINTS)
        self._stamped = batch.lines
        found, room = Stamped([], [], 0), self.spool.limit_bytes // BATCH_DIVISOR
        for place, (record, behind) in enumerate(zip(batch.lines, batch.ends, strict=True)):
            if record not in self._repeated:
                found = self._add(found, record, now)
            room -= len(record)
            if room <= 0:
                self._stamped = batch.lines[: place + 1]
                return found, behind
        return found, batch.end

    def done(self, end: tuple[int, int]) -> bool:
        """Delete what `stamped` returned; if that fails, skip it when it is read again.

        A second time from a clock that was corrected meanwhile would make a second point.
        """
        if not self.spool.commit(end):
            self._repeated.update(self._stamped)
            return False
        self._repeated.difference_update(self._stamped)
        return True

    def close(self) -> None:
        """Release the files."""
        self.spool.close()

    def _add(self, found: Stamped, record: bytes, now: Moment) -> Stamped:
        try:
            boot_id, *numbers, point = record.split(b" ", 4)
            since_boot, wall, known = map(float, numbers)
        except ValueError:
            found.untimed.append((record, "kept without a readable time"))
            return found
        time, unconfirmed = wall, 0
        if boot_id == self._clock.boot.encode():
            time = now.time_at(since_boot)
            plausible = 0 <= time <= now.wall + TOLERANCE_SECONDS
        else:
            plausible = max(known, EARLIEST) <= wall <= now.wall
            unconfirmed = 1
        if not plausible:
            reason = f"measured before a restart, when the clock showed {utc(wall)}"
            found.untimed.append((point, reason))
            return found
        found.lines.append(b"%b %d" % (point, line_protocol.milliseconds(time)))
        return found._replace(unconfirmed=found.unconfirmed + unconfirmed)
