"""The car at the other end of the cable."""

from __future__ import annotations

from dataclasses import dataclass

TAPER_FROM = 0.9
TAPER_TO = 0.2


@dataclass(slots=True)
class Car:
    """A car with a battery that fills.

    ``battery_wh`` is its capacity (Wh), ``soc`` its state of charge (0 to 1), ``phases`` the phases
    its on-board charger can use (1 to 3), ``max_current_a`` the most it draws per phase (A),
    ``wait_s`` how long it hesitates after plugging in before it draws (s), ``cable_a`` the rating
    of its cable (A), ``efficiency`` the share of the energy that reaches the battery.
    """

    battery_wh: float = 40_000.0
    soc: float = 0.3
    phases: int = 3
    max_current_a: float = 16.0
    wait_s: float = 5.0
    cable_a: int = 32
    efficiency: float = 0.9

    def __post_init__(self) -> None:
        """Refuse a car that cannot exist (ValueError)."""
        if self.battery_wh <= 0 or not 0 <= self.soc <= 1 or self.phases not in (1, 2, 3):
            message = "a car has a battery, a state of charge of 0 to 1, and 1 to 3 phases"
            raise ValueError(message)

    @property
    def full(self) -> bool:
        """True once the battery takes nothing more."""
        return self.soc >= 1.0

    def wanted_a(self) -> float:
        """Return the current (A per phase) it would draw now; it tapers above 90 %."""
        if self.full:
            return 0.0
        share = (1.0 - self.soc) / (1.0 - TAPER_FROM)
        return self.max_current_a * min(1.0, max(TAPER_TO, share))

    def charge(self, energy_wh: float) -> None:
        """Take this much energy (Wh at the plug) into the battery."""
        self.soc = min(1.0, self.soc + energy_wh * self.efficiency / self.battery_wh)
