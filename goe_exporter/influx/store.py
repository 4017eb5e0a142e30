"""The points of the push agent on disk, in four queues that share one limit.

`.` holds the lines to deliver, `held/` the points without a timestamp, `parked/` the lines that the
server rejected once, and `dead/` the lines that it rejected for good.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable.clock import Moment, TrustedClock, boot
from goe_exporter.influx import line_protocol
from goe_exporter.influx.dead_letters import DeadLetters, Requeued
from goe_exporter.influx.parked import ParkedLines
from goe_exporter.influx.unstamped import UnstampedPoints
from goe_exporter.logs import Losses, logger
from goe_exporter.polling.view import Poll
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import FRAME_BYTES, Dropped, stored_dropped, survey

REJECTED_DIVISOR = 16
"""Parked lines and dead letters get one sixteenth of the limit, half of it each."""

MOVING_DIVISOR = 8
"""One eighth of the rest is not available to unstamped points, so that they can be moved."""

_log = logger(__name__)


class Store:
    """The points in `directory`, which take at most `limit_bytes`.

    Lines enter `queue` with a timestamp. While `clock` is not trusted, points wait in `unstamped`,
    with the uptime at which they were measured; the queue gets what they leave of the limit.
    `untimed` counts those for which no time is known, which become dead letters.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Open the queues; raises `UsageError`."""
        rejected = limit_bytes // REJECTED_DIVISOR
        limit = limit_bytes - rejected
        with ExitStack() as opened:
            self.queue = opened.enter_context(
                closing(Spool(directory, limit, lambda: self.unstamped.spool.size_bytes))
            )
            self.clock = TrustedClock(
                directory / "clock", boot(), may_save=lambda: not self.queue.unavailable
            )
            self.unstamped = opened.enter_context(
                closing(
                    UnstampedPoints(
                        directory / "held",
                        limit - limit // MOVING_DIVISOR,
                        self.clock,
                        line_protocol.timestamp(self.queue.newest() or b"") or 0.0,
                    )
                )
            )
            self.parked = opened.enter_context(
                closing(ParkedLines(directory / "parked", rejected // 2))
            )
            self.dead_letters = opened.enter_context(
                closing(DeadLetters(directory / "dead", rejected - rejected // 2))
            )
            self._opened = opened.pop_all()
        self.untimed = 0
        self._spools = (
            self.queue, self.unstamped.spool, self.parked.spool, self.dead_letters.spool
        )  # fmt: skip
        self._losses = Losses(_log)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def has_unstamped(self) -> bool:
        """Whether points wait in `unstamped`."""
        return self.unstamped.spool.pending > 0

    @property
    def waiting(self) -> int:
        """The number of points that wait."""
        return self.queue.pending + self.unstamped.spool.pending + len(self.parked)

    @property
    def size_bytes(self) -> int:
        """The size of all queues."""
        return sum(spool.size_bytes for spool in self._spools)

    @property
    def dropped(self) -> int:
        """The number of points dropped since the start."""
        return sum(spool.dropped for spool in self._spools)

    @property
    def damaged(self) -> int:
        """The number of unreadable records found since the start."""
        return sum(spool.damaged for spool in self._spools)

    def unavailable(self) -> str:
        """Return why points wait in memory instead of on disk, "" if they do not."""
        return next((spool.unavailable for spool in self._spools if spool.unavailable), "")

    def add(self, poll: Poll, tags: Mapping[str, str]) -> None:
        """Put a poll's point on disk, or keep it in memory while the disk fails."""
        for spool in self._spools:
            spool.check_directory()
        with self._lock:
            now = self.clock.trusted()
            age = poll.snapshot.age_seconds if poll.snapshot else 0.0
            if self.has_unstamped or now is None:
                self._add_unstamped(line_protocol.point(poll, tags), age)
                if now is not None:
                    self._stamp_some(now)
                return
            stamped = replace(poll, time=now.stamp(poll.time + age) - age)
        self.queue.append(line_protocol.line(stamped, tags).encode())

    def log_losses(self) -> None:
        """Log dropped points when dropping begins, every hour, and when it ends."""
        full = self.queue.full or self.unstamped.spool.full
        self._losses.note(self.dropped, full=full)

    def stamp_some(self) -> bool:
        """Move some unstamped points to the queue if the clock is trusted.

        Return whether there are more to move now.
        """
        with self._lock:
            if self._closed or not self.has_unstamped:
                return False
            now = self.clock.trusted()
            return now is not None and self._stamp_some(now)

    def requeue(self) -> Requeued:
        """Put the dead letters back into the queue."""
        return self.dead_letters.requeue(self.queue)

    def close(self) -> None:
        """Release the directory; all accepted points are on disk."""
        # All at once, or a sender that outlived its grace period would lose what it cannot move.
        with self._lock:
            self._closed = True
            self._opened.close()

    def _add_unstamped(self, point: str, age_seconds: float) -> None:
        if not self.has_unstamped:
            _log.info("points kept until the clock is confirmed")
        record = self.unstamped.record(point, age_seconds)
        # What is in the queue is older.
        self.queue.make_room(len(record) + FRAME_BYTES)
        self.unstamped.spool.append(record)

    def _stamp_some(self, now: Moment) -> bool:
        try:
            found, end = self.unstamped.stamped(now)
        except OSError as error:  # such as no free file descriptor
            _log.warning("points not stamped yet", error=str(error))
            return False
        self.queue.extend(found.lines)
        self.dead_letters.extend(found.untimed)
        self.untimed += len(found.untimed)
        if found.unconfirmed or found.untimed:
            _log.warning("points from an earlier start", stamped_by_its_clock=found.unconfirmed,
                         without_a_time=len(found.untimed))  # fmt: skip
        if not self.unstamped.done(end):
            return False
        if self.has_unstamped:
            return True
        _log.info("clock confirmed, waiting points stamped")
        return False


class Contents(NamedTuple):
    """What a store holds: numbers of points, bytes, the oldest line's time (Unix), and losses."""

    queued: int
    unstamped: int
    parked: int
    rejected: int
    size_bytes: int
    oldest: float | None
    dropped: Dropped


def contents(directory: Path) -> Contents:
    """Inspect a store without changing it, also while it is in use."""
    parts = [directory, *(directory / name for name in ("held", "parked", "dead"))]
    found, dropped = list(map(survey, parts)), list(map(stored_dropped, parts))
    queued, unstamped, parked, rejected = (each.pending for each in found)
    return Contents(
        queued,
        unstamped,
        parked,
        rejected,
        size_bytes=sum(each.size_bytes for each in found),
        oldest=line_protocol.timestamp(found[0].first or b""),
        dropped=Dropped(sum(each.lines for each in dropped), max(each.time for each in dropped)),
    )
