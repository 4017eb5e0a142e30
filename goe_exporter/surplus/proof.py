"""The proof that the meter sees the charger, with the right sign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.supply import Point, Supply

STEP_W = 800.0
TOLERANCE = 0.5
BEFORE_S = 20.0
AFTER_FROM_S, AFTER_TO_S = 10.0, 30.0
PATIENCE_S, PATIENCE_PERIODS = 120.0, 4.0
MIN_POINTS = 2
PROVEN, FAILED = 2, -3


class Verdict(Enum):
    """What a step of the charger's power shows."""

    GOOD = "good"
    MISS = "miss"
    NONE = "none"
    """The car did not follow, so nothing can be said."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the meter has proven itself since the car was plugged in.

    A step of the charger's power by 800 W or more must show in the meter as 0.5 to 1.5 times that;
    if the meter does not include the charger, as less than half of it. The first step is a start.
    Clouds and appliances can imitate an answer, so two good steps are needed, the second one a
    raised current, if the limits leave room for it. `score` are the good steps less the others;
    with -3 the meter has `failed`.

    `before` is what house and charger drew together, and the charger alone (W), before the step
    that is being judged, None without one; `step_at` is when it began, None before the contactor
    has closed.
    """

    proven: bool = False
    score: int = 0
    before: tuple[float, float] | None = None
    step_at: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the meter is not usable."""
        return self.score <= FAILED

    @property
    def testing(self) -> bool:
        """Whether a step is being judged."""
        return self.before is not None

    def begun(self, supply: Supply, step_at: float | None = None) -> Proof:
        """Begin a step: remember what was drawn before it."""
        points = supply.points
        recent = [each for each in points if each.time > points[-1].time - BEFORE_S]
        if len(recent) < MIN_POINTS:
            recent = list(points[-MIN_POINTS:])
        return replace(self, before=_means(recent), step_at=step_at)

    def closed(self, now: float) -> Proof:
        """Remember when the contactor closed."""
        return replace(self, step_at=now) if self.testing and self.step_at is None else self

    def stopped(self) -> Proof:
        """End a step without a verdict."""
        return replace(self, before=None, step_at=None) if self.testing else self

    def verdict(self, settings: Settings, supply: Supply, now: float) -> Verdict | None:
        """Return what the step shows, None until there is enough to judge it."""
        if self.before is None or self.step_at is None:
            return None
        after = [each for each in supply.points if each.time >= self.step_at + AFTER_FROM_S]
        if len(after) >= MIN_POINTS and after[-1].time >= self.step_at + AFTER_TO_S:
            net_w, power_w = _means(after)
            step_w = power_w - self.before[1]
            if step_w >= STEP_W:
                expected = 1.0 if settings.includes_charger else 0.0
                ratio = (net_w - self.before[0]) / step_w
                return Verdict.GOOD if abs(ratio - expected) <= TOLERANCE else Verdict.MISS
        patience_s = max(PATIENCE_S, PATIENCE_PERIODS * supply.period_s)
        return Verdict.NONE if now - self.step_at > patience_s else None

    def after(self, verdict: Verdict, needed: int = PROVEN) -> Proof:
        """Return the proof with a verdict; `needed` is the score that proves the meter."""
        change = {Verdict.GOOD: 1, Verdict.MISS: -1, Verdict.NONE: 0}[verdict]
        score = self.score + change
        return Proof(proven=self.proven or score >= needed, score=score)


def _means(points: list[Point]) -> tuple[float, float]:
    """Return the means (W) of what was drawn in all, and by the charger."""
    count = len(points)
    return sum(each.net_w for each in points) / count, sum(each.power_w for each in points) / count
