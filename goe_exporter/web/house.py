"""What the page shows of a house that a Controller measures. Pure."""

from __future__ import annotations

from typing import NamedTuple

from goe_exporter.polling.view import ChargerView
from goe_exporter.web.charger_state import Values, charger_state
from goe_exporter.web.locale import Locale
from goe_exporter.web.units import duration, power

CATEGORIES = ("grid", "solar", "battery", "home", "car")
"""The categories that are shown, in this order, where the Controller measures them."""


class Share(NamedTuple):
    """A category: its label, its power, and for the grid its direction."""

    label: str
    value: str
    note: str


class House(NamedTuple):
    """A Controller as the templates render it; `condition` is as in `ChargerState`.

    `state` is empty while there are powers. `age` is in seconds, None before the first answer.
    """

    name: str
    condition: str
    state: str
    age: float | None
    age_text: str
    shares: tuple[Share, ...]


def house(view: ChargerView, locale: Locale) -> House:
    """Return what the page shows of a Controller."""
    values = Values(view, locale)
    state = charger_state(view, values)
    shares = tuple(
        Share(
            locale.text(f"house.{category}"),
            power(watts, locale).text,
            _direction(category, watts, locale),
        )
        for category in CATEGORIES
        if (watts := values.number("power", category)) is not None
    )
    answers = state.condition in ("live", "stale", "blank")
    nothing = "" if shares else locale.text("house.nothing")
    return House(
        name=view.name,
        condition=state.condition,
        state=nothing if answers else state.text,
        age=state.age,
        age_text="" if state.age is None else duration(state.age),
        shares=shares,
    )


def _direction(category: str, watts: float, locale: Locale) -> str:
    if category != "grid" or not round(watts):  # as it is shown
        return ""
    return locale.text("house.drawn" if watts > 0 else "house.fed_in")
