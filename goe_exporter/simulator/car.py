"""The car that is charged."""

from __future__ import annotations

import math
from dataclasses import dataclass

TAPER_FROM = 0.9
TAPER_TO = 0.2


@dataclass(slots=True)
class Car:
    """A car with a battery that fills.

    `battery_wh` is its capacity (Wh), `soc` its state of charge (0 to 1), `phases` the number of
    phases of its on-board charger (1 to 3), `max_current_a` its maximum current per phase (A),
    `wait_s` the delay between plugging in and charging (s), `cable_a` the rating of its cable (A),
    `efficiency` the share of the energy that reaches the battery.

    It does not charge while it is offered less than `min_current_a` (A per phase). After a pause or
    a phase switch it draws again `resume_s` (s) after it is offered current. A car that was paused
    for longer than `sleep_after_s` (s) is asleep, and takes `wake_s` (s) instead: `math.inf` until
    it is plugged in again.
    """

    battery_wh: float = 40_000.0
    soc: float = 0.3
    phases: int = 3
    max_current_a: float = 16.0
    wait_s: float = 5.0
    cable_a: int = 32
    efficiency: float = 0.9
    min_current_a: float = 6.0
    resume_s: float = 2.0
    sleep_after_s: float = math.inf
    wake_s: float = math.inf

    def __post_init__(self) -> None:
        """Raise ValueError for an impossible car."""
        if self.battery_wh <= 0 or not 0 <= self.soc <= 1 or self.phases not in (1, 2, 3):
            message = "a car has a battery, a state of charge of 0 to 1, and 1 to 3 phases"
            raise ValueError(message)

    @property
    def full(self) -> bool:
        """Whether the battery is full."""
        return self.soc >= 1.0

    def delay_s(self, paused_s: float) -> float:
        """Return the time (s) until it draws again after a pause of this length (s)."""
        return self.wake_s if paused_s > self.sleep_after_s else self.resume_s

    def demand_a(self) -> float:
        """Return the current (A per phase) that it would draw now; it tapers above 90 %."""
        if self.full:
            return 0.0
        share = (1.0 - self.soc) / (1.0 - TAPER_FROM)
        return self.max_current_a * min(1.0, max(TAPER_TO, share))

    def charge(self, energy_wh: float) -> None:
        """Charge the battery with this energy (Wh at the plug)."""
        self.soc = min(1.0, self.soc + energy_wh * self.efficiency / self.battery_wh)
