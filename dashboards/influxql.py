"""InfluxQL whose fields are looked up in the channel table.

It uses only what InfluxDB 1.x, 2.x and 3 support: no `INTEGRAL`, no `SPREAD`, no continuous
queries. A field that the exporter does not write raises KeyError when the dashboards are built.
"""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.grafana import Json, textbox, variable
from dashboards.promql import channel, house_channel
from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.model import Kind
from goe_exporter.channels.table import CHARGER
from goe_exporter.service import session_points

SOURCE = "influxdb"
CHOSEN = '"charger" =~ /^$charger$/'
SHOWN = f"WHERE $timeFilter AND {CHOSEN}"
BY_TIME = "GROUP BY time($__interval)"
ZONE = "tz('$timezone')"
FROM = f'FROM "{CHARGER.measurement}"'
FROM_SESSIONS = f'FROM "{session_points.MEASUREMENT}"'


def field(name: str, part: str = "") -> str:
    """Return the quoted field of a part; raises KeyError if the channel has no such part."""
    row = channel(name)
    if part not in [each.label for each in row.parts] and not row.states:
        raise KeyError(f"{name}: {part}")
    return f'"{row.field(part)}"'


def code(name: str) -> str:
    """Return the field with the numeric code of a state or reason."""
    row = channel(name)
    if row.kind not in (Kind.STATE, Kind.REASON):
        raise KeyError(f"{name} is not a state")
    return f'"{row.field()}_code"'


def of_session(name: str) -> str:
    """Return a quoted field of closed sessions; raises KeyError if they have no such field."""
    if name not in session_points.FIELDS:
        raise KeyError(name)
    return f'"{name}"'


def last(columns: dict[str, str]) -> Json:
    """Return a query for the last value of each field, under its name."""
    chosen = ", ".join(f'last({each}) AS "{name}"' for name, each in columns.items())
    return target(f"SELECT {chosen} {FROM} {SHOWN}")


def past(columns: dict[str, str], function: str = "mean", fill: str = "null") -> Json:
    """Return a query for the fields over the time range, each under its name."""
    chosen = ", ".join(f'{function}({each}) AS "{name}"' for name, each in columns.items())
    return target(f"SELECT {chosen} {FROM} {SHOWN} {BY_TIME} fill({fill})")


def house(name: str, function: str, *categories: str, by_time: bool = True) -> list[Json]:
    """Return a query for each category of all Controllers, over the time range or its last value.

    Several Controllers are not added up: that would need a query in a query.
    """
    row = house_channel(name, *categories)
    rest = f" {BY_TIME} fill(null)" if by_time else ""
    source = f'FROM "{CONTROLLER.measurement}" WHERE $timeFilter'
    return [
        target(f'SELECT {function}("{row.field(each)}") AS "{each}" {source}{rest}')
        for each in categories
    ]


def target(query: str, alias: str = "$col", *, rows: bool = False) -> Json:
    """Return a query; with `rows` its result is a table."""
    return {
        "alias": alias,
        "query": query,
        "rawQuery": True,
        "resultFormat": "table" if rows else "time_series",
    }


def variables(*more: Json) -> list[Json]:
    """Return the variable `charger`, and `more`."""
    query = f'SHOW TAG VALUES {FROM} WITH KEY = "charger"'
    return [variable("charger", "Charger", SOURCE, query, query), *more]


def timezone() -> Json:
    """Return the variable with the time zone of the days."""
    help_text = "Time zone in which days begin, for example Europe/Vienna."
    return textbox("timezone", "Time zone of the days", "Europe/Berlin", help_text)


def columns(name: str, parts: Sequence[str]) -> dict[str, str]:
    """Return the fields of a channel's parts under the parts' names."""
    return {part: field(name, part) for part in parts}


def word(name: str, state: str) -> str:
    """Return the condition that a state has a value; raises KeyError if there is no such value."""
    row = channel(name)
    if row.states is None or state not in row.states.names:
        raise KeyError(f"{name}: {state}")
    return f"\"{row.field()}\" = '{state}'"
