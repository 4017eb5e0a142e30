"""The grammar of the section's quantities: currents, powers, energies and numbers of phases.

Every parser returns the value or raises `ValueError` with what is allowed.
"""

from __future__ import annotations

import re

from goe_exporter.config.quoting import shown
from goe_exporter.config.values import seconds_between
from goe_exporter.surplus.settings import HIGHEST_A, LOWEST_A

MIN_RESERVE_W, MAX_RESERVE_W = -5_000.0, 20_000.0
MIN_BUDGET_WH, MAX_BUDGET_WH = 10.0, 2_000.0
MIN_START_AFTER_S, MAX_START_AFTER_S = 10.0, 300.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
MIN_STALE_S, MAX_STALE_S = 20.0, 180.0

_CURRENT = re.compile(r"([0-9]{1,2}) ?A?")
_POWER = re.compile(r"(-?[0-9]{1,6}(?:\.[0-9]{1,3})?) ?(W|kW)")
_ENERGY = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(Wh|kWh)")
_KILO = {"W": 1, "kW": 1000, "Wh": 1, "kWh": 1000}


def current(value: object) -> int:
    """Return the amperes of a current such as `16A`, within what a charger can be set to."""
    match = _CURRENT.fullmatch(str(value)) if type(value) in (int, str) else None
    if match is None or not LOWEST_A <= int(match[1]) <= HIGHEST_A:
        raise ValueError(f"must be {LOWEST_A}A to {HIGHEST_A}A, not {shown(value)}")
    return int(match[1])


def reserve(text: object) -> float:
    """Return the watts of a power such as `100W` or `-0.5kW`, -5 to 20 kW."""
    return _between(_POWER, MIN_RESERVE_W, MAX_RESERVE_W, text, "-5kW to 20kW, such as 100W")


def budget(text: object) -> float:
    """Return the watt-hours of an energy such as `120Wh`, 10 Wh to 2 kWh."""
    return _between(_ENERGY, MIN_BUDGET_WH, MAX_BUDGET_WH, text, "10Wh to 2kWh, such as 120Wh")


def phases(value: object) -> int | None:
    """Return 1 or 3, None for `auto` and for no value."""
    return value if value is None else _count(value, (1, 3), "auto, 1 or 3")


def car_phases(value: object) -> int | None:
    """Return 1, 2 or 3, None for `auto`."""
    return _count(value, (1, 2, 3), "auto, 1, 2 or 3")


def start_after(text: object) -> float:
    """Return the seconds of a duration, 10 s to 5 min."""
    return seconds_between(MIN_START_AFTER_S, MAX_START_AFTER_S, text, "10s to 5m")


def min_pause(text: object) -> float:
    """Return the seconds of a duration, 1 min to 1 h."""
    return seconds_between(SHORTEST_PAUSE_S, LONGEST_PAUSE_S, text, "1m to 1h")


def stale_after(text: object) -> float:
    """Return the seconds of a duration, 20 s to 3 min."""
    return seconds_between(MIN_STALE_S, MAX_STALE_S, text, "20s to 3m")


def _count(value: object, allowed: tuple[int, ...], rule: str) -> int | None:
    if value == "auto":
        return None
    found = {str(count): count for count in allowed}.get(str(value))
    if found is None:
        raise ValueError(f"must be {rule}, not {shown(value)}")
    return found


def _between(pattern: re.Pattern[str], low: float, high: float, text: object, rule: str) -> float:
    match = pattern.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        value = float(match[1]) * _KILO[match[2]]
        if low <= value <= high:
            return value
    raise ValueError(f"must be {rule}, not {shown(text)}")
