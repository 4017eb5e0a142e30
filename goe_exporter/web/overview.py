"""What the overview shows: a summary of all chargers, and the rows that the reader selected. Pure.

The selection is in the page's URL, so it works without scripts, survives every refresh of the page
and can be bookmarked.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from goe_exporter.polling.view import ChargerView
from goe_exporter.web.charger_state import ChargerState, Values, charger_state
from goe_exporter.web.locale import Locale
from goe_exporter.web.units import Quantity, duration, energy, power

GROUPS = {
    "error": "error",
    "offline": "unreachable",
    "unknown": "unknown",
    "charging": "charging",
    "waiting": "waiting",
    "complete": "complete",
    "idle": "idle",
    "pending": "waiting",
}
"""Each group of states, most urgent first, and the mood whose icon and colour it has."""

ASCENDING, DESCENDING = "ascending", "descending"
MAX_ERRORS = 10
"""Errors that are listed; a link leads to the others."""

MAX_SEARCH_CHARACTERS = 100

_GROUP_BY_CONDITION = {"waiting": "pending", "unreachable": "offline", "never": "offline"}
_NUMBERS = re.compile(r"(\d{1,15})")


class Row(NamedTuple):
    """A charger as a row of the overview; `detail` is its error, or why its last poll failed.

    `watts` and `watt_hours` are None if they are absent, `age` (s) before the first answer. `path`
    is the name, encoded as one segment of a URL path.
    """

    name: str
    path: str
    group: str
    mood: str
    condition: str
    state: str
    detail: str
    watts: float | None
    power: str
    watt_hours: float | None
    session: str
    age: float | None
    age_text: str
    searched: str


class Selection(NamedTuple):
    """What the reader selected: the column and order of the rows, a group, and a text to find."""

    sort: str = "state"
    order: str = ASCENDING
    state: str = ""
    search: str = ""

    @property
    def url(self) -> str:
        """The overview with this selection, relative to the overview."""
        default_order = self.order == COLUMNS[self.sort].order
        parameters = {
            "sort": "" if default_order and self.sort == ALL_CHARGERS.sort else self.sort,
            "order": "" if default_order else self.order,
            "state": self.state,
            "search": self.search,
        }
        given = {name: value for name, value in parameters.items() if value}
        return f"?{urlencode(given, quote_via=quote)}" if given else "./"


ALL_CHARGERS = Selection()


class Column(NamedTuple):
    """A column: its label, the order that its link selects first, and what rows are sorted by."""

    label: str
    order: str
    key: Callable[[Row], object]


class Heading(NamedTuple):
    """A column's link, and the present order of the rows by it, "" if they have another."""

    label: str
    url: str
    order: str


class Choice(NamedTuple):
    """A group that can be selected, and how many chargers are in it."""

    group: str
    mood: str
    label: str
    number: str
    url: str
    selected: bool


class Trouble(NamedTuple):
    """A charger with an error."""

    name: str
    path: str
    error: str


class Overview(NamedTuple):
    """The overview as its template renders it.

    `total` is the power of the chargers that report one, and `total_note` says how many those are,
    unless all do. `more` is the number of errors that `troubles` leaves out, "" if there are none.
    """

    total: Quantity
    total_note: str
    choices: tuple[Choice, ...]
    troubles: tuple[Trouble, ...]
    more: str
    more_url: str
    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    shown: str
    search: str


def overview(views: Sequence[ChargerView], locale: Locale, selected: Selection) -> Overview:
    """Return what the overview shows of these chargers."""
    rows = [_row(view, locale) for view in views]
    errors = [row for row in rows if row.group == "error"]
    sought = _folded(selected.search)
    found = [row for row in rows if selected.state in ("", row.group) and sought in row.searched]
    watts = [row.watts for row in rows if row.watts is not None]
    more = len(errors) - MAX_ERRORS
    return Overview(
        total=power(math.fsum(watts) if watts else None, locale),
        total_note=_total_note(len(watts), len(rows), locale),
        choices=tuple(_choices(rows, locale, selected)),
        troubles=tuple(
            Trouble(row.name, row.path, row.detail or row.state) for row in errors[:MAX_ERRORS]
        ),
        more=locale.text("overview.more").format(locale.number(more)) if more > 0 else "",
        more_url=Selection(state="error").url,
        headings=tuple(_headings(locale, selected)),
        rows=tuple(_sorted(found, selected)),
        shown=locale.text("overview.shown").format(*map(locale.number, (len(found), len(rows)))),
        search=selected.search,
    )


