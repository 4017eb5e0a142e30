"""Where the charged energy came from, integrated over the steps."""

from __future__ import annotations

from collections.abc import Mapping

from goe_exporter.control.rules import Input
from goe_exporter.surplus.settings import HOUR_S
from goe_exporter.surplus.situation import Sample, View

MAX_STEP_S = 60.0
ORIGINS = ("sun", "battery", "grid")


class Energy:
    """Charged energy (Wh) by origin since the start.

    Power from the grid or the battery is attributed to the charger first, up to its own power; the
    rest of that comes from the sun. `includes_charger` is whether the grid meter sees the
    charger. Nothing is counted while the sources give no value.
    """

    def __init__(self, *, includes_charger: bool = True) -> None:
        self._includes_charger = includes_charger
        self._wh = dict.fromkeys(ORIGINS, 0.0)
        self._counted_at: float | None = None

    def totals(self) -> Mapping[str, float]:
        """Return the energy by origin."""
        return dict(self._wh)

    def count(self, now: float, read: Input, view: View | None) -> None:
        """Count the time since the last call."""
        before, self._counted_at = self._counted_at, now
        sample = read.sample
        if before is None or view is None or read.failed or not isinstance(sample, Sample):
            return
        hours = min(now - before, MAX_STEP_S) / HOUR_S
        power_w = max(view.power_w, 0.0)
        grid_w = sample.grid_w + (0.0 if self._includes_charger else power_w)
        from_grid_w = min(power_w, max(grid_w, 0.0))
        from_battery_w = min(power_w - from_grid_w, max(sample.battery_w or 0.0, 0.0))
        self._wh["grid"] += from_grid_w * hours
        self._wh["battery"] += from_battery_w * hours
        self._wh["sun"] += (power_w - from_grid_w - from_battery_w) * hours
