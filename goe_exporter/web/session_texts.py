"""The values of a session as texts in a language, for the page and the report. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal

from goe_exporter.sessions.ledger import Entry
from goe_exporter.web.locale import Locale
from goe_exporter.web.units import ABSENT


@dataclass(frozen=True)
class SessionTexts:
    """Texts for a reader's `locale`; times are in `zone`, `names` are those of cards by number."""

    locale: Locale
    zone: tzinfo
    names: Mapping[str, str]

    def card(self, card: int | None) -> str:
        """Return the name of a card, or its number if it has no name."""
        if card is None:
            return self.locale.text("report.card_unknown")
        if card == 0:
            return self.locale.text("report.no_card")
        return self.names.get(str(card)) or self.locale.text("report.card").format(card)

    def kwh(self, energy_wh: int | None) -> str:
        """Return an energy in kWh, to the Wh."""
        return ABSENT if energy_wh is None else self.locale.number(energy_wh / 1000, 3)

    def amount(self, amount: Decimal | None) -> str:
        """Return an amount to the cent."""
        return ABSENT if amount is None else self.locale.number(float(amount), 2)

    def span(self, seconds: float) -> str:
        """Return a duration in hours and minutes."""
        minutes = max(round(seconds / 60), 1)
        if minutes < 60:
            return f"{minutes} min"
        return f"{minutes // 60} h {minutes % 60} min"

    def day(self, day: date) -> str:
        """Return a date."""
        return f"{day:{self.locale.text('report.day_format')}}"

    def month(self, day: date) -> str:
        """Return the month of a date, with its year."""
        return f"{self.locale.text(f'month.{day:%m}')} {day.year}"

    def time(self, moment: float) -> str:
        """Return a local time, with the time zone in an hour that occurs twice."""
        local = datetime.fromtimestamp(moment, self.zone)
        ambiguous = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
        zone = f" {local:%Z}" if ambiguous else ""
        return f"{self.day(local)} {local:%H:%M}{zone}"

    def end(self, found: Entry) -> str:
        """Return the local time at which a session ended, or that it is under way."""
        if found.under_way:
            return self.locale.text("report.under_way")
        return self.time(found.session.ended)

    def remarks(self, found: Entry) -> Iterator[str]:
        """Yield sentences on what is unusual about a session."""
        text, session = self.locale.text, found.session
        if found.partial:
            yield text("report.partial").format(self.kwh(session.energy_wh))
        if session.unobserved_seconds:
            yield text("report.not_observed").format(
                self.span(session.unobserved_seconds), self.kwh(session.unobserved_wh)
            )
        yield from (text(f"session_flag.{flag}") for flag in session.flags)
