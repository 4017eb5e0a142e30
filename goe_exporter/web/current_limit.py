"""What limits the current a car may draw (docs/protocol.md §2). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ADAPTER_AMPERES = 16.0
OTHER = "other"

_SOURCES = {
    "max_current": "set",
    "max_current_temporary": "set_temporary",
    "cable_current": "cable",
    "temperature_current_limit": "temperature",
    "load_balancing_current": "load_balancing",
    "absolute_max_current": "charger",
}
"""Channel → source of the limit; only the adapter needs special handling."""

SOURCES = (
    *("set", "set_temporary", "adapter", "cable", "temperature", "load_balancing", "charger"),
    OTHER,
)
"""All sources that a limit can have."""


class CurrentLimit(NamedTuple):
    """The current the car may draw (A per phase), and the sources of this limit.

    `sources` has several elements if limits are equal. It is `other` if the charger allows another
    current than any limit that it reports.
    """

    amperes: float
    sources: tuple[str, ...]


def current_limit(values: Mapping[str, float | bool | str]) -> CurrentLimit | None:
    """Return the effective limit from the values of channels without parts, None if unknown.

    If the charger reports the allowed current (`acu`), this is the limit, and its sources are the
    limits with the same value. Otherwise the lowest limit is effective.
    """
    limits = {source: float(values[name]) for name, source in _SOURCES.items() if name in values}
    if values.get("adapter_connected"):
        limits["adapter"] = ADAPTER_AMPERES
    if "allowed_current" in values:
        amperes = float(values["allowed_current"])
    elif limits:
        amperes = min(limits.values())
    else:
        return None
    sources = tuple(source for source in SOURCES if limits.get(source) == amperes)
    return CurrentLimit(amperes, sources or (OTHER,))
