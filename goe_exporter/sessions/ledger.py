"""The sessions of a period, whole or in part, and sums by day, month, card and charger.

A period counts the quarter hours inside it, so a session that spans its end is in both periods,
each with its part of the energy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cached_property

from goe_exporter.sessions.session import Session, Slots
from goe_exporter.sessions.tariff import Priced, Rates, amount, total

METER_FLAGS = {"meter_reset", "meter_jump"}
"""Flags of sessions in which the meter moved by more than what was charged."""


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`, both included, in a time zone; None means no limit."""

    first: date | None
    last: date | None
    zone: tzinfo

    @classmethod
    def month(cls, first: date, zone: tzinfo) -> Period:
        """Return the month that begins on the day `first`."""
        following = (first + timedelta(days=31)).replace(day=1)
        return cls(first, following - timedelta(days=1), zone)

    @cached_property
    def since(self) -> int | None:
        """The beginning (Unix seconds)."""
        return None if self.first is None else midnight(self.first, self.zone)

    @cached_property
    def until(self) -> int | None:
        """The end (Unix seconds), which is the beginning of the next day."""
        return None if self.last is None else midnight(self.last + timedelta(days=1), self.zone)


def midnight(day: date, zone: tzinfo) -> int:
    """Return the Unix time at which a day begins in a time zone."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


@dataclass(frozen=True)
class Entry:
    """A session in a period, or the part of it that is inside.

    `slots` are the quarter hours inside, and `energy_wh` is their sum. `from_before` is whether the
    session began before the period, and `goes_on` whether it ended after it. The meter readings
    (Wh) at those limits are calculated; None if the meter was corrected during the session. A
    session `under_way` has no end yet.
    """

    session: Session
    slots: Slots
    energy_wh: int
    meter_start_wh: int | None
    meter_end_wh: int | None
    from_before: bool = False
    goes_on: bool = False
    under_way: bool = False

    @property
    def partial(self) -> bool:
        """Whether part of the session is outside the period."""
        return self.from_before or self.goes_on

    @property
    def unobserved_wh(self) -> int:
        """The energy charged while the charger was not polled; for a part, in proportion."""
        session = self.session
        if not self.partial or not session.energy_wh:
            return session.unobserved_wh
        return round(session.unobserved_wh * self.energy_wh / session.energy_wh)


def entry(session: Session, period: Period, *, under_way: bool = False) -> Entry | None:
    """Return the part of a session in a period; None if there is none, or it has no energy."""
    since, until = period.since, period.until
    from_before = since is not None and session.started < since
    goes_on = until is not None and session.ended > until
    if not from_before and not goes_on:
        return Entry(
            session,
            session.slots,
            session.energy_wh,
            session.meter_start_wh,
            session.meter_end_wh,
            under_way=under_way,
        )
    slots = tuple(
        slot
        for slot in session.slots
        if (since is None or slot[0] >= since) and (until is None or slot[0] < until)
    )
    if not slots:
        return None
    return Entry(
        session,
        slots,
        sum(energy_wh for _, energy_wh in slots),
        meter_at(session, since) if from_before else session.meter_start_wh,
        meter_at(session, until) if goes_on else session.meter_end_wh,
        from_before,
        goes_on,
        under_way and not goes_on,
    )


def meter_rise(session: Session, until: int | None) -> int:
    """Return how far the meter rose in a session (Wh) up to a Unix time, by its slots."""
    if until is None or until >= session.ended:
        return session.meter_wh
    before = sum(energy_wh for start, energy_wh in session.slots if start < until)
    return round(session.meter_wh * before / session.energy_wh) if session.energy_wh else 0


def meter_at(session: Session, moment: int | None) -> int | None:
    """Return the meter's reading (Wh) during a session; None if it was corrected in the session."""
    if moment is None or METER_FLAGS.intersection(session.flags):
        return None
    return session.meter_start_wh + meter_rise(session, moment)


@dataclass(frozen=True)
class Line:
    """A line of a ledger: `sessions` sessions, and the energy of `key` by rate.

    `key` is a date, the first day of a month, the number of a card, the name of a charger, or an
    entry. `amount` is the cost of the energy: the sum of the amounts of sessions, or of their parts
    in that day or month, each rounded to the cent; None if none of it has a price.
    """

    key: object
    sessions: int
    priced: Priced
    amount: Decimal | None

    @cached_property
    def energy_wh(self) -> int:
        """The energy (Wh)."""
        return self.priced.total()

    @property
    def unpriced_wh(self) -> int:
        """The energy (Wh) before the first tariff."""
        return self.priced[None]


def lines(by: str | None, entries: Iterable[Entry], rates: Rates) -> list[Line]:
    """Return the lines `by` day, month, card or charger; with None, a line for each session.

    They are in the order of days, months, card numbers (the unknown card last) or names. A session
    counts in the day or month in which it, or its part, begins.
    """
    if by in ("day", "month"):
        return _by_day(entries, rates, months=by == "month")
    found = (
        Line(_key(by, each), 1, priced, amount(priced))
        for each, priced in ((each, rates.priced(each.slots)) for each in entries)
    )
    if by is None:
        return list(found)
    return sorted(_grouped(found), key=_order)


def _order(line: Line) -> tuple[bool, str]:
    key = line.key
    return key is None, f"{key:02}" if isinstance(key, int) else str(key)


def _key(by: str | None, found: Entry) -> object:
    keys = {None: found, "card": found.session.card, "charger": found.session.charger}
    return keys[by]


def _by_day(entries: Iterable[Entry], rates: Rates, *, months: bool) -> list[Line]:
    days: dict[int, date] = {}

    def day_of(moment: int) -> date:
        if moment not in days:
            found = datetime.fromtimestamp(moment, rates.zone).date()
            days[moment] = found.replace(day=1) if months else found
        return days[moment]

    found: list[Line] = []
    for each in entries:
        first = day_of(each.slots[0][0] if each.from_before else each.session.started)
        parts: dict[date, Priced] = {first: Counter()}
        for start, energy_wh in each.slots:
            parts.setdefault(day_of(start), Counter())[rates.at(start)] += energy_wh
        found += (
            Line(day, int(day == first), priced, amount(priced)) for day, priced in parts.items()
        )
    return sorted(_grouped(found), key=_order)


def _grouped(found: Iterable[Line]) -> Iterator[Line]:
    groups: dict[object, list[Line]] = {}
    for line in found:
        groups.setdefault(line.key, []).append(line)
    for key, group in groups.items():
        priced: Priced = Counter()
        for line in group:
            priced.update(line.priced)
        amounts = total(line.amount for line in group)
        yield Line(key, sum(line.sessions for line in group), priced, amounts)


@dataclass(frozen=True)
class Total:
    """The sum of lines; `amount` is that of the amounts as they are shown."""

    sessions: int
    energy_wh: int
    amount: Decimal | None
    unpriced_wh: int


def summed(lines: Sequence[Line]) -> Total:
    """Return the sum of lines."""
    return Total(
        sum(line.sessions for line in lines),
        sum(line.energy_wh for line in lines),
        total(line.amount for line in lines),
        sum(line.unpriced_wh for line in lines),
    )
