"""The car that is charged."""

from __future__ import annotations

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
    """

    battery_wh: float = 40_000.0
    soc: float = 0.3
    phases: int = 3
    max_current_a: float = 16.0
    wait_s: float = 5.0
    cable_a: int = 32
    efficiency: float = 0.9

    def __post_init__(self) -> None:
        """Raise ValueError for an impossible car."""
        if self.battery_wh <= 0 or not 0 <= self.soc <= 1 or self.phases not in (1, 2, 3):
            message = "a car has a battery, a state of charge of 0 to 1, and 1 to 3 phases"
            raise ValueError(message)

    @property
    def full(self) -> bool:
        """Whether the battery is full."""
        return self.soc >= 1.0

    def demand_a(self) -> float:
        """Return the current (A per phase) that it would draw now; it tapers above 90 %."""
        if self.full:
            return 0.0
        share = (1.0 - self.soc) / (1.0 - TAPER_FROM)
        return self.max_current_a * min(1.0, max(TAPER_TO, share))

    def charge(self, energy_wh: float) -> None:
        """Charge the battery with this energy (Wh at the plug)."""
        self.soc = min(1.0, self.soc + energy_wh * self.efficiency / self.battery_wh)
