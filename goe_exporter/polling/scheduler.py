"""When each charger is polled: a fixed monotonic grid, worked off by a bounded pool of threads.

Every charger has its own phase on the grid, so that a thousand of them are not asked at once. A
tick that passes while a poll still runs is skipped, never queued, so a charger has at most one
poll under way and a dead one delays nobody (DESIGN §3).
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from goe_exporter.channels.model import Distribution
from goe_exporter.logs import logger
from goe_exporter.polling.poller import Collector

WORKERS_LIMIT = 256
FIRST_SECONDS = 5.0
"""By when all chargers are polled for the first time, whatever their interval."""

HUNG_SECONDS = 300.0
"""So long no poll may begin or end although one is due: longer than a name server takes to fail."""

DURATION_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
LATENESS_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_log = logger(__name__)


class Schedule:
    """Runs the collectors' cycles from `start` to `stop`.

    `duration` and `lateness` hold how long polls took and how late they began, in seconds over
    all chargers; `defects` counts cycles that failed by a mistake of ours.
    """

    def __init__(
        self, collectors: Sequence[Collector], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.collectors = tuple(collectors)
        self.duration = Distribution(DURATION_BOUNDS)
        self.lateness = Distribution(LATENESS_BOUNDS)
        self.defects = 0
        self._clock = clock
        self._due: list[tuple[float, int, _Turn]] = []
        self._turns: dict[Collector, _Turn] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._under_way = 0
        self._progress = clock()
        self._workers = _Workers(self._poll)
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin to poll: every charger soon, from then on by its phase of its interval."""
        self.replace(self.collectors)
        self._thread.start()

    def replace(self, collectors: Sequence[Collector]) -> None:
        """Poll these from now on: a collector that stays keeps its phase, a new one begins soon.

        A poll under way ends as usual; one whose collector is gone was its last.
        """
        with self._changed:
            now = self._clock()
            new = [each for each in collectors if each not in self._turns]
            for index, collector in enumerate(new):
                share, interval = index / len(new), collector.interval_seconds
                self._turns[collector] = turn = _Turn(collector, now + share * interval)
                soon = now + share * min(interval, FIRST_SECONDS)
                self._due.append((soon, next(self._numbers), turn))
            self._turns = {each: self._turns[each] for each in collectors}
            # One that stays may have another interval now, and be asked sooner.
            self._due = [
                (min(due, now + turn.collector.wait_seconds), number, turn)
                for due, number, turn in self._due
                if turn.collector in self._turns
            ]
            heapq.heapify(self._due)
            self.collectors = tuple(collectors)
            self._workers.limit = min(len(collectors), WORKERS_LIMIT)
            self._changed.notify_all()

    def stop(self, grace_seconds: float) -> None:
        """Start no more polls and wait for those under way, `grace_seconds` at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._under_way, grace_seconds)

    def hangs(self) -> bool:
        """Tell whether polls are due or under way and none has begun or ended for a long time."""
        with self._changed:
            latest = self._clock() - HUNG_SECONDS
            waits = self._under_way or (self._due and self._due[0][0] < latest)
            return bool(waits) and self._progress < latest

    def _run(self) -> None:
        """Hand each charger to a worker when its tick has come."""
        while True:
            with self._changed:
                if self._stopping:
                    return
                if not self._due or (left := self._due[0][0] - self._clock()) > 0:
                    self._changed.wait(left if self._due else None)
                    continue
                due, _number, turn = heapq.heappop(self._due)
                if not self._under_way:
                    self._progress = self._clock()
                self._under_way += 1
            self._workers.submit(due, turn)

    def _poll(self, due: float, turn: _Turn) -> None:
        """Run one cycle and put the charger's next tick on the heap."""
        collector = turn.collector
        started = self._clock()
        late = started - due
        try:
            collector.cycle()
        except Exception:  # noqa: BLE001, the top of a thread
            with self._changed:
                self.defects += 1
            _log.exception("a refresh cycle broke", charger=collector.name)
        ended = self._clock()
        interval = collector.interval_seconds
        # The first poll of a long interval comes before its phase.
        due = turn.phase + math.floor((due - turn.phase) / interval + 1e-6) * interval
        tick = next_tick(due, ended, interval, collector.wait_seconds)
        with self._changed:
            self.lateness.observe(late)
            self.duration.observe(ended - started)
            self._under_way -= 1
            self._progress = ended
            first = self._due[0][0] if self._due else float("inf")
            if self._turns.get(collector) is turn:
                heapq.heappush(self._due, (tick, next(self._numbers), turn))
            if tick < first or self._stopping:
                self._changed.notify_all()


class _Turn(NamedTuple):
    """A collector, and a moment of the monotonic clock at which its grid lies."""

    collector: Collector
    phase: float


def next_tick(due: float, now: float, interval: float, wait: float) -> float:
    """Return the tick after the one at `due`: `wait` later, on the grid, and not in the past."""
    steps = max(int(wait / interval), 1)
    if due + steps * interval <= now:
        steps = int((now - due) / interval) + 1
    return due + steps * interval


class _Workers:
    """A pool that grows to `limit` threads as work comes, and does not shrink.

    The threads are daemons, unlike those of `concurrent.futures`: a name server that hangs in
    `getaddrinfo` cannot be interrupted and must not hold up the exit.
    """

    def __init__(self, work: Callable[[float, _Turn], None]) -> None:
        self.limit = 0
        self._work = work
        self._jobs: queue.SimpleQueue[tuple[float, _Turn]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0

    def submit(self, due: float, turn: _Turn) -> None:
        """Queue one job; start a thread if all are busy and the limit allows."""
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
