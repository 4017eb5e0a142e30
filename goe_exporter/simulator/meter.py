"""The meter at the house's grid connection, and its faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

METER_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "blind": "the meter does not see the charger",
        "dead": "no values",
        "frozen": "the last values, with the time at which they were measured",
        "repeating": "the last values, with the present time",
        "wrong_sign": "export is positive",
    }
)
"""Each fault of the meter and its effect."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the meter measured at `time_s` (s of the house's clock).

    All in W: `grid_w` (positive: import), `solar_w`, `battery_w` (positive: discharging).
    """

    time_s: float
    grid_w: float
    solar_w: float
    battery_w: float


class Meter:
    """A meter that measures every `interval_s` and shows a value `delay_s` after it was measured.

    `fault` is a name in `METER_FAULTS`, None if it is healthy.
    """

    def __init__(self, interval_s: int = 5, delay_s: int = 2) -> None:
        """Create a meter that has not measured yet."""
        self.interval_s, self.delay_s = interval_s, delay_s
        self._recent: deque[Measurement] = deque(maxlen=delay_s + 1)
        self._shown: Measurement | None = None
        self._count = 0
        self._fault: str | None = None

    @property
    def fault(self) -> str | None:
        """The simulated fault; ValueError for a name that is not in `METER_FAULTS`."""
        return self._fault

    @fault.setter
    def fault(self, name: str | None) -> None:
        if name is not None and name not in METER_FAULTS:
            message = f"fault: must be one of {', '.join(METER_FAULTS)}, not {name!r}"
            raise ValueError(message)
        self._fault = name

    def measure(self, measurement: Measurement, charger_w: float) -> None:
        """Measure a second, in which the charger drew `charger_w`."""
        if self._fault == "blind":
            measurement = replace(measurement, grid_w=measurement.grid_w - charger_w)
        elif self._fault == "wrong_sign":
            measurement = replace(measurement, grid_w=-measurement.grid_w)
        self._recent.append(measurement)
        if self._fault == "repeating" and self._shown is not None:
            self._shown = replace(self._shown, time_s=measurement.time_s)
        elif self._count % self.interval_s == 0 and self._fault != "frozen":
            self._shown = self._recent[0]
        self._count += 1

    @property
    def shown(self) -> Measurement | None:
        """The values it shows, None if there are none."""
        return None if self._fault == "dead" else self._shown
