"""When to start and to pause, on how many phases, and with which current."""

from __future__ import annotations

import math

from goe_exporter.surplus.limits import Limits
from goe_exporter.surplus.memory import Memory, Target
from goe_exporter.surplus.proof import PROVEN, STEP_W, Verdict
from goe_exporter.surplus.settings import (
    DOWN_INTERVAL_S,
    DOWN_SHARE,
    DRAWING_W,
    HOUR_S,
    MEAN_S,
    PHASES_BUDGET_WH,
    RAISE_MEAN_S,
    SETTLE_S,
    START_MARGIN_W,
    SWITCH_MARGIN_W,
    UP_AFTER_S,
    UP_INTERVAL_S,
    Settings,
)
from goe_exporter.surplus.situation import OFF, SINGLE, THREE, View
from goe_exporter.surplus.wear import SWITCHES

MAX_STEP_S = 60.0
REST_S = 30.0
"""The current is kept this long before a step that the meter must show."""
DRAWN_SHARE = 0.95
"""A car draws a little less than it is offered."""


class Step:
    """One step of charging with a usable sample; `may_rise` is whether it is fresh.

    Each decision returns the memory with its new target and the reason, or None to go on.
    """

    def __init__(
        self, settings: Settings, memory: Memory, view: View, now: float, *, may_rise: bool
    ) -> None:
        """Begin a step."""
        self.settings, self.view, self.now, self.may_rise = settings, view, now, may_rise
        self.limits = Limits(settings, memory, view)
        latest = memory.supply.latest
        self.surplus_w = latest.surplus_w if latest else 0.0
        self.memory = self._drained(memory)

    def decided(self) -> tuple[Memory, str]:
        """Return the memory with the new target, and the reason of a change, "" without one."""
        if not self.memory.target.charge:
            return self._start() or (self.memory, self._waiting())
        self._limit()
        return (
            self._unproven()
            or self._fewer_phases()
            or self._pause()
            or self._more_phases()
            or self._current()
            or (self.memory, "")
        )

    def _limit(self) -> None:
        """Lower a target that the limits no longer allow, so that it is not written again."""
        target = self.memory.target
        top_a = max(self.limits.top_a(target.phases), self.settings.min_current_a)
        if target.amps > top_a:
            self.memory = self.memory._replace(target=target._replace(amps=top_a))

    def _drained(self, memory: Memory) -> Memory:
        """Return the memory with the budgets as of now."""
        seconds = 0.0 if memory.stepped_at is None else self.now - memory.stepped_at
        full_wh = self.settings.pause_budget_wh
        memory = memory._replace(
            stepped_at=self.now,
            pause_wh=min(full_wh, memory.pause_wh),
            phases_wh=min(PHASES_BUDGET_WH, memory.phases_wh),
        )
        drawn_w = self.view.power_w
        if not memory.target.charge or drawn_w < DRAWING_W:
            return memory
        hours = min(seconds, MAX_STEP_S) / HOUR_S
        sun_w = max(self.surplus_w, 0.0)
        pause_w = self.limits.minimum_w(self._lowest(memory.target))
        phases_w = self.limits.minimum_w(THREE)
        return memory._replace(
            pause_wh=min(
                full_wh,
                memory.pause_wh + (sun_w - min(pause_w, drawn_w)) * hours,
            ),
            phases_wh=min(
                PHASES_BUDGET_WH, memory.phases_wh + (sun_w - min(phases_w, drawn_w)) * hours
            ),
        )

    def _lowest(self, target: Target) -> int:
        return SINGLE if self.limits.can_switch else target.phases

    def _mean_w(self, seconds: float) -> float:
        mean_w = self.memory.supply.mean_w(self.now, seconds)
        return self.surplus_w if mean_w is None else mean_w

    def _towards(self, target: Target, reason: str) -> tuple[Memory, str]:
        """Return the memory with a target; a start and a phase switch refill the budgets."""
        before = self.memory.target
        memory = self.memory._replace(target=target)
        if target.charge and (not before.charge or before.phases != target.phases):
            memory = memory._replace(
                pause_wh=self.settings.pause_budget_wh, phases_wh=PHASES_BUDGET_WH
            )
        return memory, reason

    def _waiting(self) -> str:
        """Return why charging does not start."""
        wear, limits = self.memory.lease.wear, self.limits
        if limits.top_a(limits.lowest_mode) < self.settings.min_current_a:
            return "current_limit"
        if not wear.allows(self.now, 1):
            return "contactor_limit"
        return "" if wear.paused_enough(self.now, self.settings.min_pause_s) else "min_pause"

    def _start(self) -> tuple[Memory, str] | None:
        """Start when there has been enough surplus for a minute."""
        limits, seconds = self.limits, self.settings.start_after_s
        mean_w = self._mean_w(seconds)
        lowest = limits.lowest_mode
        # The meter proves itself by a start, not by a charge that has begun by itself.
        paused = self.view.force == OFF or self.memory.proof.proven
        if (
            not self.may_rise
            or not paused
            or self._waiting()
            or not self.memory.supply.covers(self.now, seconds)
            or mean_w < limits.minimum_w(lowest) + START_MARGIN_W
            or self.surplus_w < limits.minimum_w(lowest)
        ):
            return None
        phases = lowest
        amps = self.settings.min_current_a
        if self.memory.proof.proven:
            if limits.can_switch and self._may_start_on_three(mean_w):
                phases = THREE
            amps = limits.clamped(mean_w / (limits.used(phases) * limits.volts), phases)
        if amps != self.view.amps and self.memory.current_writes_left(self.now) < 2:
            return None
        proof = self.memory.proof.begun(self.memory.supply)
        self.memory = self.memory._replace(proof=proof, car=self.memory.car._replace(charged=True))
        return self._towards(Target(charge=True, phases=phases, amps=amps), "start")

    def _may_start_on_three(self, mean_w: float) -> bool:
        rested = self.memory.lease.wear.since_switch(self.now) >= UP_INTERVAL_S
        enough = mean_w >= self.limits.minimum_w(THREE) + SWITCH_MARGIN_W
        return enough and (rested or self.view.phases == THREE)

    def _unproven(self) -> tuple[Memory, str] | None:
        """Judge the step that shows whether the meter sees the charger; pause if it does not."""
        proof = self.memory.proof
        if proof.proven:
            return None
        if self.view.closed_phases:
            proof = proof.closed(self.now)
        verdict = proof.verdict(self.settings, self.memory.supply, self.now)
        if verdict is not None:
            top_a = self.limits.top_a(self.memory.target.phases)
            room = top_a - self.settings.min_current_a >= self._step_a()
            proof = proof.after(verdict, self.now, PROVEN if room else 1)
        lease = self.memory.lease._replace(proven=proof.proven)
        self.memory = self.memory._replace(proof=proof, lease=lease)
        if verdict is Verdict.MISS:
            return self._towards(self.memory.target._replace(charge=False), "no_response")
        if proof.expired(self.now):
            return self._towards(self.memory.target._replace(charge=False), "unproven")
        return self._test()

    def _test(self) -> tuple[Memory, str] | None:
        """Raise the current for half a minute, which the meter must show, or lower it again."""
        target, proof = self.memory.target, self.memory.proof
        lowest_a = self.settings.min_current_a
        if proof.proven or proof.testing or not self._settled():
            return None
        if self.view.amps > lowest_a:
            return self._towards(target._replace(amps=lowest_a), "test")
        writes = self.memory.current_writes
        rested = not writes or self.now - writes[-1] >= REST_S
        enough = self.surplus_w >= self.limits.minimum_w(target.phases)
        amps = lowest_a + self._step_a()
        if (
            not proof.on_trial(self.now)
            or not (self.may_rise and rested and enough)
            or amps > self.limits.top_a(target.phases)
            or self.memory.current_writes_left(self.now) < 2
        ):
            return None
        self.memory = self.memory._replace(proof=proof.begun(self.memory.supply, self.now))
        return self._towards(target._replace(amps=amps), "test")

    def _fewer_phases(self) -> tuple[Memory, str] | None:
        """Switch to one phase, or pause, when three have drawn too much beyond the surplus."""
        target = self.memory.target
        if target.phases != THREE or not self.limits.can_switch or self.memory.phases_wh > 0:
            return None
        mean_w, wear = self._mean_w(MEAN_S), self.memory.lease.wear
        if (
            self.memory.pause_wh <= 0
            or mean_w < DOWN_SHARE * self.limits.minimum_w(SINGLE)
            or not wear.allows(self.now, SWITCHES)
        ):
            return self._towards(target._replace(charge=False), "pause_budget")
        if wear.since_switch(self.now) < DOWN_INTERVAL_S:
            return None
        amps = self.limits.clamped(mean_w / self.limits.volts, SINGLE)
        return self._towards(Target(charge=True, phases=SINGLE, amps=amps), "phases_budget")

    def _pause(self) -> tuple[Memory, str] | None:
        """Pause when too much was drawn beyond the surplus."""
        target = self.memory.target
        if self.limits.top_a(target.phases) < self.settings.min_current_a:
            return self._towards(target._replace(charge=False), "current_limit")
        fewer = target.phases == THREE and self.limits.can_switch
        if fewer or self.memory.pause_wh > 0:
            return None
        return self._towards(target._replace(charge=False), "pause_budget")

    def _settled(self) -> bool:
        """Return whether the charger does what was decided last."""
        writes = self.memory.current_writes
        return (
            self.view.phases == self.memory.target.phases
            and self.view.closed_phases > 0
            and (not writes or self.now - writes[-1] >= SETTLE_S)
        )

    def _more_phases(self) -> tuple[Memory, str] | None:
        """Switch to three phases when there has been enough surplus for five minutes."""
        target, limits, wear = self.memory.target, self.limits, self.memory.lease.wear
        if target.phases == THREE or not limits.can_switch or not self.may_rise:
            return None
        three_w = limits.minimum_w(THREE)
        wanted_w = max(three_w + SWITCH_MARGIN_W, limits.volts * limits.top_a(SINGLE))
        mean_w = self._mean_w(UP_AFTER_S)
        if (
            not self.memory.proof.proven
            or not self._settled()
            or self.surplus_w < three_w
            or mean_w < wanted_w
            or not self.memory.supply.covers(self.now, UP_AFTER_S)
            or wear.since_switch(self.now) < UP_INTERVAL_S
            or not wear.allows(self.now, SWITCHES)
            or self.memory.current_writes_left(self.now) < 2
        ):
            return None
        volts = limits.used(THREE) * limits.volts
        amps = limits.clamped(min(self.surplus_w, mean_w) / volts, THREE)
        return self._towards(Target(charge=True, phases=THREE, amps=amps), "more_phases")

    def _current(self) -> tuple[Memory, str] | None:
        """Lower the current at once, raise it when the surplus of the last seconds allows it."""
        target, limits = self.memory.target, self.limits
        if not self.memory.proof.proven or not self._settled():
            return None
        offer_a = limits.offer_a(self.surplus_w, target.phases)
        left = self.memory.current_writes_left(self.now)
        if offer_a < self.view.amps and left > 0:
            # The last write of an hour goes to the minimum, so that none is needed after it.
            amps = offer_a if left > 1 else self.settings.min_current_a
            return self._towards(target._replace(amps=amps), "current")
        if not self.may_rise or left < 2:
            return None
        mean_a = limits.offer_a(self._mean_w(RAISE_MEAN_S), target.phases)
        amps = min(offer_a, mean_a)
        if amps > self.view.amps:
            return self._towards(target._replace(amps=amps), "current")
        return None

    def _step_a(self) -> int:
        """Return by how much (A) the current must rise for a step that the meter must show."""
        volts = self.limits.used(self.memory.target.phases) * self.limits.volts
        return math.ceil(STEP_W / DRAWN_SHARE / volts)
