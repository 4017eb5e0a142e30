"""The limits that protect the contactor and the car, as a value that survives a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from goe_exporter.surplus.settings import (
    HOUR_S,
    MAX_OPERATIONS,
    MAX_PAUSE_S,
    SHORT_CHARGE_S,
    UP_INTERVAL_S,
)

RESERVED = 1
"""Operations that are kept for the pause that ends every charge."""

SWITCHES = 2
"""Contactor operations of a phase switch."""

MAX_NUMBER = 1e15
"""More than any Unix time; Python's integers have no limit, and its floats do."""


class Wear(NamedTuple):
    """When the contactor was operated: the `operations` of the last hour, and the last of a kind.

    All times are on the clock of `Situation.now`. `pause_s` is how long the present pause lasts at
    least (s), 0 for the configured time; a short charge doubles it.
    """

    operations: tuple[float, ...] = ()
    started_at: float | None = None
    paused_at: float | None = None
    switched_at: float | None = None
    pause_s: float = 0.0

    def _recent(self, now: float) -> tuple[float, ...]:
        return last_hour(self.operations, now)

    def allows(self, now: float, operations: int) -> bool:
        """Return whether these operations, and a later pause, stay within the hourly limit."""
        return len(self._recent(now)) + operations + RESERVED <= MAX_OPERATIONS

    def paused_enough(self, now: float, min_pause_s: float) -> bool:
        """Return whether the pause has lasted long enough for a start."""
        wanted_s = max(self.pause_s, min_pause_s)
        return self.paused_at is None or now - self.paused_at >= wanted_s

    def since_switch(self, now: float) -> float:
        """Return the time (s) since the last phase switch."""
        return UP_INTERVAL_S if self.switched_at is None else now - self.switched_at

    def started(self, now: float) -> Wear:
        """Return the wear after a start."""
        return self._replace(operations=(*self._recent(now), now), started_at=now)

    def paused(self, now: float, min_pause_s: float) -> Wear:
        """Return the wear after a pause; it is longer after a charge of less than 15 minutes."""
        pause_s = min_pause_s
        if self.started_at is not None and now - self.started_at < SHORT_CHARGE_S:
            pause_s = min(2 * max(self.pause_s, min_pause_s), max(MAX_PAUSE_S, min_pause_s))
        operations = (*self._recent(now), now)
        return self._replace(operations=operations, started_at=None, paused_at=now, pause_s=pause_s)

    def switched(self, now: float, *, closed: bool) -> Wear:
        """Return the wear after a phase switch; with a `closed` contactor it is operated twice."""
        operations = (*self._recent(now), now, now) if closed else self._recent(now)
        return self._replace(operations=operations, switched_at=now)

    def saved(self, now: float, wall: float) -> dict[str, object]:
        """Return the wear as JSON, its times as Unix times; `wall` is the Unix time at `now`."""

        def stamp(at: float | None) -> float | None:
            return None if at is None else round(at - now + wall, 3)

        return {
            "operations": [stamp(at) for at in self._recent(now)],
            "started_at": stamp(self.started_at),
            "paused_at": stamp(self.paused_at),
            "switched_at": stamp(self.switched_at),
            "pause_s": self.pause_s,
        }

    @classmethod
    def loaded(cls, saved: Mapping[str, object], now: float, wall: float) -> Wear:
        """Return the wear that was saved; a time in the future, of a clock set back, is now.

        Raises ValueError for anything that `saved` did not return.
        """

        def moment(name: str, value: object) -> float:
            return min(now, number(name, value) - wall + now)

        def optional(name: str) -> float | None:
            value = saved.get(name)
            return None if value is None else moment(name, value)

        operations = saved.get("operations")
        moments = operations if isinstance(operations, list) else [operations]
        return cls(
            tuple(sorted(moment("operations", each) for each in moments)),
            optional("started_at"),
            optional("paused_at"),
            optional("switched_at"),
            min(max(0.0, number("pause_s", saved.get("pause_s"))), MAX_PAUSE_S),
        )


def last_hour(times: tuple[float, ...], now: float) -> tuple[float, ...]:
    """Return the times (s), which are in order, of the hour before `now`."""
    if not times or times[0] > now - HOUR_S:
        return times
    return tuple(at for at in times if at > now - HOUR_S)


def number(name: str, value: object) -> float:
    """Return a finite number; raises ValueError, with its name, for anything else."""
    if type(value) in (int, float) and abs(value) < MAX_NUMBER:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise ValueError(f"{name}: must be a number, not {value!r:.80}")
