"""A house with solar panels, loads and a meter, which a charger belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from .battery import Battery
from .car import Car
from .charger import Charger
from .meter import Measurement, Meter
from .weather import DAY_S, HOUR, day

ARRIVAL_S, DEPARTURE_S = 7 * HOUR, 20 * HOUR


class House:
    """A house in one kind of weather (a name in `WEATHERS`), with a meter.

    `time_s` is the time since midnight of the first day (s). All in W: `solar_w`, `load_w` (without
    the charger), `charger_w`, `battery_w` (positive while it discharges) and `grid_w` (positive:
    import). `energy_wh` has the energies (Wh) since then, of positive and of negative power, by the
    names of `powers_w`. Each day has other clouds and loads, which depend on `seed`.
    """

    def __init__(
        self,
        weather: str,
        seed: int | str = 0,
        battery: Battery | None = None,
        meter: Meter | None = None,
        start_s: int = 6 * HOUR,
    ) -> None:
        """Create a house at a time of the day (s since midnight)."""
        self.weather, self.seed = weather, seed
        self.battery = battery
        self.meter = Meter() if meter is None else meter
        self.time_s = start_s
        self.solar_w = self.load_w = self.charger_w = self.battery_w = self.grid_w = 0.0
        self.energy_wh: dict[str, list[float]] = {name: [0.0, 0.0] for name in self.powers_w}
        self._day = day(weather, seed)

    def step(self, charger_w: float) -> None:
        """Simulate a second, in which the charger draws `charger_w`."""
        second = self.time_s % DAY_S
        if second == 0 and self.time_s:
            self._day = day(self.weather, f"{self.seed}/{self.time_s // DAY_S}")
        self.solar_w, self.load_w = self._day.at(second)
        self.charger_w = charger_w
        import_w = self.load_w + charger_w - self.solar_w
        self.battery_w = self.battery.step(import_w) if self.battery else 0.0
        self.grid_w = import_w - self.battery_w
        measured = Measurement(self.time_s, self.grid_w, self.solar_w, self.battery_w)
        self.meter.measure(measured, charger_w)
        self._count()
        self.time_s += 1

    @property
    def powers_w(self) -> dict[str, float]:
        """The powers (W) by name; that of the home includes the car."""
        return {
            "home": self.load_w + self.charger_w,
            "grid": self.grid_w,
            "car": self.charger_w,
            "solar": self.solar_w,
            "battery": self.battery_w,
        }

    def _count(self) -> None:
        """Add the energy of this second to all counters."""
        for name, watts in self.powers_w.items():
            self.energy_wh[name][watts < 0] += abs(watts) / 3600

    def live(self, charger: Charger) -> Iterator[float]:
        """Let a car be at home from 7 to 20 o'clock, with room for a day's charge.

        Each iteration simulates a second and yields the simulated seconds until the next one.
        """
        charger.unplug()
        while True:
            home = ARRIVAL_S <= self.time_s % DAY_S < DEPARTURE_S
            if home and charger.car is None:
                charger.plug(Car(battery_wh=200_000.0, soc=0.1))
            elif charger.car is not None and not home:
                charger.unplug()
            self.step(charger.power_w)
            yield 1.0
