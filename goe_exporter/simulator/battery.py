"""A house battery whose own controller keeps the grid power near zero."""

from __future__ import annotations

EMPTY, FULL = 0.05, 1.0
EFFICIENCY = 0.95
REACTION_S = 3.0


class Battery:
    """A house battery.

    `charge` is its state of charge (0 to 1), `power_w` its power (W, positive while it discharges).
    """

    def __init__(
        self, capacity_wh: float = 10_000.0, max_power_w: float = 5_000.0, charge: float = 0.2
    ) -> None:
        """Create a battery that is idle."""
        self.capacity_wh = capacity_wh
        self.max_power_w = max_power_w
        self.charge = charge
        self.power_w = 0.0

    def step(self, import_w: float) -> float:
        """Simulate a second, and return its power (W).

        `import_w` is the grid power that the house would draw without the battery.
        """
        wanted_w = max(-self.max_power_w, min(self.max_power_w, import_w))
        self.power_w += (self._possible_w(wanted_w) - self.power_w) / REACTION_S
        self.power_w = self._possible_w(self.power_w)
        loss = EFFICIENCY if self.power_w < 0 else 1 / EFFICIENCY
        self.charge -= self.power_w / 3600 / self.capacity_wh * loss
        return self.power_w

    def _possible_w(self, power_w: float) -> float:
        full, empty = self.charge >= FULL, self.charge <= EMPTY
        return 0.0 if (full and power_w < 0) or (empty and power_w > 0) else power_w
