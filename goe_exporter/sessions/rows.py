"""Sessions and sums as rows for CSV and JSON: the same columns in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from decimal import Decimal

from goe_exporter.sessions.ledger import Entry, Line, Total

Value = str | int | Decimal | datetime | None
Row = dict[str, Value]

SOURCES = ("solar", "grid", "battery", "other")

BYTE_ORDER_MARK = "\ufeff"
"""Without it, a spreadsheet takes CSV for another encoding than UTF-8."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Texts that begin with these are formulas to a spreadsheet."""


def session_row(line: Line, zone: tzinfo, cards: Mapping[str, str], currency: str) -> Row:
    """Return the row of a session, or of its part in the period.

    Times and durations are those of the whole session; energy, amount and meter readings are those
    of the part.
    """
    found = line.key
    assert isinstance(found, Entry)
    session = found.session
    sources = {} if found.partial else session.sources
    flags = (*session.flags, "under_way") if found.under_way else session.flags
    power = session.max_power_w
    return {
        "id": session.id,
        "charger": session.charger,
        "serial": session.serial,
        "start": datetime.fromtimestamp(session.started, zone),
        "end": None if found.under_way else datetime.fromtimestamp(session.ended, zone),
        "plugged_s": session.seconds,
        "charging_s": session.charging_seconds,
        "part": part(found),
        "energy_kwh": kilo(found.energy_wh),
        "meter_start_kwh": kilo(found.meter_start_wh),
        "meter_end_kwh": kilo(found.meter_end_wh),
        "card": session.card,
        "card_name": cards.get(str(session.card), ""),
        **{f"{source}_kwh": kilo(sources.get(source)) for source in SOURCES},
        "max_power_kw": kilo(power),
        "unobserved_kwh": kilo(found.unobserved_wh),
        "unobserved_s": session.unobserved_seconds,
        **_cost(line, currency),
        "flags": " ".join(flags),
    }


def sum_row(by: str, line: Line, cards: Mapping[str, str], currency: str) -> Row:
    """Return the row of a sum `by` day, month, card or charger."""
    key: Row
    if by == "card":
        assert line.key is None or isinstance(line.key, int)
        key = {"card": line.key, "card_name": cards.get(str(line.key), "")}
    else:
        key = {by: day_text(by, line.key)}
    return {
        **key,
        "sessions": line.sessions,
        "energy_kwh": kilo(line.energy_wh),
        **_cost(line, currency),
    }


def total_row(found: Total, rest: tuple[int, int] | None, currency: str) -> Row:
    """Return the row of a total; `rest` is the energy in no session and the corrections (Wh)."""
    unassigned, corrections = rest or (None, None)
    return {
        "sessions": found.sessions,
        "energy_kwh": kilo(found.energy_wh),
        "amount": found.amount,
        "currency": currency if found.amount is not None else "",
        "unpriced_kwh": kilo(found.unpriced_wh),
        "unassigned_kwh": kilo(unassigned),
        "corrections_kwh": kilo(corrections),
    }


def day_text(by: str, key: object) -> str:
    """Return a day as 2026-11-30, a month as 2026-11, and anything else as text."""
    return f"{key:%Y-%m}" if by == "month" and isinstance(key, date) else str(key)


def part(found: Entry) -> str:
    """Return which part of a session an entry is: first, middle or last, "" if it is all of it."""
    if found.from_before:
        return "middle" if found.goes_on else "last"
    return "first" if found.goes_on else ""


def kilo(value: int | None) -> Decimal | None:
    """Return Wh in kWh, or W in kW, exactly."""
    return None if value is None else Decimal(value).scaleb(-3)


def as_csv(rows: Iterable[Row], columns: Sequence[str], *, german: bool = False) -> str:
    """Return rows as CSV with a header.

    Times are in ISO 8601 with the offset. With `german`, the cells are separated by semicolons and
    have a decimal comma, and times have no offset, as a spreadsheet in German expects. A text that
    could be a formula begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, delimiter=";" if german else ",", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column], german) for column in columns] for row in rows)
    return file.getvalue()


def as_json(row: Row) -> dict[str, object]:
    """Return a row for JSON: numbers, and times in ISO 8601 with the offset."""
    return {name: _plain(value) for name, value in row.items()}


SESSION_COLUMNS = (
    *("id", "charger", "serial", "start", "end", "plugged_s", "charging_s", "part", "energy_kwh"),
    *("meter_start_kwh", "meter_end_kwh", "card", "card_name"),
    *(f"{source}_kwh" for source in SOURCES),
    *("max_power_kw", "unobserved_kwh", "unobserved_s", "amount", "currency", "unpriced_kwh"),
    "flags",
)


def sum_columns(by: str) -> tuple[str, ...]:
    """Return the columns of sums."""
    key = ("card", "card_name") if by == "card" else (by,)
    return (*key, "sessions", "energy_kwh", "amount", "currency", "unpriced_kwh")


def _cost(line: Line, currency: str) -> Row:
    return {
        "amount": line.amount,
        "currency": currency if line.amount is not None else "",
        "unpriced_kwh": kilo(line.unpriced_wh),
    }


def _cell(value: Value, german: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        seconds = value.replace(microsecond=0)
        return f"{seconds:%Y-%m-%d %H:%M:%S}" if german else seconds.isoformat()
    if isinstance(value, Decimal):
        return str(value).replace(".", ",") if german else str(value)
    text = str(value)
    if isinstance(value, str) and text.startswith(FORMULA):
        text = f"'{text}"
    return text.replace("\r", " ")  # which the csv library of Python 3.12 does not quote


def _plain(value: Value) -> object:
    if isinstance(value, datetime):
        return value.replace(microsecond=0).isoformat()
    return float(value) if isinstance(value, Decimal) else value
