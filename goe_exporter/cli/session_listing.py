"""Sessions or their sums, as CSV, as JSON and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from goe_exporter.cli import tables
from goe_exporter.sessions import rows
from goe_exporter.sessions.ledger import Entry, Line, summed
from goe_exporter.sessions.settings import SessionSettings

ABSENT = "-"
NUMBERS = ("plugged", "sessions", "kWh")


@dataclass(frozen=True)
class Listing:
    """The lines of sessions, or of sums `by` something.

    `rest` is the energy in no session and the corrections of meters (Wh), None if the selection
    excludes them. `cards` are the names of cards by number.
    """

    by: str | None
    lines: list[Line]
    rest: tuple[int, int] | None
    cards: Mapping[str, str]
    settings: SessionSettings

    def document(self) -> dict[str, object]:
        """Return the rows and their total for JSON."""
        total = rows.total_row(summed(self.lines), self.rest, self.settings.currency)
        return {
            "sums" if self.by else "sessions": list(map(rows.as_json, self._rows())),
            "total": rows.as_json(total),
        }

    def csv(self, *, german: bool) -> str:
        """Return the rows as CSV."""
        columns = rows.sum_columns(self.by) if self.by else rows.SESSION_COLUMNS
        return rows.as_csv(self._rows(), columns, german=german)

    def _rows(self) -> list[rows.Row]:
        by, settings = self.by, self.settings
        if by:
            return [rows.sum_row(by, each, self.cards, settings.currency) for each in self.lines]
        zone = settings.time_zone
        return [rows.session_row(each, zone, self.cards, settings.currency) for each in self.lines]

    def print_table(self) -> None:
        """Print the rows and their total, and lines for the energy that is in no row."""
        total = summed(self.lines)
        priced = [self.settings.currency] if self.settings.tariffs else []
        amount = [amount_text(total.amount)] if priced else []
        if self.by:
            headers = [self.by, "sessions", "kWh", *priced]
            shown = [self._sum(each) for each in self.lines]
            last = ["total", str(total.sessions), kwh_text(total.energy_wh), *amount]
        else:
            headers = ["charger", "start", "plugged", "card", "kWh", *priced, "notes"]
            shown = [self._session(each) for each in self.lines]
            count = f"{total.sessions} session{'' if total.sessions == 1 else 's'}"
            last = ["total", count, "", "", kwh_text(total.energy_wh), *amount, ""]
        numbers = (*NUMBERS, *priced)
        tables.print_rows(headers, [*shown, last], numbers=numbers, whole=["start"], total=True)
        for label, energy_wh in (
            ("in no session", self.rest[0] if self.rest else 0),
            ("corrections of the meter", self.rest[1] if self.rest else 0),
            ("before the first tariff, without a price", total.unpriced_wh if priced else 0),
        ):
            if energy_wh:
                tables.print_line(f"{label}: {kwh_text(energy_wh)} kWh")

    def _sum(self, line: Line) -> list[str]:
        by = self.by or ""
        key = self._card(line.key) if by == "card" else rows.day_text(by, line.key)
        priced = [amount_text(line.amount)] if self.settings.tariffs else []
        return [key, str(line.sessions), kwh_text(line.energy_wh), *priced]

    def _session(self, line: Line) -> list[str]:
        found = line.key
        assert isinstance(found, Entry)
        session = found.session
        began = datetime.fromtimestamp(session.started, self.settings.time_zone)
        minutes = round(session.seconds / 60)
        notes = [
            *(["under way"] if found.under_way else ()),
            *(["began before"] if found.from_before else ()),
            *(["continues"] if found.goes_on else ()),
            *(flag.replace("_", " ") for flag in session.flags),
        ]
        priced = [amount_text(line.amount)] if self.settings.tariffs else []
        return [
            session.charger,
            f"{began:%Y-%m-%d %H:%M}",
            f"{minutes // 60}:{minutes % 60:02}",
            self._card(session.card),
            kwh_text(found.energy_wh),
            *priced,
            ", ".join(notes),
        ]

    def _card(self, card: object) -> str:
        if card is None:
            return "unknown"
        return self.cards.get(str(card), f"card {card}" if card else "no card")


def kwh_text(energy_wh: int) -> str:
    """Return an energy in kWh, to the Wh."""
    return f"{energy_wh / 1000:,.3f}"


def amount_text(amount: Decimal | None) -> str:
    """Return an amount to the cent; a dash without a price."""
    return ABSENT if amount is None else f"{amount:,.2f}"
