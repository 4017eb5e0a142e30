"""Pollers without chargers, and a scheduler that a test leads from tick to tick."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from clocks import Clock
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.channels.snapshot import Answer
from goe_exporter.polling.poller import Keys, Poller, Steps
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.transport.steps import Exchange


class Ticker:
    """Stands in for a poller; records when its polls begin, and how many run at a time.

    It is its own client, for which a thread must wait. The polls of a ticker that is `held` end
    when `release` is set.
    """

    sink_waits = False

    def __init__(
        self,
        interval_seconds: float = 0.1,
        *,
        held: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = "ticker"
        self.interval_seconds = interval_seconds
        self.wait_seconds = interval_seconds
        self.begun: list[float] = []
        self.ended = 0
        self.max_concurrent = 0
        self.in_progress = 0
        self.release = threading.Event()
        if not held:
            self.release.set()
        self._clock = clock

    @property
    def client(self) -> Ticker:
        return self

    def steps(self) -> Steps:
        """Need one answer."""
        yield ("car",)

    def exchange(self, steps: Steps) -> Exchange[Keys]:
        """Let a thread do it."""
        yield from ()
        return next(steps)

    def deliver(self) -> None:
        """Have no sink."""

    def status(self, _keys: Keys) -> Answer:
        """Return at once, or when released."""
        self.begun.append(self._clock())
        self.in_progress += 1
        self.max_concurrent = max(self.max_concurrent, self.in_progress)
        self.release.wait(10 * PATIENCE_SECONDS)
        self.in_progress -= 1
        self.ended += 1
        return Answer(2, {})


def running(*tickers: Ticker | Poller, clock: Callable[[], float] = time.monotonic) -> Scheduler:
    """Return a running scheduler of these pollers."""
    started = Scheduler(tickers, clock)  # type: ignore[arg-type]
    started.start()
    return started


class Led:
    """A running scheduler on a clock that stands still between two moments."""

    def __init__(self, *intervals: float) -> None:
        self.clock = Clock(0.0)
        self.tickers = [Ticker(interval, clock=self.clock) for interval in intervals]
        self.scheduler = running(*self.tickers, clock=self.clock)

    def to(self, moment: float) -> None:
        """Set the clock, and let everything happen that is due by then."""
        with self.scheduler._changed:
            self.clock.now = moment
            self.scheduler._wake()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is due, and until only held polls are in progress."""
        wait_for(self._at_rest, "the scheduler to come to rest")

    def _at_rest(self) -> bool:
        scheduler, workers = self.scheduler, self.scheduler._workers
        held = sum(each.in_progress for each in self.tickers if not each.release.is_set())
        with scheduler._changed:
            return (
                not any(due <= self.clock.now for due, _number, _turn in scheduler._due)
                and scheduler._running == held
                and workers._idle == workers._count - held
            )
