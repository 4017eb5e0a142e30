"""Pollers without chargers, for tests of the scheduler."""

from __future__ import annotations

import threading
import time

from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import Scheduler


class Ticker:
    """Stands in for a poller; records when its polls begin, and how many run at a time."""

    def __init__(self, interval_seconds: float = 0.1, poll_seconds: float = 0.0) -> None:
        self.name = "ticker"
        self.interval_seconds = interval_seconds
        self.wait_seconds = interval_seconds
        self.begun: list[float] = []
        self.ended = 0
        self.max_concurrent = 0
        self.release = threading.Event()
        if not poll_seconds:
            self.release.set()
        self._poll_seconds = poll_seconds
        self.in_progress = 0

    def poll(self) -> None:
        """Take `poll_seconds`, or until released."""
        self.begun.append(time.monotonic())
        self.in_progress += 1
        self.max_concurrent = max(self.max_concurrent, self.in_progress)
        self.release.wait(self._poll_seconds)
        self.in_progress -= 1
        self.ended += 1


def running(*tickers: Ticker | Poller) -> Scheduler:
    """Return a running scheduler of these pollers."""
    started = Scheduler(tickers)  # type: ignore[arg-type]
    started.start()
    return started
