"""The proof that the meter sees the charger, with the right sign."""

from __future__ import annotations

from dataclasses import dataclass, replace

from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.supply import Point, Supply

STEP_W = 800.0
TOLERANCE = 0.5
BEFORE_S = 20.0
AFTER_FROM_S, AFTER_TO_S = 20.0, 40.0
MIN_POINTS = 2
MAX_MISSES = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the meter has proven itself since the car was plugged in.

    A step of the charger's power by 800 W or more must show in the meter as 0.5 to 1.5 times that;
    if the meter does not include the charger, as less than half of it. `misses` are the steps that
    did not. `before` is what charger and house drew (W) before the last start, and `closed_at` when
    the contactor closed after it.
    """

    proven: bool = False
    misses: int = 0
    before: tuple[float, float] | None = None
    closed_at: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the meter is not usable."""
        return self.misses >= MAX_MISSES

    def starting(self, supply: Supply) -> Proof:
        """Remember what was drawn before a start."""
        points = supply.points
        recent = [each for each in points if each.time > points[-1].time - BEFORE_S]
        if len(recent) < MIN_POINTS:
            recent = list(points[-MIN_POINTS:])
        return replace(self, before=_means(recent), closed_at=None)

    def closed(self, now: float) -> Proof:
        """Remember when the contactor closed."""
        return self if self.closed_at is not None else replace(self, closed_at=now)

    def judged(self, settings: Settings, supply: Supply) -> Proof:
        """Return the proof after the newest sample; unchanged until there is enough to judge."""
        if self.before is None or self.closed_at is None:
            return self
        start = self.closed_at + AFTER_FROM_S
        after = [each for each in supply.points if each.time >= start]
        if len(after) < MIN_POINTS or after[-1].time < self.closed_at + AFTER_TO_S:
            return self
        net_w, power_w = _means(after)
        step_w = power_w - self.before[1]
        if step_w < STEP_W:
            return self
        expected = 1.0 if settings.includes_charger else 0.0
        ratio = (net_w - self.before[0]) / step_w
        if abs(ratio - expected) <= TOLERANCE:
            return replace(self, proven=True, before=None)
        return replace(self, misses=self.misses + 1, before=None)


def _means(points: list[Point]) -> tuple[float, float]:
    """Return the means (W) of what was drawn in all, and by the charger."""
    count = len(points)
    return sum(each.net_w for each in points) / count, sum(each.power_w for each in points) / count
