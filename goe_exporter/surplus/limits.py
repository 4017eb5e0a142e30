"""Powers and currents: what a number of phases needs, and what the surplus offers."""

from __future__ import annotations

import math

from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.settings import HEADROOM_A, Settings
from goe_exporter.surplus.situation import SINGLE, THREE, View

ROUNDING_A = 1e-6


class Limits:
    """The limits of one step, from the configuration, the charger and what was learnt."""

    def __init__(self, settings: Settings, memory: Memory, view: View) -> None:
        """Take the limits as of a poll."""
        self._settings, self._memory, self._view = settings, memory, view
        self.volts = view.volts
        self.can_switch = self._may_switch() and self.used(THREE) > 1

    def _may_switch(self) -> bool:
        """Return whether the phases may be changed; an energy limit would count from 0 again."""
        settled = self._memory.phases_fixed or self._view.energy_limit
        return self._settings.phases is None and not settled

    @property
    def lowest_mode(self) -> int:
        """The smallest number of phases (1 or 3) on which charging can start."""
        return self._settings.lowest_mode if self._may_choose() else self._view.phases

    def _may_choose(self) -> bool:
        return self._may_switch() or (
            self._settings.phases is not None and not self._memory.phases_fixed
        )

    def used(self, phases: int) -> int:
        """Return how many phases the car uses in a mode."""
        if phases == SINGLE:
            return 1
        car = self._settings.car_phases or self._memory.car.phases or THREE
        return max(1, min(car, self._view.live_phases))

    def minimum_w(self, phases: int) -> float:
        """Return the lowest power (W) in a mode."""
        return self.used(phases) * self.volts * self._settings.min_current_a

    def top_a(self, phases: int) -> int:
        """Return the highest current (A) in a mode; it may be lower than the minimum."""
        top = min(self._settings.max_current_a, self._view.limit_a)
        return min(top, self._settings.one_phase_max_a) if phases == SINGLE else top

    def clamped(self, amps: float, phases: int) -> int:
        """Return whole amperes within the limits of a mode."""
        top = self.top_a(phases)
        ceiling_a = self._memory.car.ceiling_a
        if ceiling_a is not None:
            top = min(top, ceiling_a)
        return max(self._settings.min_current_a, min(top, math.floor(amps + ROUNDING_A)))

    def offer_a(self, surplus_w: float, phases: int) -> int:
        """Return the current (A) that the surplus allows.

        It starts from the present current where the car takes what it is offered, because a car
        draws a little less than that.
        """
        volts, view = self.used(phases) * self.volts, self._view
        taken_a = max(view.currents_a, default=0.0)
        if taken_a > view.amps - HEADROOM_A:
            return self.clamped(view.amps + (surplus_w - view.power_w) / volts, phases)
        return self.clamped(surplus_w / volts, phases)
