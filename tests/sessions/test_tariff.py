"""What energy costs, with euros computed by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from goe_exporter.sessions.tariff import Rates, Tariff, Window, amount, overlap, total

BERLIN = ZoneInfo("Europe/Berlin")
ALL_DAYS = frozenset(range(7))
NIGHT = Window(22 * 60, 6 * 60, ALL_DAYS, Decimal("0.20"))
FLAT = Tariff(date(2026, 1, 1), Decimal("0.34"))
BY_NIGHT = Tariff(date(2026, 3, 1), Decimal("0.30"), "", (NIGHT,))


def every_quarter(first: str, last: str, energy_wh: int = 250) -> tuple[tuple[int, int], ...]:
    """Return slots of the same energy from a time up to another one, both in UTC."""
    since, until = (
        int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) for text in (first, last)
    )
    return tuple((start, energy_wh) for start in range(since, until, 900))


def cost(tariffs: list[Tariff], slots: tuple[tuple[int, int], ...]) -> Decimal | None:
    return amount(Rates(tariffs, BERLIN).priced(slots))


def test_autumn_clock_change_under_two_tariffs() -> None:
    """The 25 hours of 25 October 2026, after two hours of the flat tariff before it.

    At 1 kW: 2 h at 0.34 (22:00 to 24:00 the day before); 9 night hours, as 02:00 to 03:00 is twice,
    at 0.20; 16 hours at 0.30.
    """
    slots = every_quarter("2026-10-24 20:00", "2026-10-25 23:00")
    assert len(slots) == 27 * 4
    autumn = Tariff(date(2026, 10, 25), Decimal("0.30"), "", (NIGHT,))
    assert cost([autumn, FLAT], slots) == Decimal("7.28")
    assert cost([autumn], slots[8:]) == Decimal("6.60")


def test_spring_clock_change() -> None:
    """The 23 hours of 29 March 2026 at 1 kW: 7 night hours at 0.20 and 16 at 0.30."""
    slots = every_quarter("2026-03-28 23:00", "2026-03-29 22:00")
    assert len(slots) == 23 * 4
    assert cost([FLAT, BY_NIGHT], slots) == Decimal("6.20")


def test_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    """A window of Friday, 22:00 to 06:00, ends on Saturday at 06:00."""
    friday = Window(22 * 60, 6 * 60, frozenset({4}), Decimal("0.20"))
    rates = Rates([Tariff(date(2026, 1, 1), Decimal("0.30"), "", (friday,))], BERLIN)

    def price(text: str) -> str:
        rate = rates.at(int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()))
        assert rate is not None
        return str(rate.price)

    # 6 November 2026 is a Friday.
    assert price("2026-11-06 21:45") == price("2026-11-07 06:00") == "0.30"
    assert price("2026-11-06 22:00") == price("2026-11-07 05:45") == "0.20"
    assert price("2026-11-06 00:00") == price("2026-11-07 22:00") == "0.30"


def test_window_until_midnight() -> None:
    """00:00 and 24:00 as the end of a window are the same."""
    for end in (0, 24 * 60):
        window = Window(22 * 60, end, ALL_DAYS, Decimal(1))
        covered = [minute for minute in range(0, 1440, 15) if window.covers(0, minute)]
        assert covered == list(range(22 * 60, 24 * 60, 15))


def test_energy_before_the_first_tariff() -> None:
    """It has no price, and the rest has; 31 December 23:00 is before the local new year."""
    slots = every_quarter("2025-12-31 22:00", "2026-01-01 00:00", 1000)
    priced = Rates([FLAT], BERLIN).priced(slots)
    assert priced[None] == 4000
    assert amount(priced) == Decimal("1.36")
    assert cost([FLAT], slots[:4]) is None
    assert cost([], slots) is None
    assert cost([FLAT], ()) == 0


def test_last_tariff_that_has_begun_applies() -> None:
    """In any order of the list, from its date on in local time."""
    rates = Rates([BY_NIGHT, FLAT], BERLIN)
    midnight = int(datetime(2026, 3, 1, tzinfo=BERLIN).timestamp())
    before, after = rates.at(midnight - 900), rates.at(midnight)
    assert before is not None
    assert after is not None
    assert (before.tariff, before.window) == (FLAT, None)
    assert (after.tariff, after.window) == (BY_NIGHT, NIGHT)
    assert rates.since == date(2026, 1, 1)
    assert Rates([], BERLIN).since is None


def test_rounded_once_and_half_up() -> None:
    """0.5 ct become 1 ct; quarter hours are not rounded, and a total is the sum of the lines."""
    start = int(datetime(2026, 1, 5, tzinfo=BERLIN).timestamp())
    tariff = Tariff(date(2026, 1, 1), Decimal("0.10"))
    assert cost([tariff], ((start, 50),)) == Decimal("0.01")
    assert cost([tariff], ((start, 49),)) == Decimal("0.00")
    assert cost([tariff], ((start, 25), (start + 900, 25))) == Decimal("0.01")
    assert total([Decimal("0.01"), None, Decimal("0.01")]) == Decimal("0.02")
    assert total([None]) is total([]) is None


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ((0, 360), (360, 720), None),
        ((0, 375), (360, 720), (0, 1, 0, 360)),
        ((1320, 360), (345, 400), (0, 1, 0, 345)),
        ((1320, 0), (0, 1320), None),
    ],
)
def test_overlaps(
    first: tuple[int, int], second: tuple[int, int], found: tuple[int, int, int, int] | None
) -> None:
    """Windows that touch do not overlap; one over midnight overlaps on the next day."""
    windows = [Window(*each, ALL_DAYS, Decimal(1)) for each in (first, second)]
    assert overlap(windows) == found


def test_overlap_on_another_day() -> None:
    """Friday's window over midnight overlaps one of Saturday morning, not one of Friday morning."""
    friday = Window(1320, 360, frozenset({4}), Decimal(1))
    for weekday, found in ((4, None), (5, (0, 1, 5, 300))):
        assert overlap([friday, Window(300, 400, frozenset({weekday}), Decimal(1))]) == found