def selection(parameters: Mapping[str, str]) -> Selection:
    """Return the selection in the parameters of a URL; an unknown value is ignored."""
    sort = parameters.get("sort", "")
    sort = sort if sort in COLUMNS else ALL_CHARGERS.sort
    order = parameters.get("order", "")
    order = order if order in (ASCENDING, DESCENDING) else COLUMNS[sort].order
    state = parameters.get("state", "")
    search = parameters.get("search", "").strip()
    return Selection(
        sort,
        order,
        state if state in GROUPS else "",
        search if len(search) <= MAX_SEARCH_CHARACTERS else "",
    )


def _row(view: ChargerView, locale: Locale) -> Row:
    values = Values(view, locale)
    state = charger_state(view, values)
    watts, watt_hours = values.number("power"), values.number("session_energy")
    return Row(
        name=view.name,
        path=quote(view.name, safe=""),
        group=_group(state),
        mood=state.mood,
        condition=state.condition,
        state=state.text,
        detail=", ".join(filter(None, (state.error and state.error.title, state.failure))),
        watts=watts,
        power=power(watts, locale).text,
        watt_hours=watt_hours,
        session=energy(watt_hours, locale).text,
        age=state.age,
        age_text="" if state.age is None else duration(state.age),
        searched=_folded("\n".join((view.name, view.host, *view.labels.values()))),
    )


def _group(state: ChargerState) -> str:
    return _GROUP_BY_CONDITION.get(state.condition, state.mood)


def _sorted(rows: Sequence[Row], selected: Selection) -> list[Row]:
    """Return the rows in the selected order; those without a value are last in both orders."""
    key = COLUMNS[selected.sort].key
    keyed: list[tuple[Any, Row]] = [(key(row), row) for row in rows]
    with_value = [each for each in keyed if each[0] is not None]
    without = [each for each in keyed if each[0] is None]
    with_value.sort(key=itemgetter(0), reverse=selected.order == DESCENDING)
    return [row for _key, row in with_value + without]


def _total_note(included: int, chargers: int, locale: Locale) -> str:
    if not included:
        return locale.text("overview.total_of_none")
    if included == chargers:
        return ""
    return locale.text("overview.total_of").format(*map(locale.number, (included, chargers)))


def _choices(rows: Sequence[Row], locale: Locale, selected: Selection) -> Iterator[Choice]:
    """Yield all chargers, and each group that is not empty or is selected."""
    counts = Counter(row.group for row in rows)
    for group, mood in {"": "", **GROUPS}.items():
        count = counts[group] if group else len(rows)
        if count or group == selected.state:
            yield Choice(
                group or "all",
                mood,
                locale.text(f"group.{group or 'all'}"),
                locale.number(count),
                selected._replace(state=group).url,
                group == selected.state,
            )


def _headings(locale: Locale, selected: Selection) -> Iterator[Heading]:
    for name, column in COLUMNS.items():
        order = selected.order if name == selected.sort else ""
        following = {ASCENDING: DESCENDING, DESCENDING: ASCENDING, "": column.order}[order]
        url = selected._replace(sort=name, order=following).url
        yield Heading(locale.text(column.label), url, order)


def _natural(name: str) -> tuple[object, ...]:
    """Return a key that sorts `Box 2` before `Box 10`, and `Ä` beside `A`."""
    parts = _NUMBERS.split(_folded(name))
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts))


COLUMNS = {
    "name": Column("label.charger", ASCENDING, lambda row: _natural(row.name)),
    "state": Column("label.state", ASCENDING, lambda row: list(GROUPS).index(row.group)),
    "power": Column("label.power", DESCENDING, lambda row: row.watts),
    "session": Column("label.session", DESCENDING, lambda row: row.watt_hours),
    "age": Column("label.data", DESCENDING, lambda row: row.age),
}
"""The columns by their name in the URL."""


def _folded(text: str) -> str:
    """Return a text in which case and the encoding of accents make no difference."""
    return unicodedata.normalize("NFKD", text.casefold())
