"""How much power is left over, and whether the meter's value can be trusted."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from goe_exporter.surplus.settings import (
    DRAWING_W,
    FOOTHOLD_W,
    FROZEN_AFTER_S,
    HISTORY_S,
    PHASE_SWITCH_S,
    STEP_S,
    Settings,
)
from goe_exporter.surplus.situation import Sample, Situation

PERIODS = 5


class Point(NamedTuple):
    """A sample with what followed from it: `net_w` is what house and charger draw from outside.

    That is the grid power plus what a house battery discharges (W). `power_w` is the charger's
    power when it was measured (W).
    """

    time: float
    surplus_w: float
    net_w: float
    power_w: float


class Quality(Enum):
    """How far a sample may be used."""

    GOOD = "good"
    HELD = "held"
    """A little old: nothing may rise."""
    STALE = "stale"


class Supply(NamedTuple):
    """The recent past of the meter and of the charger.

    `points` are the samples of the last minutes, `powers` the charger's power by the time of the
    poll. `measured_at` and `changed_at` are when the last sample was measured and when its value
    last changed, `value` its value, `periods` the last times between two samples. `identical_since`
    is since when the same grid power has been read while charging. `frozen` holds until it changes.
    """

    points: tuple[Point, ...] = ()
    powers: tuple[tuple[float, float], ...] = ()
    measured_at: float | None = None
    changed_at: float = 0.0
    value: tuple[float, float | None] | None = None
    periods: tuple[float, ...] = ()
    identical_since: float | None = None
    frozen: bool = False

    @property
    def latest(self) -> Point | None:
        """The newest sample."""
        return self.points[-1] if self.points else None

    def mean_w(self, now: float, seconds: float) -> float | None:
        """Return the mean surplus (W) of the last seconds, None without a sample in them."""
        total, count = 0.0, 0
        for point in reversed(self.points):
            if point.time <= now - seconds:
                break
            total += point.surplus_w
            count += 1
        if count == 0:
            return self.points[-1].surplus_w if self.points else None
        return total / count

    def covers(self, now: float, seconds: float) -> bool:
        """Return whether the samples reach back that far."""
        return len(self.points) > 1 and self.points[0].time <= now - seconds + self.period_s

    @property
    def period_s(self) -> float:
        """The usual time between two samples (s)."""
        if not self.periods:
            return STEP_S
        return max(STEP_S, sorted(self.periods)[len(self.periods) // 2])

    def quality(self, settings: Settings, now: float, sample: Sample | None) -> Quality:
        """Return how far the sample may be used."""
        if sample is None or self.frozen or _incomplete(settings, sample):
            return Quality.STALE
        limit_s, age_s = settings.stale_after_s, now - sample.measured_at
        if age_s > limit_s:
            return Quality.STALE
        return Quality.HELD if age_s > limit_s / 2 else Quality.GOOD

    def without_points(self) -> Supply:
        """Return the same without the samples, as after a gap."""
        return self._replace(points=()) if self.points else self


def _incomplete(settings: Settings, sample: Sample) -> bool:
    return settings.battery is not None and sample.battery_w is None


def observed(supply: Supply, settings: Settings, situation: Situation) -> Supply:
    """Return the supply with the newest sample and poll; an unusable sample adds nothing."""
    now, sample, view, _failed = situation
    powers = supply.powers
    if view is not None and (not powers or view.polled_at > powers[-1][0]):
        powers = (*_since(powers, now - HISTORY_S), (view.polled_at, view.power_w))
    if sample is None or sample.measured_at == supply.measured_at or _incomplete(settings, sample):
        return supply if powers is supply.powers else supply._replace(powers=powers)
    value = (sample.grid_w, sample.battery_w)
    same = value == supply.value
    changed_at = supply.changed_at if same else sample.measured_at
    # A battery that works changes no dead meter; but it may keep a good one at 0 W.
    repeated = same or (supply.value is not None and 0 != sample.grid_w == supply.value[0])
    identical_since = _identical_since(supply, sample, repeated=repeated, powers=powers)
    frozen = (
        not sample.age_known
        and identical_since is not None
        and now - identical_since >= FROZEN_AFTER_S
    ) or (supply.frozen and repeated)
    power_w = _power_at(powers, sample.measured_at if sample.age_known else changed_at)
    point = _point(settings, sample, power_w)
    periods = supply.periods
    if supply.measured_at is not None:
        periods = (*periods[-PERIODS + 1 :], sample.measured_at - supply.measured_at)
    points = supply.points
    while points and points[0].time <= now - HISTORY_S:
        points = points[1:]
    return Supply(
        (*points, point),
        powers,
        sample.measured_at,
        changed_at,
        value,
        periods,
        identical_since,
        frozen,
    )


def _since(
    powers: tuple[tuple[float, float], ...], start: float
) -> tuple[tuple[float, float], ...]:
    old = 0
    while old < len(powers) and powers[old][0] <= start:
        old += 1
    return powers[old:]


def _identical_since(
    supply: Supply, sample: Sample, *, repeated: bool, powers: tuple[tuple[float, float], ...]
) -> float | None:
    """Return since when the value has not changed while the car charged, None if it has.

    A phase switch, in which the car does not charge, does not begin anew.
    """
    since = sample.measured_at - PHASE_SWITCH_S
    charging = any(at > since and power_w >= DRAWING_W for at, power_w in powers)
    if supply.frozen and repeated:
        return supply.identical_since
    if not repeated or not charging:
        return None
    return sample.measured_at if supply.identical_since is None else supply.identical_since


def _power_at(powers: tuple[tuple[float, float], ...], time: float) -> float:
    """Return the charger's power (W) in the poll nearest to a time."""
    best, gap = 0.0, float("inf")
    for polled_at, power_w in reversed(powers):
        if abs(polled_at - time) >= gap:
            break
        best, gap = power_w, abs(polled_at - time)
    return best


def _point(settings: Settings, sample: Sample, power_w: float) -> Point:
    """Return the surplus (W): what the charger draws plus what is exported."""
    battery_w = sample.battery_w or 0.0
    reserve_w = settings.reserve_w
    surplus_w = (power_w if settings.includes_charger else 0.0) - sample.grid_w
    if settings.battery == "house":
        surplus_w -= max(battery_w, 0.0)
        reserve_w = max(reserve_w, FOOTHOLD_W)
    elif settings.battery == "car":
        surplus_w -= battery_w
    return Point(sample.measured_at, surplus_w - reserve_w, sample.grid_w + battery_w, power_w)
