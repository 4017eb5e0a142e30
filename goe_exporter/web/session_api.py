"""Charging sessions as JSON and CSV: the parameters, the rows, and their OpenAPI description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date
from typing import NamedTuple

from starlette.datastructures import QueryParams

from goe_exporter.sessions import ledger, rows, selection
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import FLAGS
from goe_exporter.sessions.settings import SessionSettings, calendar_day, calendar_month
from goe_exporter.sessions.tally import MAX_CARD
from goe_exporter.web.parameters import whole_number
from goe_exporter.web.schema import Json, answer, list_of, object_of, operation, parameter

DEFAULT_LIMIT, MAX_LIMIT = 100, 1_000
MAX_ROWS = 10_000
"""Sessions in a CSV file."""


class Query(NamedTuple):
    """The parameters of a request: the days from `first` to `last`, which are included."""

    first: date | None
    last: date | None
    chargers: tuple[str, ...]
    cards: tuple[int, ...]
    limit: int
    before: str
    german: bool

    def period(self, settings: SessionSettings) -> Period:
        """Return the period in the time zone of the sessions."""
        return Period(self.first, self.last, settings.time_zone)


def parsed(parameters: QueryParams) -> Query:
    """Return the parameters of a request; raises `ValueError` with the name and the rule."""
    first, last = _day(parameters, "from"), _day(parameters, "to")
    month = _once(parameters, "month")
    if month and (first or last):
        raise ValueError("month: must not be given with from or to")
    if month:
        period = Period.month(_named("month", calendar_month, month), UTC)
        first, last = period.first, period.last
    if first and last and first > last:
        raise ValueError(f"to: must not be before from, {first}")
    style = _once(parameters, "style") or "en"
    if style not in ("de", "en"):
        raise ValueError(f"style: must be de or en, not {style!r:.80}")
    return Query(
        first,
        last,
        tuple(parameters.getlist("charger")),
        tuple(whole_number("card", each, 0, MAX_CARD) for each in parameters.getlist("card")),
        whole_number("limit", _once(parameters, "limit") or str(DEFAULT_LIMIT), 1, MAX_LIMIT),
        _once(parameters, "before"),
        style == "de",
    )


def as_json(
    records: Records, query: Query, settings: SessionSettings, names: Mapping[str, str]
) -> Json:
    """Return a part of the sessions as JSON, the latest first.

    Raises `UsageError` if the store cannot be read, and `LookupError` for an unknown `before`.
    """
    found = selection.latest(
        records, query.period(settings), query.chargers, query.cards,
        before=query.before, limit=query.limit,
    )  # fmt: skip
    zone, currency = settings.time_zone, settings.currency
    lines = ledger.lines(None, found.entries, settings.rates())
    return {
        "sessions": [rows.as_json(rows.session_row(each, zone, names, currency)) for each in lines],
        "next": found.last or None,
    }


def as_csv(
    records: Records, query: Query, settings: SessionSettings, names: Mapping[str, str]
) -> str:
    """Return all sessions of a period as CSV, as the command does.

    Raises `UsageError` if the store cannot be read, and `ValueError` if there are too many.
    """
    found = selection.latest(
        records, query.period(settings), query.chargers, query.cards, limit=MAX_ROWS
    )
    if found.last:
        raise ValueError(
            f"from, to: there are more than {MAX_ROWS} sessions; choose a shorter period"
        )
    entries = sorted(found.entries, key=lambda each: (each.session.started, each.session.id))
    lines = ledger.lines(None, entries, settings.rates())
    table = (rows.session_row(each, settings.time_zone, names, settings.currency) for each in lines)
    return rows.as_csv(table, rows.SESSION_COLUMNS, german=query.german)


def _day(parameters: QueryParams, name: str) -> date | None:
    text = _once(parameters, name)
    return _named(name, calendar_day, text) if text else None


def _once(parameters: QueryParams, name: str) -> str:
    """Return a parameter, "" without it; raises `ValueError` if it is given twice."""
    texts = parameters.getlist(name)
    if len(texts) > 1:
        raise ValueError(f"{name}: must be given once")
    return texts[0] if texts else ""


def _named(name: str, parse: Callable[[object], date], text: str) -> date:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def paths() -> Json:
    """Return the OpenAPI description of the paths."""
    failures = {
        "400": answer("A parameter is invalid.", "Error"),
        "503": answer("The store cannot be read now.", "Error"),
    }
    style = parameter(
        "style",
        "`de`: semicolons, decimal commas and local times.",
        {"enum": ["de", "en"], "default": "en"},
    )
    part = answer("A part of the sessions.", "Sessions")
    table: Json = {
        "description": "A line for each session.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
    return {
        "/api/v1/sessions": operation(
            "Charging sessions, the latest first.",
            [*_selection(), *_parts()],
            {"200": part, **failures},
        ),
        "/api/v1/sessions.csv": operation(
            f"All charging sessions of a period, at most {MAX_ROWS}, as CSV.",
            [*_selection(), style],
            {"200": table, **failures},
        ),
    }


def _selection() -> list[Json]:
    day: Json = {"type": "string", "format": "date"}
    month: Json = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}
    charger: Json = {"type": "array", "items": {"type": "string"}}
    card: Json = {"type": "integer", "minimum": 0, "maximum": MAX_CARD}
    cards: Json = {"type": "array", "items": card}
    of_card = "Only sessions of this card, 0 for those without a card; repeatable."
    return [
        parameter("from", "First day to include.", day),
        parameter("to", "Last day to include.", day),
        parameter("month", "Month to include, instead of `from` and `to`.", month),
        parameter("charger", "Only sessions of this charger; repeatable.", charger),
        parameter("card", of_card, cards),
    ]


def _parts() -> list[Json]:
    limit: Json = {
        "type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT,
    }  # fmt: skip
    following = "Continue after the session with this id: `next` of the last response."
    return [
        parameter("limit", "Sessions in a response, besides those under way.", limit),
        parameter("before", following, {"type": "string"}),
    ]


def schemas() -> Json:
    """Return the OpenAPI description of the responses."""
    text: Json = {"type": "string"}
    seconds: Json = {"type": "integer", "minimum": 0}
    number: Json = {"type": ["number", "null"]}
    flags = ", ".join((*FLAGS, "under_way"))
    of_column: dict[str, Json] = {
        "start": {"type": "string", "format": "date-time"},
        "end": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "null while the session is under way.",
        },
        "part": {
            "enum": ["", "first", "middle", "last"],
            "description": "The part that is in the period; empty for the whole session.",
        },
        "energy_kwh": {"type": "number"},
        "card": {"type": ["integer", "null"], "description": "0 without a card, null if unknown."},
        "flags": {"type": "string", "description": f"Some of {flags}, separated by spaces."},
    }
    for name in rows.SESSION_COLUMNS:
        if name.endswith("_s"):
            of_column.setdefault(name, seconds)
        elif name.endswith(("_kwh", "_kw")) or name == "amount":
            of_column.setdefault(name, number)
        else:
            of_column.setdefault(name, text)
    following: Json = {
        "type": ["string", "null"],
        "description": "The id to continue after, null if there are no more.",
    }
    return {
        "Session": object_of({name: of_column[name] for name in rows.SESSION_COLUMNS}),
        "Sessions": object_of({"sessions": list_of("Session"), "next": following}),
    }
