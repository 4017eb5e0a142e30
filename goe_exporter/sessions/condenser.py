"""Leaves out polls with nothing new, since tracking a poll costs a fifth of the poll itself.

While the states stay the same and the meters keep rising, one observation a minute is enough, and
one at the end of each quarter hour.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.sessions.observation import (
    GAP_INTERVALS,
    METERS,
    STATES,
    Moment,
    Observation,
    observation,
)
from goe_exporter.sessions.session import SLOT_SECONDS

KEEP_SECONDS = 60.0
MAX_RISE_WH = 1_000
"""A poll in which a meter rises further is not left out."""


class _Seen(NamedTuple):
    """A poll, and the highest power (W) since the last observation."""

    snapshot: Snapshot
    moment: Moment
    power_w: float


class Condenser:
    """Selects the polls of a charger that are tracked."""

    def __init__(self) -> None:
        self._last: _Seen | None = None
        self._pending = False
        self._kept_at = -math.inf
        self._count = 0
        self._states: tuple[tuple[int, Reading], ...] = ()
        self._meters: tuple[int, ...] = ()

    def take(
        self, snapshot: Snapshot, moment: Moment, interval_seconds: float
    ) -> tuple[Observation, ...]:
        """Return the observations to track after this poll; usually none."""
        last = self._last
        if last is not None and self._is_steady(last, snapshot, moment, interval_seconds):
            power = snapshot.readings[self._meters[-1]].value
            highest = max(last.power_w, power)
            self._last = _Seen(snapshot, moment, highest)  # type: ignore[arg-type]
            self._pending = True
            return ()
        found = (*self.rest(), observation(snapshot, moment, interval_seconds))
        self._keep(snapshot, moment)
        return found

    def rest(self) -> tuple[Observation, ...]:
        """Return the last poll if it was left out; there is no gap before it."""
        if self._last is None or not self._pending:
            return ()
        self._pending = False
        snapshot, moment, power = self._last
        return (observation(snapshot, moment, math.inf, power),)

    def _keep(self, snapshot: Snapshot, moment: Moment) -> None:
        """Remember where the values are: the next poll usually has them in the same places."""
        places = {reading.channel.name: n for n, reading in enumerate(snapshot.readings)}
        self._states = tuple(
            (n, snapshot.readings[n]) for name, n in places.items() if name in STATES
        )
        meters = tuple(places[name] for name in METERS if name in places)
        self._meters, self._count = meters, len(snapshot.readings)
        complete = len(meters) == len(METERS)
        self._last = _Seen(snapshot, moment, -math.inf) if complete else None
        self._kept_at = moment.uptime

    def _is_steady(
        self, last: _Seen, snapshot: Snapshot, moment: Moment, interval_seconds: float
    ) -> bool:
        """Return whether only the meters changed, and none fell or jumped."""
        before, readings = last.moment, snapshot.readings
        if (
            len(readings) != self._count
            or snapshot.boot_time != last.snapshot.boot_time
            or snapshot.api != last.snapshot.api
            or moment.trusted is not before.trusted
            or not 0 <= moment.uptime - before.uptime <= GAP_INTERVALS * interval_seconds
            or moment.uptime - self._kept_at >= KEEP_SECONDS
            or moment.time // SLOT_SECONDS != before.time // SLOT_SECONDS
        ):
            return False
        for place, reading in self._states:
            if readings[place] != reading:
                return False
        earlier = last.snapshot.readings
        for place in self._meters[:-1]:
            old, new = earlier[place], readings[place]
            if new.channel is not old.channel:
                return False
            if not 0 <= new.value - old.value <= MAX_RISE_WH:  # type: ignore[operator]
                return False
        return True
