"""Powers, energies and durations as texts, with a unit and decimals that suit their size."""

from __future__ import annotations

from typing import NamedTuple

from goe_exporter.web.locale import NO_BREAK_SPACE, Locale

ABSENT = "–"
MINUTE, HOUR, DAY = 60, 3600, 86_400


class Quantity(NamedTuple):
    """A number and its unit, as texts; the number of an absent value is a dash."""

    number: str
    unit: str

    @property
    def text(self) -> str:
        """Number and unit, joined by a no-break space."""
        return f"{self.number}{NO_BREAK_SPACE}{self.unit}" if self.number != ABSENT else ABSENT


def power(watts: float | None, locale: Locale) -> Quantity:
    """Return a power in W below 1 kW, else in kW."""
    if watts is None:
        return Quantity(ABSENT, "")
    if abs(watts) < 999.5:
        return Quantity(locale.number(watts), "W")
    return Quantity(locale.number(watts / 1000, 2 if abs(watts) < 99_995 else 1), "kW")


def energy(watt_hours: float | None, locale: Locale) -> Quantity:
    """Return an energy in Wh below 1 kWh, else in kWh with fewer decimals for larger values."""
    if watt_hours is None:
        return Quantity(ABSENT, "")
    if abs(watt_hours) < 999.5:
        return Quantity(locale.number(watt_hours), "Wh")
    kilowatt_hours = watt_hours / 1000
    decimals = 2 if kilowatt_hours < 99.995 else 1 if kilowatt_hours < 999.95 else 0
    return Quantity(locale.number(kilowatt_hours, decimals), "kWh")


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that it has two of, such as `12 s` or `4 min`."""
    for unit, symbol in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f}{NO_BREAK_SPACE}{symbol}"
    return f"{max(seconds, 0):.0f}{NO_BREAK_SPACE}s"
