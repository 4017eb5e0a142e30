"""A day with a controller: on a light model of a charger, or on the product's simulator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from benchmarks.surplus.figures import Day, ideal_kwh
from benchmarks.surplus.rivals import Read, Rule, Seen
from goe_exporter.simulator import Battery, Car, Charger, House, Meter
from goe_exporter.simulator.weather import DAWN_S, DUSK_S, day

SECONDS = DUSK_S - DAWN_S
POLL_S, FIRST_S, PLUG_S = 5, 65, 60
RAMP_A, DRAWN = 4.0, 0.97
WAKE_S, SWITCH_S, VOLTS = 2, 5, 230


@dataclass(frozen=True)
class Setup:
    """A day's circumstances: weather and seed, meter, car, and a fault of the meter.

    `fault` begins at `fault_from` and ends at `fault_to` (s since midnight).
    """

    weather: str
    seed: int = 1
    meter_s: int = 5
    late_s: int = 2
    phases: int = 3
    battery: bool = False
    fault: str | None = None
    fault_from: int = 0
    fault_to: int = DUSK_S

    @property
    def stream(self) -> str:
        """The seed of the house; those of sunny days keep the name of the first draft."""
        return f"{'clear' if self.weather == 'sunny' else self.weather}{self.seed}"


@lru_cache(maxsize=32)
def ideal(weather: str, stream: str, phases: int) -> float:
    """Return the ideal energy (kWh) of a day."""
    course = day(weather, stream)
    pairs = zip(course.solar_w, course.load_w, strict=True)
    return ideal_kwh((solar - load for solar, load in pairs), phases)


class LightCharger:
    """Writes take 1 s, a phase switch 5 s, a start 2 s; the car takes 97 % of the offer."""

    def __init__(self, phases: int) -> None:
        """Begin with 16 A on three phases, open."""
        self.amp, self.frc, self.psm = 16, 0, 0
        self.closed = self.power_w = self.current_a = 0.0
        self.operations = self.switches = 0
        self._car, self._last = phases, 0
        self._wake, self._switching = WAKE_S, 0
        self._pending: list[tuple[int, str, int]] = []
        self._time = 0

    def write(self, key: str, value: int) -> None:
        """Write a key, which applies a second later."""
        self._pending.append((self._time + 1, key, value))

    def second(self, time: int) -> None:
        """Simulate a second."""
        self._time = time
        while self._pending and self._pending[0][0] <= time:
            _, key, value = self._pending.pop(0)
            setattr(self, key, value)
        wanted = 1 if self.psm == 1 else 3
        self._switching = max(0, self._switching - 1)
        if self.frc == 1:
            if self.closed:
                self._open()
        elif self.closed and self.closed != wanted:
            self._open()
            self._switching = SWITCH_S
        elif not self.closed and not self._switching:
            self._wake -= 1
            if self._wake <= 0:
                self.closed = wanted
                self.operations += 1
                self.switches += bool(self._last and self._last != wanted)
                self._last = wanted
        target_a = DRAWN * min(self.amp, 16) if self.closed else 0.0
        self.current_a += max(-RAMP_A, min(RAMP_A, target_a - self.current_a))
        self.power_w = min(self.closed, self._car) * VOLTS * self.current_a

    def _open(self) -> None:
        self.closed, self.current_a = 0, 0.0
        self.operations += 1
        self._wake = WAKE_S

    def seen(self, time: float) -> Seen:
        """Return what a poll shows."""
        used = min(self.closed, self._car)
        currents = tuple(self.current_a if phase < used else 0.0 for phase in range(3))
        return Seen(
            time,
            self.power_w,
            self.amp,
            self.frc,
            self.psm,
            currents,
            bool(self.closed),
            int(self.closed),
            polled_at=time,
        )


class SimulatedCharger:
    """The product's simulator: a V3 with 11 kW, its noise, and its phase switch of 10 s."""

    def __init__(self, phases: int, seed: int) -> None:
        """Begin without a car."""
        self.charger = Charger("V3", seed=seed)
        self._car = Car(phases=phases, max_current_a=16, battery_wh=200_000, soc=0.1)
        self.switches, self._last = 0, 0

    @property
    def operations(self) -> int:
        """Contactor operations so far."""
        return self.charger.contactor_operations

    @property
    def power_w(self) -> float:
        """The present power (W)."""
        return self.charger.power_w

    def write(self, key: str, value: int) -> None:
        """Write a key of API v2."""
        self.charger.write(key, value)

    def second(self, time: int) -> None:
        """Simulate a second; the car comes after a minute."""
        if time == PLUG_S:
            self.charger.plug(self._car)
        self.charger.advance(1)
        closed = self.charger.contactor_phases
        if closed and closed != self._last:
            self.switches += bool(self._last)
            self._last = closed

    def seen(self, time: float) -> Seen:
        """Return what a poll shows."""
        charger = self.charger
        currents = tuple(round(each, 1) for each in charger.phase_current_a)
        return Seen(
            time,
            round(charger.power_w, -1),
            charger.amp,
            charger.force,
            charger.phase_mode,
            currents,
            charger.car_state == 2,
            charger.contactor_phases,
            idle=charger.car_state == 1,
            switching=charger.model_status == 23,
            polled_at=time,
        )


def run(setup: Setup, rule: Rule, *, light: bool = False) -> Day:
    """Return the figures of a day with a rule."""
    charger = LightCharger(setup.phases) if light else SimulatedCharger(setup.phases, setup.seed)
    battery = Battery() if setup.battery else None
    meter = Meter(setup.meter_s, setup.late_s)
    house = House(setup.weather, setup.stream, battery, meter, start_s=DAWN_S)
    booked = Day(ideal(setup.weather, setup.stream, setup.phases))
    seen, next_step = charger.seen(DAWN_S), 0
    for second in range(SECONDS):
        time = DAWN_S + second
        if setup.fault:
            meter.fault = setup.fault if setup.fault_from <= time < setup.fault_to else None
        before = charger.operations
        charger.second(second)
        booked.operations += [time] * (charger.operations - before)
        house.step(charger.power_w)
        if second % POLL_S == 0:
            seen = charger.seen(time)
        if time >= next_step and second > FIRST_S:
            next_step = time + rule.interval_s

            def put(key: str, value: int, time: int = time) -> None:
                booked.writes.append((time, key, value))
                charger.write(key, value)

            shown = meter.shown
            if shown is None:
                rule.step(seen._replace(time=time), Read(0.0, 0.0, float("inf")), put)
            else:
                read = Read(shown.grid_w, shown.battery_w, time - shown.time_s)
                rule.step(seen._replace(time=time), read, put)
        booked.second(charger.power_w, house.solar_w - house.load_w, house.battery_w)
    booked.switches = charger.switches
    return booked


REFERENCE = tuple(
    Setup(weather, seed)
    for weather in ("sunny", "scattered", "broken", "overcast", "small", "winter")
    for seed in (1, 2)
)
"""The 12 reference days."""
HARD = tuple(each for each in REFERENCE if each.weather in ("scattered", "broken"))
"""Those with the most clouds."""
