"""When each charger is polled: on a fixed monotonic grid, by a loop in one thread.

Every charger has its own offset on the grid, which spreads the polls of many chargers over the
interval. A tick that passes while the charger's poll still runs is skipped, never queued: each
charger has at most one poll in progress, and a dead charger does not delay the others. A bounded
pool of threads takes over what would wait: TLS, proxies, a busy client, and slow sinks.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from goe_exporter.logs import Pace, logger
from goe_exporter.polling.poller import Keys, Poller, Steps
from goe_exporter.transport.loop import Loop
from goe_exporter.transport.steps import answered
from goe_exporter.transport.workers import Workers

MAX_WORKERS = 256
MAX_BEGUN = 8
"""Polls begun at once; then the answers that arrived meanwhile are taken."""

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
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stopping = False
        self._running = 0
        self._last_progress = clock()
        self._workers = Workers("poll")
        self._loop: Loop | None = None

    def start(self) -> None:
        """Start polling: every charger soon, then on the grid of its interval and offset."""
        self._loop = Loop()
        self.replace(self.pollers)
        threading.Thread(
            target=self._run, args=(self._loop,), name="scheduler", daemon=True
        ).start()

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
            self._wake()

    def stop(self, grace_seconds: float) -> None:
        """Start no more polls, and wait up to `grace_seconds` for those in progress."""
        with self._changed:
            self._stopping = True
            self._wake()
            self._changed.wait_for(lambda: not self._running, grace_seconds)

    def is_behind(self) -> bool:
        """Return whether a poll is due that has not begun."""
        with self._lock:
            waiting = self._due and not self._stopping
            return bool(waiting) and self._due[0][0] <= self._clock()

    def is_stalled(self) -> bool:
        """Return whether polls are due or in progress, but none has started or ended for long."""
        with self._lock:
            latest = self._clock() - STALL_SECONDS
            pending = self._running or (self._due and self._due[0][0] < latest)
            return bool(pending) and self._last_progress < latest

    def _wake(self) -> None:
        """Let the loop see what changed; the caller holds the lock."""
        if self._loop is not None:
            self._loop.wake()

    def _run(self, loop: Loop) -> None:
        """Begin each poll at its tick, and run the loop in between."""
        pace = Pace(self._clock)
        while not (self._stopping and not self._running):
            try:
                due, wait = self._now_due()
                for moment, turn in due:
                    self._begin(loop, moment, turn)
                loop.turn(wait)
            except Exception:  # noqa: BLE001, the top of a thread
                with self._lock:
                    self.internal_errors += 1
                if pace.take():
                    _log.exception("polling loop continued after an internal error")
        loop.close()

    def _now_due(self) -> tuple[list[tuple[float, _Turn]], float]:
        """Return some turns that are due, and the seconds until the next one."""
        due: list[tuple[float, _Turn]] = []
        with self._lock:
            now = self._clock()
            while self._due and not self._stopping and len(due) < MAX_BEGUN:
                if self._due[0][0] > now:
                    break
                moment, _number, turn = heapq.heappop(self._due)
                if not self._running:
                    self._last_progress = now
                self._running += 1
                due.append((moment, turn))
            if self._stopping or not self._due:
                return due, math.inf
            return due, max(self._due[0][0] - now, 0.0)

    def _begin(self, loop: Loop, due: float, turn: _Turn) -> None:
        """Begin a poll in the loop."""
        poll = _InProgress(due, self._clock(), turn, turn.poller.steps())
        loop.run(turn.poller.exchange(poll.steps), partial(self._left_loop, poll))

    def _left_loop(self, poll: _InProgress, keys: Keys, error: Exception | None) -> None:
        """End a poll, or let a thread do what waits: other requests for `keys`, or the sink."""
        if error is not None:
            self._note_error(poll)
            self._ended(poll)
        elif keys or poll.turn.poller.sink_waits:
            self._workers.submit(partial(self._finish, poll, keys))
        else:
            self._finish(poll, ())

    def _finish(self, poll: _InProgress, keys: Keys) -> None:
        """Do the rest of a poll: wait for the answers from `keys` on, and deliver the result."""
        poller = poll.turn.poller
        try:
            if keys:
                answered(poll.steps, poller.client.status, keys)
            poller.deliver()
        except Exception:  # noqa: BLE001, the top of a thread
            self._note_error(poll)
        self._ended(poll)

    def _note_error(self, poll: _InProgress) -> None:
        """Count the exception that is being handled, and log it now and then."""
        turn = poll.turn
        with self._lock:
            self.internal_errors += 1
        turn.aborted += 1
        if turn.pace.take():
            _log.exception(
                "poll aborted by an internal error", charger=turn.poller.name, times=turn.aborted
            )

    def _ended(self, poll: _InProgress) -> None:
        """Put the charger's next tick on the heap."""
        turn, poller = poll.turn, poll.turn.poller
        ended = self._clock()
        interval = poller.interval_seconds
        # With a long interval, the first poll precedes the offset.
        due = turn.offset + math.floor((poll.due - turn.offset) / interval + 1e-6) * interval
        tick = next_tick(due, ended, interval, poller.wait_seconds)
        with self._lock:
            self.lateness.observe(poll.started - poll.due)
            self.duration.observe(ended - poll.started)
            self._running -= 1
            self._last_progress = ended
            first = self._due[0][0] if self._due else math.inf
            if self._turns.get(poller) is turn:
                heapq.heappush(self._due, (tick, next(self._numbers), turn))
            if tick < first or self._stopping:
                self._wake()
            if self._stopping:
                self._changed.notify_all()


@dataclass(eq=False)
class _Turn:
    """A poller, a moment of the monotonic clock on its grid, and its polls that a bug aborted."""

    poller: Poller
    offset: float
    pace: Pace
    aborted: int = 0


class _InProgress(NamedTuple):
    """A poll in progress: when it was due, when it started, and what it does."""

    due: float
    started: float
    turn: _Turn
    steps: Steps


def next_tick(due: float, now: float, interval: float, wait: float) -> float:
    """Return the tick after the one at `due`: on the grid, `wait` later, and after `now`."""
    steps = max(int(wait / interval), 1)
    if due + steps * interval <= now:
        steps = int((now - due) / interval) + 1
    return due + steps * interval
