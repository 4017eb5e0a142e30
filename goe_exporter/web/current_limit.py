"""What limits the current a car may draw: pure, over a charger's readings (PROTOCOL.md §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ADAPTER_AMPERES = 16.0
OTHER = "other"

_SOURCES = {
    "cable_current": "cable",
    "temperature_current_limit": "temperature",
    "load_balancing_current": "load_balancing",
    "absolute_max_current": "charger",
}
"""Channel → what it is called as a limit; the set current and the adapter are treated apart."""

SOURCES = ("set", "set_temporary", "adapter", *_SOURCES.values(), OTHER)
"""Everything that can be named as a limit."""


class CurrentLimit(NamedTuple):
    """The current the car may draw (A per phase), and what keeps it from being higher.

    `sources` are of `SOURCES`, several if they tie, `other` alone if the charger allows less than
    anything it tells about.
    """

    amperes: float
    sources: tuple[str, ...]


def current_limit(values: Mapping[str, float | bool | str]) -> CurrentLimit | None:
    """Return the binding limit of channel values (no parts), None if no limit is known.

    Where the charger says itself what it allows (`acu`), the limits of that height bind; else the
    lowest does.
    """
    limits = {source: float(values[name]) for name, source in _SOURCES.items() if name in values}
    if "max_current_temporary" in values:
        limits["set_temporary"] = float(values["max_current_temporary"])
    elif "max_current" in values:
        limits["set"] = float(values["max_current"])
    if values.get("adapter_connected"):
        limits["adapter"] = ADAPTER_AMPERES
    if "allowed_current" in values:
        amperes = float(values["allowed_current"])
    elif limits:
        amperes = min(limits.values())
    else:
        return None
    binding = tuple(source for source in SOURCES if limits.get(source) == amperes)
    return CurrentLimit(amperes, binding or (OTHER,))
