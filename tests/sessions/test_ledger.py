"""The sessions of a period, with sums computed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from session_stores import BERLIN, autumn, session, slots, unix

from goe_exporter.sessions.ledger import Entry, Period, Total, entry, lines, meter_at, summed
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.tariff import Rates, Tariff, Window

OCTOBER = Period.month(date(2026, 10, 1), BERLIN)
NOVEMBER = Period.month(date(2026, 11, 1), BERLIN)
NIGHT = Window(22 * 60, 6 * 60, frozenset(range(7)), Decimal("0.22"))
FLAT = Tariff(date(2026, 1, 1), Decimal("0.34"))
NEW = Tariff(date(2026, 11, 1), Decimal("0.31"), "", (NIGHT,))
SESSIONS = [each for each in autumn() if isinstance(each, Session)]


def entries(period: Period, sessions: list[Session] = SESSIONS) -> list[Entry]:
    return [found for each in sessions if (found := entry(each, period))]


@pytest.mark.parametrize(
    ("first", "since", "until"),
    [
        (date(2026, 10, 1), 1_790_805_600, 1_793_487_600),  # 745 hours: the clock goes back
        (date(2026, 12, 1), 1_796_079_600, 1_798_758_000),
        (date(2027, 3, 1), 1_803_855_600, 1_806_530_400),  # 743 hours
    ],
)
def test_month(first: date, since: int, until: int) -> None:
    """A month begins and ends at local midnight."""
    period = Period.month(first, BERLIN)
    assert (period.since, period.until) == (since, until)


def test_days() -> None:
    """A period includes its last day; one without days has no limits."""
    period = Period(date(2026, 10, 25), date(2026, 10, 25), BERLIN)
    assert period.since is not None
    assert period.until is not None
    assert period.until - period.since == 25 * 3600
    assert (Period(None, None, BERLIN).since, Period(None, None, BERLIN).until) == (None, None)


def test_session_over_the_end_of_a_month() -> None:
    """Each month has its quarter hours, and the meter's reading at midnight is calculated.

    4 kWh at 0.34 until midnight, 4 kWh at 0.22 after it.
    """
    rates = Rates([FLAT, NEW], BERLIN)
    october, november = (entries(period)[0] for period in (OCTOBER, NOVEMBER))
    assert october.session == november.session
    assert (october.from_before, october.goes_on) == (False, True)
    assert (november.from_before, november.goes_on) == (True, False)
    assert (october.meter_start_wh, october.meter_end_wh) == (1_000_000, 1_004_000)
    assert (november.meter_start_wh, november.meter_end_wh) == (1_004_000, 1_008_000)
    (before,), (after,) = lines(None, [october], rates), lines(None, [november], rates)
    assert (before.energy_wh, before.amount) == (4_000, Decimal("1.36"))
    assert (after.energy_wh, after.amount) == (4_000, Decimal("0.88"))


def test_card_that_changes() -> None:
    """Each card has its energy: 5.6 kWh and, after the change, 3 kWh, of which 1 kWh at night.

    5.6 at 0.31 and 4 at 0.22 are 1.736 and 0.88; 2 at 0.31 and 1 at 0.22 are 0.84.
    """
    found = lines("card", entries(NOVEMBER), Rates([FLAT, NEW], BERLIN))
    shown = [(line.key, line.sessions, line.energy_wh, str(line.amount)) for line in found]
    assert shown == [(1, 2, 9_600, "2.62"), (3, 1, 3_000, "0.84"), (None, 1, 10_050, "3.12")]


def test_sums_by_day() -> None:
    """Energy counts on its day, and a session on the day when it, or its part, begins."""
    rates = Rates([FLAT], BERLIN)
    found = lines("day", entries(Period(None, None, BERLIN), SESSIONS[:2]), rates)
    shown = [(str(line.key), line.sessions, line.energy_wh, str(line.amount)) for line in found]
    assert shown == [
        ("2026-10-31", 1, 4_000, "1.36"),
        ("2026-11-01", 0, 4_000, "1.36"),
        ("2026-11-05", 1, 5_600, "1.90"),
    ]
    (first, second) = lines("day", entries(NOVEMBER, SESSIONS[:2]), rates)
    assert [(str(each.key), each.sessions) for each in (first, second)] == [
        ("2026-11-01", 1),
        ("2026-11-05", 1),
    ]


def test_sums_by_month_are_those_of_the_months() -> None:
    """The amount of a month is that of its own list, to the cent."""
    odd = [
        session(f"2026-{month}-{day:02} 10:00", f"2026-{month}-{day:02} 11:00", 0, energies)
        for month in (10, 11)
        for day in range(1, 29)
        for energies in [slots(f"2026-{month}-{day:02} 10:00", 2, 7)]
    ]
    rates = Rates([FLAT], BERLIN)
    everything = entries(Period(None, None, BERLIN), odd)
    by_month = lines("month", everything, rates)
    # 0.014 kWh at 0.34 are 0.476 ct, rounded to 0.
    odd_total = Decimal("0.00")
    assert [line.amount for line in by_month] == [odd_total, odd_total]
    for by in (None, "card", "charger"):
        assert summed(lines(by, everything, rates)) == Total(56, 56 * 14, odd_total, 0)


def test_total_is_the_sum_of_the_lines_as_shown() -> None:
    """1.904, 1.02 and 3.417 are shown as 1.90, 1.02 and 3.42, and 1.36; together 7.70."""
    found = lines(None, entries(NOVEMBER), Rates([FLAT], BERLIN))
    assert [str(line.amount) for line in found] == ["1.36", "1.90", "1.02", "3.42"]
    assert summed(found) == Total(4, 22_650, Decimal("7.70"), 0)


def test_energy_before_the_first_tariff() -> None:
    """It is shown separately, and has no price."""
    rates = Rates([Tariff(date(2026, 11, 1), Decimal("0.5"))], BERLIN)
    (line,) = lines(None, entries(Period(None, None, BERLIN), SESSIONS[:1]), rates)
    assert (line.unpriced_wh, line.amount) == (4_000, Decimal("2.00"))
    assert summed(lines(None, entries(OCTOBER), rates)) == Total(1, 4_000, None, 4_000)


def test_part_without_energy() -> None:
    """A part without energy is left out; a whole session without energy counts."""
    found = session("2026-10-31 20:00", "2026-11-01 08:00", 0, slots("2026-10-31 20:00", 4, 100))
    assert entry(found, NOVEMBER) is None
    october = entry(found, OCTOBER)
    assert october is not None
    assert october.goes_on
    empty = session("2026-11-03 20:00", "2026-11-03 21:00", 0, ())
    assert entry(empty, NOVEMBER) == Entry(empty, (), 0, 0, 0)


def test_unobserved_energy_of_a_part() -> None:
    """It is proportional to the part's energy."""
    found = session(
        "2026-10-31 22:00",
        "2026-11-01 01:00",
        0,
        slots("2026-10-31 22:00", 12, 100),
        unobserved_wh=300,
    )
    parts = [entry(found, period) for period in (OCTOBER, NOVEMBER)]
    assert [each.unobserved_wh for each in parts if each] == [200, 100]


def test_meter_that_was_corrected() -> None:
    """A reading within a session whose meter was corrected is unknown."""
    found = session("2026-11-01 10:00", "2026-11-01 12:00", 900, slots("2026-11-01 10:00", 8, 10))
    assert meter_at(found, unix("2026-11-01 11:00")) == 940
    corrected = replace(found, flags=("meter_reset",))
    assert meter_at(corrected, unix("2026-11-01 11:00")) is None


def test_days_of_a_time_zone_without_midnight() -> None:
    """In Santiago, 6 September 2026 begins at 01:00; the day has 23 hours."""
    day = Period(date(2026, 9, 6), date(2026, 9, 6), ZoneInfo("America/Santiago"))
    assert day.since is not None
    assert day.until is not None
    assert day.until - day.since == 23 * 3600
