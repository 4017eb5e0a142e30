"""The sun and the loads of a house, second by second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

HOUR = 3600
DAY_S = 24 * HOUR
DAWN_S, DUSK_S = 5 * HOUR, 21 * HOUR
"""The part of a day that is simulated in detail; at night only the standby load is drawn."""

STANDBY_W, FRIDGE_W, FRIDGE_S = 250.0, 100.0, 900
KETTLES, KETTLE_W, KETTLE_S = 6, 2000.0, 180
WASHES, WASH_W, WASH_S = 2, 2000.0, 900
OVEN_W, OVEN_S, OVEN_CYCLE_S = 2200.0, 2700, 60
CLOUD_EDGE_S = 20.0
HAZE_S = 60.0
SHAPE = 1.3
ALWAYS = 1e9


@dataclass(frozen=True, slots=True)
class Weather:
    """A kind of day.

    `clear_s` and `cloudy_s` are the mean lengths of a sunny and of a cloudy spell (s), `through`
    the share of the sun that passes a cloud, `haze` the noise, `peak_w` the power of the panels at
    noon (W), `rise_s` and `set_s` the times of sunrise and sunset (s since midnight).
    """

    name: str
    clear_s: float
    cloudy_s: float
    through: float
    haze: float
    peak_w: float = 8000.0
    rise_s: float = 5.5 * HOUR
    set_s: float = 20.5 * HOUR


WEATHERS = {
    weather.name: weather
    for weather in (
        Weather("sunny", ALWAYS, 1, 0.9, 0.01),
        Weather("scattered", 600, 180, 0.35, 0.03),
        Weather("broken", 150, 150, 0.25, 0.05),
        Weather("overcast", 1, ALWAYS, 0.28, 0.08),
        Weather("small", 600, 240, 0.35, 0.03, peak_w=4800.0),
        Weather("winter", 900, 600, 0.3, 0.03, 4000.0, 7.5 * HOUR, 16.5 * HOUR),
    )
}
"""The kinds of day by name."""


@dataclass(frozen=True, slots=True)
class Day:
    """The power (W) of the panels and of the house's loads in each second from dawn to dusk."""

    solar_w: list[float]
    load_w: list[float]

    def at(self, second: int) -> tuple[float, float]:
        """Return both at a time of the day (s since midnight)."""
        index = second - DAWN_S
        if 0 <= index < len(self.solar_w):
            return self.solar_w[index], self.load_w[index]
        return 0.0, STANDBY_W


def day(weather: str, seed: int | str = 0) -> Day:
    """Return a day of this weather; the same seed gives the same day."""
    kind, chance = WEATHERS[weather], Random(f"{seed}")  # noqa: S311  (weather, not a secret)
    sky = _Sky(kind, chance)
    appliances = _appliances(chance)
    solar_w, load_w = [], []
    for index, appliance_w in enumerate(appliances):
        solar_w.append(sky.power_w(DAWN_S + index))
        fridge_w = FRIDGE_W if (index // FRIDGE_S) % 4 == 0 else 0.0
        load_w.append(STANDBY_W + fridge_w + appliance_w + chance.gauss(0, 15))
    return Day(solar_w, load_w)


class _Sky:
    """Clouds that come and go."""

    def __init__(self, kind: Weather, chance: Random) -> None:
        self._kind, self._chance = kind, chance
        self._cloudy = chance.random() < kind.cloudy_s / (kind.clear_s + kind.cloudy_s)
        self._left_s = self._spell_s()
        self._light = self._target()
        self._haze = 0.0

    def _spell_s(self) -> float:
        mean_s = self._kind.cloudy_s if self._cloudy else self._kind.clear_s
        return self._chance.expovariate(1 / mean_s)

    def _target(self) -> float:
        return self._kind.through if self._cloudy else 1.0

    def power_w(self, second: int) -> float:
        """Return the power (W) of the panels in the next second, at this time of the day (s)."""
        kind = self._kind
        self._left_s -= 1
        if self._left_s <= 0:
            self._cloudy = not self._cloudy
            self._left_s = self._spell_s()
        self._light += (self._target() - self._light) / CLOUD_EDGE_S
        self._haze += -self._haze / HAZE_S + self._chance.gauss(0, kind.haze) / 8
        height = (second - kind.rise_s) / (kind.set_s - kind.rise_s)
        if not 0 < height < 1:
            return 0.0
        sun: float = kind.peak_w * math.sin(math.pi * height) ** SHAPE
        return max(0.0, sun * max(0.0, self._light + self._haze))


def _appliances(chance: Random) -> list[float]:
    """Return the power (W) of kettles, washing machines and an oven in each second."""
    load_w = [0.0] * (DUSK_S - DAWN_S)
    events = [
        *(
            (chance.uniform(DAWN_S + HOUR, DUSK_S - HOUR), KETTLE_S, KETTLE_W)
            for _ in range(KETTLES)
        ),
        *(
            (chance.uniform(DAWN_S + 3 * HOUR, DUSK_S - 4 * HOUR), WASH_S, WASH_W)
            for _ in range(WASHES)
        ),
    ]
    oven_s = chance.uniform(11 * HOUR, 13 * HOUR)
    for start_s, length_s, power_w in events:
        for index in range(int(start_s - DAWN_S), int(start_s - DAWN_S + length_s)):
            load_w[index] += power_w
    for index in range(int(oven_s - DAWN_S), int(oven_s - DAWN_S + OVEN_S)):
        load_w[index] += OVEN_W if (index // OVEN_CYCLE_S) % 2 else 0.0
    return load_w
