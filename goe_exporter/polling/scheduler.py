"""When each charger is polled: on a fixed monotonic grid, by a bounded pool of threads.

Every charger has its own offset on the grid, which spreads the polls of many chargers over the
interval. A tick that passes while the charger's poll still runs is skipped, never queued: each
charger has at most one poll in progress, and a dead charger does not delay the others.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goe_exporter.logs import Pace, logger
from goe_exporter.polling.poller import Poller

MAX_WORKERS = 256
FIRST_SECONDS = 5.0
"""Time limit for the first poll of all chargers, whatever their interval."""

STALL_SECONDS = 300.0
"""Polling is stalled after this time without progress; a failing name server takes less."""

DURATION_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
LATENESS_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_log = logger(__name__)


class Histogram:
    """Counts observations by upper bound and sums them up."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take the buckets' upper bounds in ascending order, without the last one, infinity."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; the caller holds the lock."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts as (upper bound, count), `+Inf` last."""
        bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(bounds, map(float, itertools.accumulate(self.counts)), strict=True))


class Scheduler:
    """Runs the pollers from `start` to `stop`.

    `duration` and `lateness` are histograms over the polls of all chargers, in seconds: how long
    they took, and how late they began. `internal_errors` counts polls that a bug aborted.
    """

    def __init__(
        self, pollers: Sequence[Poller], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pollers = tuple(pollers)
        self.duration = Histogram(DURATION_BOUNDS)
        self.lateness = Histogram(LATENESS_BOUNDS)
        self.internal_errors = 0
        self._clock = clock
        self._due: list[tuple[float, int, _Turn]] = []
        self._turns: dict[Poller, _Turn] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._running = 0
        self._last_progress = clock()
        self._workers = _Workers(self._poll)
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Start polling: every charger soon, then on the grid of its interval and offset."""
        self.replace(self.pollers)
        self._thread.start()

    def replace(self, pollers: Sequence[Poller]) -> None:
        """Poll these from now on; a poller that stays keeps its offset, a new one starts soon.

        Polls in progress end as usual; a removed poller is not polled again.
        """
        with self._changed:
            now = self._clock()
            new = [each for each in pollers if each not in self._turns]
            for index, poller in enumerate(new):
                share, interval = index / len(new), poller.interval_seconds
                self._turns[poller] = turn = _Turn(
                    poller, now + share * interval, Pace(self._clock)
                )
                soon = now + share * min(interval, FIRST_SECONDS)
                self._due.append((soon, next(self._numbers), turn))
            self._turns = {each: self._turns[each] for each in pollers}
            # A poller that stays may have a shorter interval now.
            self._due = [
                (min(due, now + turn.poller.wait_seconds), number, turn)
                for due, number, turn in self._due
                if turn.poller in self._turns
            ]
            heapq.heapify(self._due)
            self.pollers = tuple(pollers)
            self._workers.limit = min(len(pollers), MAX_WORKERS)
            self._changed.notify_all()

    def stop(self, grace_seconds: float) -> None:
        """Start no more polls, and wait up to `grace_seconds` for those in progress."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, grace_seconds)

    def is_stalled(self) -> bool:
        """Return whether polls are due or in progress, but none has started or ended for long."""
        with self._changed:
            latest = self._clock() - STALL_SECONDS
            pending = self._running or (self._due and self._due[0][0] < latest)
            return bool(pending) and self._last_progress < latest

    def _run(self) -> None:
        """Hand each charger to a worker at its tick."""
        while True:
            with self._changed:
                if self._stopping:
                    return
                if not self._due or (left := self._due[0][0] - self._clock()) > 0:
                    self._changed.wait(left if self._due else None)
                    continue
                due, _number, turn = heapq.heappop(self._due)
                if not self._running:
                    self._last_progress = self._clock()
                self._running += 1
            self._workers.submit(due, turn)

    def _poll(self, due: float, turn: _Turn) -> None:
        """Poll once, and put the charger's next tick on the heap."""
        poller = turn.poller
        started = self._clock()
        late = started - due
        try:
            poller.poll()
        except Exception:  # noqa: BLE001, the top of a thread
            with self._changed:
                self.internal_errors += 1
            turn.aborted += 1
            if turn.pace.take():
                _log.exception(
                    "poll aborted by an internal error", charger=poller.name, times=turn.aborted
                )
        ended = self._clock()
        interval = poller.interval_seconds
        # With a long interval, the first poll precedes the offset.
        due = turn.offset + math.floor((due - turn.offset) / interval + 1e-6) * interval
        tick = next_tick(due, ended, interval, poller.wait_seconds)
        with self._changed:
            self.lateness.observe(late)
            self.duration.observe(ended - started)
            self._running -= 1
            self._last_progress = ended
            first = self._due[0][0] if self._due else float("inf")
            if self._turns.get(poller) is turn:
                heapq.heappush(self._due, (tick, next(self._numbers), turn))
            if tick < first or self._stopping:
                self._changed.notify_all()


@dataclass(eq=False)
class _Turn:
    """A poller, a moment of the monotonic clock on its grid, and its polls that a bug aborted."""

    poller: Poller
    offset: float
    pace: Pace
    aborted: int = 0


def next_tick(due: float, now: float, interval: float, wait: float) -> float:
    """Return the tick after the one at `due`: on the grid, `wait` later, and after `now`."""
    steps = max(int(wait / interval), 1)
    if due + steps * interval <= now:
        steps = int((now - due) / interval) + 1
    return due + steps * interval


class _Workers:
    """A pool of threads that grows to `limit` on demand and does not shrink.

    The threads are daemons, unlike those of `concurrent.futures`: `getaddrinfo` cannot be
    interrupted while a name server does not answer, and must not delay the exit.
    """

    def __init__(self, work: Callable[[float, _Turn], None]) -> None:
        self.limit = 0
        self._work = work
        self._jobs: queue.SimpleQueue[tuple[float, _Turn]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0

    def submit(self, due: float, turn: _Turn) -> None:
        """Queue one job; start a thread if all are busy and the limit allows it."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._count < self.limit:
                self._count += 1
                threading.Thread(target=self._run, name=f"poll-{self._count}", daemon=True).start()
        self._jobs.put((due, turn))

    def _run(self) -> None:
        while True:
            self._work(*self._jobs.get())
            with self._lock:
                self._idle += 1
