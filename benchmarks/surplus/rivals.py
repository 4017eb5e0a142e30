"""The rules that surplus control is compared with: openHAB's two, and evcc's as described.

They are written from descriptions of their behaviour and are not those products. They are not
tuned: evcc has its defaults (every 30 s, on after 1 minute, off after 3, 6 to 16 A).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

VOLTS = 230.0
LOWEST_A, HIGHEST_A = 6, 16
NEUTRAL, OFF, ON = 0, 1, 2
SINGLE, THREE = 1, 2
NEVER = float("-inf")


class Seen(NamedTuple):
    """What a rule sees of the charger: its keys `amp`, `frc` and `psm`, its power and currents.

    `closed_phases` are live after the contactor; `idle` and `switching` are what `car` and
    `modelStatus` say.
    """

    time: float
    power_w: float
    amp: int
    frc: int
    psm: int
    currents_a: tuple[float, ...]
    charging: bool
    closed_phases: int = 0
    idle: bool = False
    switching: bool = False
    polled_at: float = 0.0


class Read(NamedTuple):
    """What a rule reads of the meters: import, the battery's discharge (W), and the age (s)."""

    grid_w: float
    battery_w: float
    age_s: float


Put = Callable[[str, int], None]


class Rule(Protocol):
    """A controller that is called every `interval_s`."""

    interval_s: int

    def step(self, seen: Seen, read: Read, put: Put) -> None:
        """Decide once, and write with `put(key, value)`."""


class OpenHab:
    """openHAB's advanced rule; that of 3.3 forgets what the charger itself draws, 4.x knows it."""

    interval_s = 10

    def __init__(self, *, knows_charger: bool) -> None:
        """Choose the version."""
        self._knows_charger = knows_charger

    def _available_w(self, seen: Seen, read: Read) -> float:
        if not self._knows_charger:
            return max(0.0, -read.grid_w)
        idle_import = read.grid_w > 0 and seen.power_w <= 0
        return 0.0 if idle_import else seen.power_w - read.grid_w

    def step(self, seen: Seen, read: Read, put: Put) -> None:
        """Choose three phases, one, or off."""
        watts = self._available_w(seen, read)
        three_a, one_a = min(HIGHEST_A, watts / 3 / VOLTS), watts / VOLTS
        if (three_a if self._knows_charger else int(three_a)) >= LOWEST_A:
            self._charge(seen, put, THREE, int(three_a))
        elif int(one_a) >= LOWEST_A:
            # An 11 kW charger refuses more than 16 A.
            self._charge(seen, put, SINGLE, min(HIGHEST_A, int(one_a)))
        elif seen.frc != OFF:
            put("amp", LOWEST_A)
            put("frc", OFF)

    def _charge(self, seen: Seen, put: Put, mode: int, amps: int) -> None:
        if seen.frc != NEUTRAL:
            put("frc", NEUTRAL)
        if seen.psm != mode:
            put("psm", mode)
        if seen.amp != amps:
            put("amp", amps)


class Evcc:
    """evcc's PV mode as described: timers for on, off and phases, reset by one good sample."""

    def __init__(self, interval_s: int = 30, on_after_s: int = 60, off_after_s: int = 180) -> None:
        """Begin without knowing the charger's phases."""
        self.interval_s = interval_s
        self._on_after_s, self._off_after_s = on_after_s, off_after_s
        self._offered_a = 0.0
        self._enabled, self._begun = False, False
        self._phases = self._measured = 0
        self._timer: float | None = None
        self._phase_timer: float | None = None
        self._switched_at = NEVER

    def _active(self) -> int:
        return min(each if each > 0 else 3 for each in (self._phases, self._measured))

    def _most(self) -> int:
        measured = self._measured if self._phases > 1 else 0
        return measured if measured > 0 else 3

    def step(self, seen: Seen, read: Read, put: Put) -> None:
        """Decide on phases, then on charging, then on the current."""
        charging = seen.charging and seen.power_w > 200
        if not self._begun:
            self._begun = True
            put("frc", OFF)
        if charging and seen.time - self._switched_at > 60 and max(seen.currents_a) > 1:
            self._measured = max(self._measured, sum(each > 1 for each in seen.currents_a))
        site_w = read.grid_w + read.battery_w
        scaled = 0
        if seen.time - self._switched_at >= 60:
            scaled = self._scale(seen, site_w, put, charging=charging)
        active = self._active()
        offered_a = min(max(seen.currents_a) + 2, self._offered_a) if charging else 0.0
        if scaled == 3:
            offered_a /= self._most()
        target_a = max(0.0, offered_a - site_w / (VOLTS * active))
        self._limit(self._decided_a(seen.time, site_w, target_a, active), put)

    def _scale(self, seen: Seen, site_w: float, put: Put, *, charging: bool) -> int:
        active, watts, waits = self._active(), seen.power_w - site_w, False
        short = watts / (VOLTS * active) < LOWEST_A
        if active > 1 and (site_w > 0 or not self._enabled) and short:
            if self._elapsed(seen.time, self._off_after_s, charging=charging):
                if self._phases != 1:
                    self._switch(seen.time, SINGLE, 1, put)
                return 1
            waits = True
        most = self._most()
        enough = watts / VOLTS > HIGHEST_A and watts / (VOLTS * most) >= LOWEST_A
        if most > 1 and self._phases < most and enough:
            if self._elapsed(seen.time, self._on_after_s, charging=charging):
                if self._phases != 3:
                    self._switch(seen.time, THREE, 3, put)
                return 3
            waits = True
        if not waits:
            self._phase_timer = None
        return 0

    def _elapsed(self, time: float, seconds: int, *, charging: bool) -> bool:
        if not charging:
            self._phase_timer = NEVER
        if self._phase_timer is None:
            self._phase_timer = time
        return time - self._phase_timer >= seconds

    def _switch(self, time: float, mode: int, phases: int, put: Put) -> None:
        put("psm", mode)
        self._switched_at, self._phases, self._phase_timer = time, phases, None
        self._measured = 0

    def _decided_a(self, time: float, site_w: float, target_a: float, active: int) -> float:
        if self._enabled and target_a < LOWEST_A:
            if self._phase_timer is not None:
                site_w -= VOLTS * LOWEST_A * (active - 1)
            if site_w < 0:
                self._timer = None
                return LOWEST_A
            return 0.0 if self._timed(time, self._off_after_s) else LOWEST_A
        if not self._enabled:
            if target_a < LOWEST_A:
                self._timer = None
                return 0.0
            return LOWEST_A if self._timed(time, self._on_after_s) else 0.0
        self._timer = None
        return min(target_a, HIGHEST_A)

    def _timed(self, time: float, seconds: int) -> bool:
        if self._timer is None:
            self._timer = time
        if time - self._timer < seconds:
            return False
        self._timer = None
        return True

    def _limit(self, amps: float, put: Put) -> None:
        whole = math.trunc(amps)
        if whole != self._offered_a and whole >= LOWEST_A:
            put("amp", whole)
            self._offered_a = whole
        if (whole >= LOWEST_A) != self._enabled:
            self._enabled = whole >= LOWEST_A
            put("frc", ON if self._enabled else OFF)
            if not self._enabled:
                self._offered_a = 0
