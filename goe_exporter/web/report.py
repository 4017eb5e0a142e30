"""The monthly report of charging sessions: a separate page, to be printed on A4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from goe_exporter.sessions import books
from goe_exporter.sessions.books import Account
from goe_exporter.sessions.ledger import Entry, Line, Period, lines, summed
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.settings import SessionSettings, clock_time
from goe_exporter.sessions.tariff import DAYS, Priced, Rate
from goe_exporter.web.locale import Locale, translations
from goe_exporter.web.session_texts import SessionTexts
from goe_exporter.web.units import ABSENT

EVERY_DAY = frozenset(range(len(DAYS)))


@dataclass(frozen=True)
class Contents:
    """What a report is made of.

    `accounts` are those of the month `period`, `open_books` the serial numbers whose books do not
    close. Of `cards` (numbers), if any are given, only sessions are shown. `names` are the names of
    cards by number, and `made` is the Unix time of the report.
    """

    period: Period
    accounts: Sequence[Account]
    open_books: Collection[str]
    cards: Collection[int]
    names: Mapping[str, str]
    settings: SessionSettings
    made: float


def contents(
    records: Records,
    period: Period,
    serials: Collection[str],
    cards: Collection[int],
    names: Mapping[str, str],
    settings: SessionSettings,
    made: float,
) -> Contents:
    """Return what a report of a month is made of, for the chargers with these serial numbers.

    All chargers if there are none; raises `UsageError` if the store cannot be read.
    """
    accounts = books.accounts(records, period, serials)
    wrong = {each.book.serial for each in accounts if books.difference_wh(records, each.book)}
    return Contents(period, accounts, wrong, cards, names, settings, made)


class Charger(NamedTuple):
    """A charger and its account, as texts."""

    name: str
    facts: list[tuple[str, str]]
    readings: list[tuple[str, str, str]]
    balance: list[tuple[str, str]]
    warnings: list[str]


class Row(NamedTuple):
    """A session as texts; `remarks` are sentences."""

    number: int
    charger: str
    start: str
    end: str
    meter_start: str
    meter_end: str
    card: str
    energy: str
    amount: str
    remarks: list[str]


class PriceRow(NamedTuple):
    """A price that was used, as texts."""

    since: str
    basis: str
    time: str
    price: str
    energy: str


class Report:
    """The texts of a report in a language."""

    def __init__(self, contents: Contents, locale: Locale, version: str) -> None:
        self.version = version
        self._contents = contents
        self._locale = locale
        self._text = locale.text
        self._texts = SessionTexts(locale, contents.settings.time_zone, contents.names)
        entries = sorted(
            (each for account in contents.accounts for each in self._selected(account)),
            key=lambda each: (each.session.started, each.session.id),
        )
        self._lines = lines(None, entries, contents.settings.rates())
        self._total = summed(self._lines)
        self.several = len(contents.accounts) > 1
        self.priced = bool(contents.settings.tariffs)
        self.currency = contents.settings.currency

    @property
    def title(self) -> str:
        """The title, with the month."""
        first = self._contents.period.first
        assert first is not None
        return f"{self._text('report.title')} {self._texts.month(first)}"

    @property
    def head(self) -> list[str]:
        """The lines of the configuration."""
        return self._contents.settings.report

    @property
    def period(self) -> str:
        """The first and the last day, and the time zone."""
        first, last = self._contents.period.first, self._contents.period.last
        assert first is not None
        assert last is not None
        days = self._text("report.from_to").format(self._texts.day(first), self._texts.day(last))
        return f"{days} ({self._contents.settings.time_zone.key})"

    @property
    def selected_cards(self) -> str:
        """The cards whose sessions are shown, "" for all."""
        return ", ".join(self._texts.card(each) for each in sorted(self._contents.cards))

    @property
    def chargers(self) -> list[Charger]:
        """The chargers with their readings."""
        return [self._charger(each) for each in self._contents.accounts]

    @cached_property
    def rows(self) -> list[Row]:
        """The sessions."""
        return [self._row(number, line) for number, line in enumerate(self._lines, 1)]

    @property
    def count(self) -> str:
        """The number of sessions."""
        number = self._total.sessions
        one = self._text("report.one_session")
        return one if number == 1 else self._text("report.sessions").format(number)

    @property
    def energy(self) -> str:
        """The energy of all sessions in kWh."""
        return self._texts.kwh(self._total.energy_wh)

    @property
    def amount(self) -> str:
        """The sum of the amounts."""
        return self._texts.amount(self._total.amount)

    @property
    def prices(self) -> list[PriceRow]:
        """The prices that were used, in the order of their dates."""
        used: Priced = Counter()
        for line in self._lines:
            used.update(line.priced)
        rates = [each for each in used if each is not None]
        rates.sort(key=lambda rate: (rate.tariff.since, rate.window.start if rate.window else -1))
        return [self._price(rate, used[rate]) for rate in rates]

    @property
    def unpriced(self) -> str:
        """A sentence on energy before the first tariff, "" if there is none."""
        since = self._contents.settings.rates().since
        if since is None or not self._total.unpriced_wh:
            return ""
        return self._text("report.unpriced").format(
            self._texts.kwh(self._total.unpriced_wh), self._texts.day(since)
        )

    @property
    def unobserved(self) -> str:
        """A sentence on the energy that rose while a charger was not polled."""
        entries = [line.key for line in self._lines if isinstance(line.key, Entry)]
        seconds = sum(each.session.unobserved_seconds for each in entries)
        energy_wh = sum(each.unobserved_wh for each in entries)
        if not seconds:
            return self._text("report.all_observed")
        return self._text("report.unobserved").format(
            self._texts.kwh(energy_wh), self._texts.span(seconds)
        )

    @property
    def made(self) -> str:
        """When the report was made, and by which release."""
        return self._text("report.made").format(self._texts.time(self._contents.made), self.version)

    def _selected(self, account: Account) -> list[Entry]:
        cards = self._contents.cards
        return [each for each in account.entries if not cards or each.session.card in cards]

    def _charger(self, account: Account) -> Charger:
        text, latest = self._text, account.latest
        facts = [(text("label.serial"), account.book.serial)]
        if latest is not None:
            facts += [
                (text("label.model"), latest.model or ABSENT),
                (text("label.firmware"), latest.firmware or ABSENT),
            ]
        certification = latest.certification if latest else None
        facts.append((text("report.certification"), self._certification(certification)))
        if latest is not None and latest.mid_wh is not None:
            label = text("report.mid_meter").format(
                self._texts.day(datetime.fromisoformat(latest.day))
            )
            facts.append((label, f"{self._texts.kwh(latest.mid_wh)} kWh"))
        readings = [
            (
                self._texts.time(moment),
                f"{self._texts.kwh(reading)} kWh",
                text("report.read" if looked else "report.calculated"),
            )
            for moment, reading, looked in (
                (account.since, account.meter_start_wh, account.start_read),
                (account.until, account.meter_end_wh, account.end_read),
            )
        ]
        return Charger(
            account.book.charger, facts, readings, self._balance(account), self._warnings(account)
        )

    def _balance(self, account: Account) -> list[tuple[str, str]]:
        text = self._text
        shown = sum(each.energy_wh for each in self._selected(account))
        others = account.sessions_wh - shown
        items = [
            ("report.difference", account.meter_wh, True),
            ("report.in_sessions", shown, True),
            ("report.in_other_sessions", others, bool(self._contents.cards)),
            ("report.in_no_session", account.unassigned_wh, True),
            ("report.corrections", account.corrections_wh, bool(account.corrections_wh)),
            ("report.counter", -account.counter_wh, bool(account.counter_wh)),
        ]
        return [
            (text(key), f"{self._texts.kwh(wh)} kWh") for key, wh, is_shown in items if is_shown
        ]

    def _warnings(self, account: Account) -> list[str]:
        period, found = self._contents.period, []
        assert period.since is not None
        assert period.until is not None
        if account.since > period.since or account.until < period.until:
            times = self._texts.time(account.since), self._texts.time(account.until)
            found.append(self._text("report.incomplete").format(*times))
        if account.book.serial in self._contents.open_books:
            found.append(self._text("report.open_books"))
        return found

    def _certification(self, state: str | None) -> str:
        key = f"meter_certification.{state}"
        if state is None:
            return self._text("report.not_reported")
        return self._text(key) if key in translations(self._locale.tag[:2]) else state

    def _row(self, number: int, line: Line) -> Row:
        found = line.key
        assert isinstance(found, Entry)
        session = found.session
        return Row(
            number,
            session.charger,
            self._texts.time(session.started),
            self._texts.end(found),
            self._texts.kwh(found.meter_start_wh),
            self._texts.kwh(found.meter_end_wh),
            self._texts.card(session.card),
            self._texts.kwh(found.energy_wh),
            self._texts.amount(line.amount),
            list(self._remarks(found, line)),
        )

    def _remarks(self, found: Entry, line: Line) -> Iterator[str]:
        yield from self._texts.remarks(found)
        if line.unpriced_wh and self.priced:
            yield self._text("report.no_price").format(self._texts.kwh(line.unpriced_wh))

    def _price(self, rate: Rate, energy_wh: int) -> PriceRow:
        window, text = rate.window, self._text
        time = text("report.other_times") if rate.tariff.windows else text("report.always")
        if window is not None:
            end = clock_time(window.end)
            time = f"{clock_time(window.start)}–{end}"
            if window.days != EVERY_DAY:
                days = " ".join(text(f"weekday.{DAYS[day]}") for day in sorted(window.days))
                time = f"{time}, {days}"
        return PriceRow(
            self._texts.day(rate.tariff.since),
            rate.tariff.basis or ABSENT,
            time,
            self._price_text(rate.price),
            self._texts.kwh(energy_wh),
        )

    def _price_text(self, price: Decimal) -> str:
        exponent = price.normalize().as_tuple().exponent
        decimals = max(2, -exponent if isinstance(exponent, int) else 0)
        return self._locale.number(float(price), decimals)
