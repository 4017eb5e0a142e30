"""What the reader of the page of charging sessions selected, which is in its URL. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple
from urllib.parse import quote, urlencode

from goe_exporter.sessions.settings import calendar_month
from goe_exporter.sessions.tally import MAX_CARD
from goe_exporter.web.parameters import whole_number

PATH = "sessions"
"""The page's path from the root of the exporter."""


class Selection(NamedTuple):
    """What the reader selected: a month (its first day), a charger by name, and a card.

    `before` is the id of the session after which the list continues.
    """

    month: date | None = None
    charger: str = ""
    card: int | None = None
    before: str = ""

    @property
    def query(self) -> str:
        """The parameters of a URL with this selection."""
        given = {
            "month": "" if self.month is None else f"{self.month:%Y-%m}",
            "charger": self.charger,
            "card": "" if self.card is None else str(self.card),
            "before": self.before,
        }
        given = {name: text for name, text in given.items() if text}
        return urlencode(given, quote_via=quote)

    @property
    def url(self) -> str:
        """The page with this selection, relative to the root of the exporter."""
        return f"{PATH}?{self.query}" if self.query else PATH

    @property
    def chargers(self) -> tuple[str, ...]:
        """The charger, if one is selected."""
        return (self.charger,) if self.charger else ()

    @property
    def cards(self) -> tuple[int, ...]:
        """The card, if one is selected."""
        return () if self.card is None else (self.card,)


def selected(parameters: Mapping[str, str]) -> Selection:
    """Return the selection in the parameters of a URL; an invalid value is ignored."""
    try:
        month = calendar_month(parameters.get("month", ""))
    except ValueError:
        month = None
    try:
        card = whole_number("card", parameters.get("card", ""), 0, MAX_CARD)
    except ValueError:
        card = None
    return Selection(month, parameters.get("charger", ""), card, parameters.get("before", ""))
