"""The proof that the meter sees the charger, with the right sign."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.supply import Point, Supply

STEP_W = 800.0
TOLERANCE = 0.5
UNSTEADY = 0.35
BEFORE_S = 20.0
AFTER_FROM_S, AFTER_TO_S = 10.0, 30.0
PATIENCE_S, PATIENCE_PERIODS = 120.0, 4.0
MIN_POINTS = 2
PROVEN, FAILED = 3, -3
TRIAL_S = 600.0
"""After a step that was not a miss, tests are allowed this long; then charging pauses."""


class Verdict(Enum):
    """What a step of the charger's power shows."""

    GOOD = "good"
    MISS = "miss"
    UNCLEAR = "unclear"
    """Clouds or appliances changed as much as the charger."""
    NONE = "none"
    """The car did not follow."""


class Proof(NamedTuple):
    """Whether the meter has proven itself since the car was plugged in.

    A step of the charger's power by 800 W or more must show in the meter as 0.5 to 1.5 times that;
    if the meter does not include the charger, as less than half of it. The first step is a start.
    Clouds and appliances can imitate an answer, so three good steps are needed: after the start the
    current is raised for half a minute, twice, if the limits leave room for it. `score` are the
    good steps less the misses; with -3 the meter has `failed`. A step is unclear if the meter
    varied by a third of it before or after it.

    `before` are the samples before the step that is being judged, None without one; `step_at` is
    when it began, None before the contactor has closed. `answered_at` is when the first step since
    the start was judged, None after a miss.
    """

    proven: bool = False
    score: int = 0
    before: tuple[Point, ...] | None = None
    step_at: float | None = None
    answered_at: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the meter is not usable."""
        return self.score <= FAILED

    @property
    def testing(self) -> bool:
        """Whether a step is being judged."""
        return self.before is not None

    def on_trial(self, now: float) -> bool:
        """Return whether the meter answered lately, so that it may be tested with more current."""
        return self.answered_at is not None and now - self.answered_at < TRIAL_S

    def expired(self, now: float) -> bool:
        """Return whether the meter answered once, and was not proven in time."""
        waits = self.answered_at is not None and not self.proven and not self.testing
        return waits and not self.on_trial(now)

    def begun(self, supply: Supply, step_at: float | None = None) -> Proof:
        """Begin a step: remember what was drawn before it; a start has no `step_at` yet."""
        points = supply.points
        recent = tuple(each for each in points if each.time > points[-1].time - BEFORE_S)
        if len(recent) < MIN_POINTS:
            recent = points[-MIN_POINTS:]
        answered_at = None if step_at is None else self.answered_at
        return self._replace(before=recent, step_at=step_at, answered_at=answered_at)

    def closed(self, now: float) -> Proof:
        """Remember when the contactor closed."""
        return self._replace(step_at=now) if self.testing and self.step_at is None else self

    def stopped(self) -> Proof:
        """End a step without a verdict."""
        return self._replace(before=None, step_at=None) if self.testing else self

    def verdict(self, settings: Settings, supply: Supply, now: float) -> Verdict | None:
        """Return what the step shows, None until there is enough to judge it."""
        if self.before is None or self.step_at is None:
            return None
        after = tuple(each for each in supply.points if each.time >= self.step_at + AFTER_FROM_S)
        if len(after) >= MIN_POINTS and after[-1].time >= self.step_at + AFTER_TO_S:
            step_w = _mean([each.power_w for each in after]) - self.before[-1].power_w
            if step_w >= STEP_W:
                return self._judged(settings, step_w, after)
        patience_s = max(PATIENCE_S, PATIENCE_PERIODS * supply.period_s)
        return Verdict.NONE if now - self.step_at > patience_s else None

    def _judged(self, settings: Settings, step_w: float, after: tuple[Point, ...]) -> Verdict:
        """Compare what was drawn after a step with what was drawn before it."""
        assert self.before is not None
        before_w = [each.net_w for each in self.before]
        after_w = [each.net_w for each in after]
        if max(_range(before_w), _range(after_w)) > UNSTEADY * step_w:
            return Verdict.UNCLEAR
        expected = 1.0 if settings.includes_charger else 0.0
        ratio = (_mean(after_w) - _mean(before_w)) / step_w
        return Verdict.GOOD if abs(ratio - expected) <= TOLERANCE else Verdict.MISS

    def after(self, verdict: Verdict, now: float, needed: int = PROVEN) -> Proof:
        """Return the proof with a verdict; `needed` is the score that proves the meter."""
        if verdict is Verdict.NONE:
            return self.stopped()
        change = {Verdict.GOOD: 1, Verdict.MISS: -1}.get(verdict, 0)
        score, first = self.score + change, self.answered_at
        answered_at = None if verdict is Verdict.MISS else now if first is None else first
        proven = self.proven or score >= needed
        return Proof(proven=proven, score=score, answered_at=answered_at)


def _mean(watts: list[float]) -> float:
    return sum(watts) / len(watts)


def _range(watts: list[float]) -> float:
    return max(watts) - min(watts)
