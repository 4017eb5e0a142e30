"""Pollers without a charger, and a scheduler that runs them."""

from __future__ import annotations

import threading
import time

from goe_exporter.polling.poller import Collector
from goe_exporter.polling.scheduler import Schedule


class Ticker:
    """Stands for a collector: notes when its cycles begin, and how many run at once."""

    def __init__(self, interval_seconds: float = 0.1, cycle_seconds: float = 0.0) -> None:
        self.name = "ticker"
        self.interval_seconds = interval_seconds
        self.wait_seconds = interval_seconds
        self.begun: list[float] = []
        self.ended = 0
        self.most_at_once = 0
        self.release = threading.Event()
        if not cycle_seconds:
            self.release.set()
        self._cycle_seconds = cycle_seconds
        self.under_way = 0

    def cycle(self) -> None:
        """Last for `cycle_seconds`, or until released."""
        self.begun.append(time.monotonic())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        self.release.wait(self._cycle_seconds)
        self.under_way -= 1
        self.ended += 1


def running(*tickers: Ticker | Collector) -> Schedule:
    """Return a schedule of these, begun."""
    begun = Schedule(tickers)  # type: ignore[arg-type]
    begun.start()
    return begun
