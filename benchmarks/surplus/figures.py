"""What a day of charging with the surplus came to."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

QUARTER_S, HOUR_S = 900, 3600
JOULES = 3.6e6
VOLTS, LOWEST_A, HIGHEST_A = 230.0, 6, 16


@dataclass
class Day:
    """The figures of a day; energies in kWh, `worst_quarter_wh` in Wh.

    `solar` is the car's energy from the sun, `imported` from the grid, `battery` from the house's
    battery, `ideal` what perfect knowledge would have taken from the sun. `operations` are the
    times (s) at which the contactor was operated, `writes` the times by key.
    """

    ideal: float
    solar: float = 0.0
    imported: float = 0.0
    battery: float = 0.0
    operations: list[int] = field(default_factory=list)
    switches: int = 0
    writes: list[tuple[int, str, object]] = field(default_factory=list)
    worst_quarter_wh: float = 0.0
    recent_j: deque[float] = field(default_factory=deque)
    sum_j: float = 0.0

    def second(self, charger_w: float, surplus_w: float, battery_w: float) -> None:
        """Book a second; `surplus_w` is what the sun gives beyond the house's loads."""
        sun_w = max(surplus_w, 0.0)
        beyond_w = max(0.0, charger_w - sun_w)
        from_battery_w = min(beyond_w, max(battery_w, 0.0))
        self.solar += min(charger_w, sun_w) / JOULES
        self.battery += from_battery_w / JOULES
        self.imported += (beyond_w - from_battery_w) / JOULES
        self.recent_j.append(beyond_w)
        self.sum_j += beyond_w
        if len(self.recent_j) > QUARTER_S:
            self.sum_j -= self.recent_j.popleft()
        self.worst_quarter_wh = max(self.worst_quarter_wh, self.sum_j / HOUR_S)

    @property
    def taken(self) -> float:
        """The car's energy (kWh)."""
        return self.solar + self.imported + self.battery

    @property
    def hourly_operations(self) -> int:
        """The most contactor operations in any hour."""
        return busiest(self.operations)

    @property
    def hourly_currents(self) -> int:
        """The most changes of the current in any hour."""
        return busiest([time for time, key, _ in self.writes if key == "amp"])

    @property
    def hourly_writes(self) -> int:
        """The most writes in an hour of the clock."""
        return max(Counter(time // HOUR_S for time, _, _ in self.writes).values(), default=0)


def busiest(times: Sequence[int]) -> int:
    """Return the largest number of times, in ascending order, within any hour."""
    ends = (bisect_left(times, each + HOUR_S) for each in times)
    return max((end - start for start, end in enumerate(ends)), default=0)


@dataclass
class Summary:
    """The figures of several days: sums, means and the worst."""

    days: list[Day]

    def _sum(self, name: str) -> float:
        return sum(getattr(day, name) for day in self.days)

    @property
    def solar_share(self) -> float:
        """Solar energy in the car, as a share of the ideal."""
        return self._sum("solar") / self._sum("ideal")

    @property
    def import_share(self) -> float:
        """Import for charging, as a share of the car's energy."""
        return self._sum("imported") / max(self._sum("taken"), 1e-9)

    @property
    def imported(self) -> float:
        """Import for charging (kWh a day)."""
        return self._sum("imported") / len(self.days)

    @property
    def operations(self) -> float:
        """Contactor operations a day."""
        return sum(len(day.operations) for day in self.days) / len(self.days)

    @property
    def hourly_operations(self) -> int:
        """The most contactor operations in any hour."""
        return max(day.hourly_operations for day in self.days)

    @property
    def switches(self) -> float:
        """Phase switches a day."""
        return self._sum("switches") / len(self.days)

    @property
    def writes(self) -> float:
        """Writes an hour, over the 16 hours of a day."""
        return sum(len(day.writes) for day in self.days) / len(self.days) / 16

    @property
    def hourly_writes(self) -> int:
        """The most writes in an hour of the clock."""
        return max(day.hourly_writes for day in self.days)

    @property
    def hourly_currents(self) -> int:
        """The most changes of the current in any hour."""
        return max(day.hourly_currents for day in self.days)

    @property
    def worst_quarter_wh(self) -> float:
        """The largest import in any quarter of an hour (Wh)."""
        return max(day.worst_quarter_wh for day in self.days)


def ideal_kwh(surplus_w: Iterable[float], phases: int = 3) -> float:
    """Return the energy (kWh) that perfect knowledge takes: whole amperes, never importing."""
    modes = sorted({1, phases})
    total_j = 0.0
    for watts in surplus_w:
        best = 0.0
        for count in modes:
            amps = min(HIGHEST_A, int(watts / (count * VOLTS)))
            if amps >= LOWEST_A:
                best = max(best, count * amps * VOLTS)
        total_j += best
    return total_j / JOULES
