"""What energy costs: tariffs by date, with windows of the day, applied to quarter hours.

Money is a `Decimal`, and rounded once: when a line is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations

from goe_exporter.sessions.session import SLOT_SECONDS, Slots

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60
SLOT_MINUTES = SLOT_SECONDS // 60
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Window:
    """A price per kWh from the minute `start` of the day up to `end`, on `days` (0 is Monday).

    A window whose `end` is not after its `start` lasts until `end` on the next day. It begins on
    each of the `days`.
    """

    start: int
    end: int
    days: frozenset[int]
    price: Decimal

    def covers(self, weekday: int, minute: int) -> bool:
        """Return whether the window covers a minute of a day (0 is Monday)."""
        if self.start < self.end:
            return weekday in self.days and self.start <= minute < self.end
        before = (weekday - 1) % len(DAYS)
        return (weekday in self.days and minute >= self.start) or (
            before in self.days and minute < self.end
        )


@dataclass(frozen=True)
class Tariff:
    """The price per kWh from the date `since` on, except in `windows`, and where it comes from."""

    since: date
    price: Decimal
    basis: str = ""
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, eq=False)
class Rate:
    """The price of a quarter hour: that of a `tariff`, or of one of its windows."""

    tariff: Tariff
    window: Window | None = None

    @property
    def price(self) -> Decimal:
        """The price per kWh."""
        return self.tariff.price if self.window is None else self.window.price


Priced = Counter[Rate | None]
"""Energy in Wh by rate; None is energy before the first tariff, which has no price."""


class Rates:
    """The rates of `tariffs` in the time zone `zone`."""

    def __init__(self, tariffs: Iterable[Tariff], zone: tzinfo) -> None:
        self.zone = zone
        self._tariffs = [
            (tariff, Rate(tariff), [(window, Rate(tariff, window)) for window in tariff.windows])
            for tariff in sorted(tariffs, key=lambda each: each.since, reverse=True)
        ]
        self._known: dict[int, Rate | None] = {}

    @property
    def since(self) -> date | None:
        """The first date with a price; None if there is no tariff."""
        return self._tariffs[-1][0].since if self._tariffs else None

    def at(self, start: int) -> Rate | None:
        """Return the rate of the quarter hour that begins at `start`, None before any tariff."""
        if start not in self._known:
            self._known[start] = self._find(datetime.fromtimestamp(start, self.zone))
        return self._known[start]

    def priced(self, slots: Slots) -> Priced:
        """Return the energy of quarter hours by rate."""
        known, found = self._known, dict[Rate | None, int]()
        for start, energy_wh in slots:
            rate = known[start] if start in known else self.at(start)
            found[rate] = found.get(rate, 0) + energy_wh
        return Counter(found)

    def _find(self, moment: datetime) -> Rate | None:
        day, minute = moment.date(), moment.hour * 60 + moment.minute
        for tariff, rate, windows in self._tariffs:
            if tariff.since <= day:
                covering = (
                    each for window, each in windows if window.covers(day.weekday(), minute)
                )
                return next(covering, rate)
        return None


def amount(priced: Priced) -> Decimal | None:
    """Return the cost of energy, rounded to the cent; None if none of it has a price."""
    known = [(rate.price, energy_wh) for rate, energy_wh in priced.items() if rate is not None]
    if not known and priced:
        return None
    exact = sum((price * energy_wh for price, energy_wh in known), Decimal()) / 1000
    return exact.quantize(CENT, ROUND_HALF_UP)


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of amounts as they are shown; None if there are none."""
    known = [each for each in amounts if each is not None]
    return sum(known, Decimal()) if known else None


def overlap(windows: Sequence[Window]) -> tuple[int, int, int, int] | None:
    """Return the first overlap: the numbers of two windows, the day (0 is Monday) and the minute.

    None if no two windows overlap.
    """
    for (first, one), (second, other) in combinations(enumerate(windows), 2):
        for day in range(len(DAYS)):
            for minute in range(0, MINUTES_PER_DAY, SLOT_MINUTES):
                if one.covers(day, minute) and other.covers(day, minute):
                    return first, second, day, minute
    return None
