"""What the page of charging sessions shows: the latest sessions, and sums by month and card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

from goe_exporter.sessions import ledger, selection
from goe_exporter.sessions.ledger import Entry, Line, Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.sessions.tally import MAX_CARD
from goe_exporter.web.locale import Locale
from goe_exporter.web.session_selection import PATH, Selection
from goe_exporter.web.session_texts import SessionTexts

MONTHS = 12
"""Months that are summed."""

MAX_SUMMED = 5_000
"""Sessions that are summed; of a larger fleet, fewer months are."""

ROWS = 50
"""Sessions on a page, besides those under way."""


@dataclass(frozen=True)
class Found:
    """What the store has of a selection.

    `listed` are the sessions of the page, `more` is the id after which others follow, "" if there
    are none. `months` and `cards` are lines of a ledger. They cover the days from `since` on; None
    if there are too many sessions to sum them. `earlier` is the month before these months, None if
    nothing was recorded then. `chargers` are the present names of chargers by serial number. `rest`
    is the energy in no session and the corrections of meters (Wh) in the selected month, None
    without one.
    """

    selected: Selection
    listed: Sequence[Line]
    more: str
    months: Sequence[Line]
    cards: Sequence[Line]
    since: date | None
    earlier: date | None
    chargers: Mapping[str, str]
    rest: tuple[int, int] | None
    settings: SessionSettings
    names: Mapping[str, str]


def find(
    records: Records,
    chosen: Selection,
    settings: SessionSettings,
    names: Mapping[str, str],
    today: date,
) -> Found:
    """Return what the store has of a selection; `names` are those of cards by number.

    Raises `UsageError` if the store cannot be read, and `LookupError` if there is no session
    `before`.
    """
    zone, rates = settings.time_zone, settings.rates()
    # The months end with the present one, unless the selected one would not be among them.
    last = today.replace(day=1)
    if chosen.month is not None and not _back(last, MONTHS - 1) <= chosen.month <= last:
        last = chosen.month
    months = replace(Period.month(last, zone), first=_back(last, MONTHS - 1))
    period = Period(None, None, zone)
    if chosen.month is not None:
        period = Period.month(chosen.month, zone)
    books = selection.books_of(records, chosen.chargers)
    part = selection.latest(
        records, period, chosen.chargers, chosen.cards, before=chosen.before, limit=ROWS
    )
    entries, since = _summed(records, months, chosen)
    if since is not None and books:
        began = min(each.first_time for each in books)
        since = max(since, datetime.fromtimestamp(began, zone).date().replace(day=1))
    first, rest = months.since or 0, None
    if chosen.month is not None and chosen.card is None and books:
        rest = selection.rest(records, period, [each.serial for each in books])
    # The sums by month are those of the selected card, the sums by card those of the month.
    of_card = [each for each in entries if chosen.card in (None, each.session.card)]
    of_month = list(_within(entries, period if chosen.month else None))
    if chosen.month is not None and (since is None or chosen.month < since):
        of_month = []
    return Found(
        chosen,
        ledger.lines(None, part.entries, rates),
        part.last,
        [each for each in ledger.lines("month", of_card, rates) if _is_in(each, since)],
        ledger.lines("card", of_month, rates),
        since,
        _back(last, MONTHS) if any(each.first_time < first for each in books) else None,
        {each.serial: each.charger for each in books},
        rest,
        settings,
        names,
    )


def _summed(records: Records, months: Period, chosen: Selection) -> tuple[list[Entry], date | None]:
    """Return the sessions of as many of the months as can be summed, and the first of these."""
    assert months.first is not None
    part = selection.latest(records, months, chosen.chargers, limit=MAX_SUMMED)
    if not part.last:
        return part.entries, months.first
    # Every session that ended later than the last of these is among them.
    complete = [
        first
        for first in (_back(months.last or months.first, back) for back in range(MONTHS))
        if (Period.month(first, months.zone).since or 0) > part.entries[-1].session.ended
    ]
    if not complete:
        return [], None
    return list(_within(part.entries, replace(months, first=complete[-1]))), complete[-1]


def _within(entries: Sequence[Entry], period: Period | None) -> Iterator[Entry]:
    for each in entries:
        found = ledger.entry(each.session, period, under_way=each.under_way) if period else each
        if found is not None:
            yield found


def _is_in(line: Line, since: date | None) -> bool:
    return since is not None and isinstance(line.key, date) and line.key >= since


def _back(month: date, number: int) -> date:
    """Return the first day of the month that is `number` months earlier."""
    for _ in range(number):
        month = (month.replace(day=1) - timedelta(days=1)).replace(day=1)
    return month.replace(day=1)


class Row(NamedTuple):
    """A session as texts; `note` says what is unusual about it. One `under_way` has no end."""

    id: str
    start: str
    end: str
    plugged: str
    charger: str
    charger_url: str
    card: str
    energy: str
    amount: str
    note: str
    under_way: bool


class Sum(NamedTuple):
    """A sum as texts; `url` selects it, or all if it is selected. `report` is that of its month."""

    label: str
    url: str
    is_selected: bool
    sessions: str
    energy: str
    amount: str
    report: str


class SessionsPage:
    """The page in a language."""

    def __init__(self, found: Found, locale: Locale) -> None:
        self._found = found
        self._locale = locale
        self._text = locale.text
        self._texts = SessionTexts(locale, found.settings.time_zone, found.names)
        self.priced = bool(found.settings.tariffs)
        self.currency = found.settings.currency
        names = set(found.chargers.values())
        self.several = not found.selected.charger and len(names) > 1

    @property
    def charger(self) -> str:
        """The selected charger, "" if there is none."""
        return self._found.selected.charger

    @property
    def all_chargers_url(self) -> str:
        """The page without a selected charger."""
        return self._found.selected._replace(charger="", before="").url

    @property
    def heading(self) -> str:
        """What is listed: the latest sessions, or those of a month."""
        month = self._found.selected.month
        return self._text("sessions.latest") if month is None else self._texts.month(month)

    @property
    def rows(self) -> list[Row]:
        """The sessions, the latest first."""
        return [self._row(each) for each in self._found.listed]

    @property
    def earlier_url(self) -> str:
        """The page with earlier sessions, "" if there are none."""
        more = self._found.more
        return self._found.selected._replace(before=more).url if more else ""

    @property
    def latest_url(self) -> str:
        """The page with the latest sessions, "" if they are shown."""
        chosen = self._found.selected
        return chosen._replace(before="").url if chosen.before else ""

    @property
    def csv_url(self) -> str:
        """The sessions of the selected month as a table, "" without one."""
        chosen = self._found.selected
        if chosen.month is None:
            return ""
        style = "&style=de" if self._locale.tag.startswith("de") else ""
        return f"api/v1/sessions.csv?{chosen._replace(before='').query}{style}"

    @property
    def rest(self) -> list[str]:
        """Sentences on energy of the selected month that is in no session."""
        unassigned, corrections = self._found.rest or (0, 0)
        named = (("sessions.in_no_session", unassigned), ("sessions.corrections", corrections))
        return [self._text(key).format(self._texts.kwh(wh)) for key, wh in named if wh]

    @property
    def months(self) -> list[Sum]:
        """The sums by month, the latest first."""
        return [self._month(each) for each in reversed(self._found.months)]

    @property
    def earlier_months_url(self) -> str:
        """The page with sums of earlier months, "" if there are none."""
        earlier = self._found.earlier
        return (
            "" if earlier is None else self._found.selected._replace(month=earlier, before="").url
        )

    @property
    def cards(self) -> list[Sum]:
        """The sums by card."""
        return [self._card(each) for each in self._found.cards]

    @property
    def cards_of(self) -> str:
        """The time for which cards are summed: a month, or since when."""
        chosen, since = self._found.selected, self._found.since
        if chosen.month is not None:
            return self._texts.month(chosen.month)
        return "" if since is None else self._text("sessions.since").format(
            self._texts.month(since)
        )  # fmt: skip

    @property
    def incomplete(self) -> bool:
        """Whether there are too many sessions to sum them all."""
        since, month = self._found.since, self._found.selected.month
        return since is None or (month is not None and month < since)

    def _row(self, line: Line) -> Row:
        found = line.key
        assert isinstance(found, Entry)
        session = found.session
        chosen = self._found.selected
        name = self._found.chargers.get(session.serial, session.charger)
        return Row(
            session.id,
            self._texts.time(session.started),
            self._texts.end(found),
            self._texts.span(session.seconds),
            session.charger,
            chosen._replace(charger=name, before="").url,
            self._texts.card(session.card),
            self._texts.kwh(found.energy_wh),
            self._texts.amount(line.amount),
            " ".join(self._texts.remarks(found)),
            found.under_way,
        )

    def _month(self, line: Line) -> Sum:
        assert isinstance(line.key, date)
        chosen = self._found.selected._replace(before="")
        of_month = chosen._replace(month=line.key)
        is_selected = chosen.month == line.key
        return Sum(
            self._texts.month(line.key),
            (chosen._replace(month=None) if is_selected else of_month).url,
            is_selected,
            self._locale.number(line.sessions),
            self._texts.kwh(line.energy_wh),
            self._texts.amount(line.amount),
            f"{PATH}/report?{of_month.query}",
        )

    def _card(self, line: Line) -> Sum:
        card = line.key
        assert card is None or isinstance(card, int)
        chosen = self._found.selected._replace(before="")
        is_selected = card is not None and chosen.card == card
        url = chosen._replace(card=None if is_selected else card).url
        return Sum(
            self._texts.card(card),
            "" if card is None or card > MAX_CARD else url,
            is_selected,
            self._locale.number(line.sessions),
            self._texts.kwh(line.energy_wh),
            self._texts.amount(line.amount),
            "",
        )
