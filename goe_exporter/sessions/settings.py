"""The section `sessions` of the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from goe_exporter.config.quoting import shown
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.sessions.tariff import (
    DAYS,
    MINUTES_PER_DAY,
    SLOT_MINUTES,
    Rates,
    Tariff,
    Window,
    overlap,
)

MAX_PRICE = 1_000_000
_TIME = re.compile(r"([0-9]{2}):([0-9]{2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_YEARS = range(1970, 3000)
_DAYS = re.compile(rf"({'|'.join(DAYS)})(?:-({'|'.join(DAYS)}))?")
_CURRENCY = re.compile("[A-Z]{3}")


def zone(text: object) -> ZoneInfo:
    """Return a time zone of the system's database by its name; raises `ValueError`."""
    try:
        return ZoneInfo(str(text))
    except (OSError, ValueError, KeyError):
        raise ValueError(
            f"must be a time zone of this system, such as Europe/Berlin, not {shown(text)}"
        ) from None


def local_time_zone() -> ZoneInfo:
    """Return the system's time zone; UTC if its name cannot be found."""
    name = os.environ.get("TZ", "").removeprefix(":")
    name = name or os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    try:
        return zone(name.removeprefix("posix/"))
    except ValueError:
        return ZoneInfo("UTC")


def calendar_day(text: object) -> date:
    """Return a date such as 2026-11-30; raises `ValueError`."""
    found = _date(text) if isinstance(text, str) and _DATE.fullmatch(text) else None
    if found is None:
        raise ValueError(f"must be a date such as 2026-01-31, not {shown(text)}")
    return found


def calendar_month(text: object) -> date:
    """Return the first day of a month such as 2026-11; raises `ValueError`."""
    found = _date(f"{text}-01") if isinstance(text, str) and _MONTH.fullmatch(text) else None
    if found is None:
        raise ValueError(f"must be a month such as 2026-11, not {shown(text)}")
    return found


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.year in _YEARS else None


def _minute(text: object) -> int:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    minute = int(match[1]) * 60 + int(match[2]) if match else -1
    if not match or int(match[2]) >= 60 or minute > MINUTES_PER_DAY or minute % SLOT_MINUTES:
        raise ValueError(f"must be HH:MM at a quarter hour, such as 22:00, not {shown(text)}")
    return minute


def _days(text: object) -> frozenset[int]:
    found: set[int] = set()
    for part in str(text).replace(" ", "").split(","):
        match = _DAYS.fullmatch(part) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"must be days such as mon-fri or sat,sun, not {shown(text)}")
        first = DAYS.index(match[1])
        length = (DAYS.index(match[2] or match[1]) - first) % len(DAYS) + 1
        found |= {(first + number) % len(DAYS) for number in range(length)}
    return frozenset(found)


def _price(value: object) -> Decimal:
    if type(value) not in (int, float) or not 0 <= float(str(value)) <= MAX_PRICE:
        raise ValueError(f"must be the price of a kWh, such as 0.34, not {shown(value)}")
    return Decimal(str(value))


def _currency(text: object) -> str:
    if not isinstance(text, str) or not _CURRENCY.fullmatch(text):
        raise ValueError(f"must be a currency code such as EUR, not {shown(text)}")
    return text


Price = Annotated[Decimal, BeforeValidator(_price)]
Minute = Annotated[int, BeforeValidator(_minute)]


class WindowSettings(Strict):
    """A price for part of the day; `to` may be on the next day. It begins on each of the `days`."""

    begin: Minute = Field(alias="from")
    end: Minute = Field(alias="to")
    price: Price
    days: Annotated[frozenset[int], BeforeValidator(_days)] = frozenset(range(len(DAYS)))

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.begin == self.end:
            raise ValueError("from and to must differ; a whole day is from 00:00 to 24:00")
        return self

    def window(self) -> Window:
        """Return the window."""
        return Window(self.begin, self.end, self.days, self.price)


class TariffSettings(Strict):
    """A tariff: the price of a kWh from the date `since` on, outside its windows.

    `basis` says in a report where the price comes from.
    """

    since: Annotated[date, BeforeValidator(calendar_day)]
    price: Price
    basis: str = ""
    windows: tuple[WindowSettings, ...] = ()

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        if found := overlap(self.tariff().windows):
            first, second, weekday, minute = found
            raise ValueError(
                f"windows[{first}] and windows[{second}] overlap,"
                f" {DAYS[weekday]} at {clock_time(minute)}"
            )
        return self

    def tariff(self) -> Tariff:
        """Return the tariff."""
        windows = tuple(each.window() for each in self.windows)
        return Tariff(self.since, self.price, self.basis, windows)


def clock_time(minute: int) -> str:
    """Return a minute of the day as HH:MM."""
    return f"{minute // 60:02}:{minute % 60:02}"


def _one_a_day(tariffs: Sequence[TariffSettings]) -> Sequence[TariffSettings]:
    seen: dict[date, int] = {}
    for number, each in enumerate(tariffs):
        if each.since in seen:
            raise ValueError(
                f"[{seen[each.since]}] and [{number}] begin on the same date, {each.since}"
            )
        seen[each.since] = number
    return tariffs


class SessionSettings(Strict):
    """Where sessions are stored, and how they are reported.

    Days, months and the windows of tariffs are those of `time_zone`. Of the `tariffs`, the one
    with the last `since` not after a quarter hour applies to it. `report` are lines for the head
    of the report, such as the name of the employee. With `web`, the page and the JSON API show
    sessions.
    """

    store: str = Field(default="/var/lib/goe-exporter/sessions.db", min_length=1)
    time_zone: Annotated[ZoneInfo, BeforeValidator(zone)] = Field(default_factory=local_time_zone)
    tariffs: Annotated[tuple[TariffSettings, ...], AfterValidator(_one_a_day)] = ()
    currency: Annotated[str, BeforeValidator(_currency)] = "EUR"
    report: list[str] = Field(default_factory=list)
    web: bool = False

    @property
    def path(self) -> Path:
        """The file of the store."""
        return Path(self.store)

    def rates(self) -> Rates:
        """Return the rates of the tariffs."""
        return Rates((each.tariff() for each in self.tariffs), self.time_zone)
