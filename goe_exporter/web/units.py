"""Quantities as a person likes to read them: in a unit that fits, with as many decimals as help."""

from __future__ import annotations

from typing import NamedTuple

from goe_exporter.web.locale import NO_BREAK_SPACE, Language

ABSENT = "–"
MINUTE, HOUR, DAY = 60, 3600, 86_400


class Quantity(NamedTuple):
    """A number and its unit, as texts; of an absent value the number is a dash."""

    number: str
    unit: str

    @property
    def text(self) -> str:
        """Both in one, kept together at a line's end."""
        return f"{self.number}{NO_BREAK_SPACE}{self.unit}" if self.number != ABSENT else ABSENT


def power(watts: float | None, language: Language) -> Quantity:
    """Return a power in W below a kilowatt, else in kW."""
    if watts is None:
        return Quantity(ABSENT, "")
    if abs(watts) < 999.5:
        return Quantity(language.number(watts), "W")
    return Quantity(language.number(watts / 1000, 2 if abs(watts) < 99_995 else 1), "kW")


def energy(watt_hours: float | None, language: Language) -> Quantity:
    """Return an energy in Wh below a kilowatt-hour, else in kWh with fewer decimals the more."""
    if watt_hours is None:
        return Quantity(ABSENT, "")
    if abs(watt_hours) < 999.5:
        return Quantity(language.number(watt_hours), "Wh")
    kilowatt_hours = watt_hours / 1000
    decimals = 2 if kilowatt_hours < 99.995 else 1 if kilowatt_hours < 999.95 else 0
    return Quantity(language.number(kilowatt_hours, decimals), "kWh")


def duration(seconds: float) -> str:
    """Return a time span in the largest unit that says enough, as in `12 s`, `4 min`, `3 h`."""
    for unit, symbol in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f}{NO_BREAK_SPACE}{symbol}"
    return f"{max(seconds, 0):.0f}{NO_BREAK_SPACE}s"
