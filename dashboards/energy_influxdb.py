"""The dashboard of energy, money and hours from InfluxDB.

InfluxQL knows days, in a time zone that it is told, but no months: those are made of the days by
Grafana. All energy is the difference of the meter between buckets of time, see `charged_wh`.
"""

from __future__ import annotations

from dashboards import influxql
from dashboards.energy import (
    METER,
    PLUGGED,
    PRICE,
    THIS_MONTH,
    TODAY,
    USE,
    YEAR,
    cost_stat,
    days,
    energy_bars,
    energy_stat,
    hours_of_use,
    hours_stat,
    month_columns,
)
from dashboards.grafana import Board, Json, Panel, Row
from dashboards.panels import (
    latest_first,
    override,
    table,
    transformation,
)

DAYS = (
    "By charger. Days begin at midnight in the time zone chosen above. What was charged while no "
    "point was written counts for the day of the next point; a meter that goes back is left out."
)
CHARGED = influxql.charged_wh("10m")
MINUTES_PER_HOUR = 60
MINUTES = "Minutes with a point that says so are counted."


def board() -> Board:
    """Return the dashboard for InfluxDB."""
    used = [_hours(state) for state in PLUGGED]
    zone = "Days begin at midnight in the time zone chosen above."
    return Board(
        uid="goe-influx-energy", title="go-e Energy (InfluxDB)", source=influxql.SOURCE,
        description="Kilowatt-hours by day and month, what they cost, and hours of use.",
        variables=influxql.variables(PRICE, influxql.timezone()),
        time_from="now-30d/d", refresh="5m",
        rows=[Row("Energy", [
            _totals(),
            [days([_days()], DAYS)],
            [hours_of_use(used, f"{USE} {MINUTES} {zone}"), _months()],
            [_by_charger()],
        ])],
    )  # fmt: skip


def _totals() -> list[Panel]:
    total = f'SELECT sum("wh") / 1000 AS "kWh" FROM ({CHARGED})'
    cost = f'SELECT sum("wh") / 1000 * $price AS "cost" FROM ({CHARGED})'
    last = f'SELECT last({influxql.field("energy")}) AS "wh" {influxql.FROM} {influxql.SHOWN}'
    meter = f'SELECT sum("wh") / 1000 AS "kWh" FROM ({last} GROUP BY "charger")'
    minutes = f'SELECT count("any") / {MINUTES_PER_HOUR} AS "h" FROM ({_minutes("charging")})'
    charged = influxql.target(total)
    return [
        energy_stat("Today", "Charged since midnight.", charged, TODAY),
        energy_stat("This month", "Charged since the first.", charged, THIS_MONTH),
        energy_stat("In this time", "Charged in the time chosen above.", charged),
        cost_stat([influxql.target(cost)]),
        hours_stat([influxql.target(minutes)]),
        energy_stat("Meter", METER, influxql.target(meter)),
    ]


def _days() -> Json:
    per_day = f"{influxql.charged_wh('1d')} {influxql.ZONE}"
    by_charger = f'SELECT "wh" / 1000 FROM ({per_day}) GROUP BY "charger"'
    return influxql.target(by_charger, "$tag_charger")


def _minutes(state: str) -> str:
    """Return a query with a value for each minute in which a charger was in this state."""
    power, word = influxql.field("power"), influxql.word("car_state", state)
    groups = 'GROUP BY time(1m), "charger" fill(none)'
    return f'SELECT last({power}) AS "any" {influxql.FROM} {influxql.SHOWN} AND {word} {groups}'


def _hours(state: str) -> Json:
    per_day = f"WHERE $timeFilter GROUP BY time(1d) fill(none) {influxql.ZONE}"
    count = f'SELECT count("any") / {MINUTES_PER_HOUR} AS "{state}"'
    return influxql.target(f"{count} FROM ({_minutes(state)}) {per_day}")


def _months() -> Panel:
    per_day = f"{influxql.charged_wh('1d')} {influxql.ZONE}"
    query = (
        f'SELECT sum("wh") / 1000 AS "Energy", sum("wh") / 1000 * $price AS "Cost"'
        f" FROM ({per_day}) WHERE $timeFilter GROUP BY time(1d) fill(none) {influxql.ZONE}"
    )
    summed = {"aggregations": ["sum"], "operation": "aggregate"}
    return table(
        title="Months",
        description="The last twelve months, all chargers together, the present one first, at the "
        "price of today. The time zone chosen above should be the one you are in.",
        targets=[influxql.target(query, rows=True)], width=12, height=9,
        time_from=YEAR, interval="1d", points=2000,
        transformations=[
            transformation(
                "formatTime", outputFormat="YYYY-MM", timeField="Time", useTimezone=True
            ),
            transformation(
                "groupBy",
                fields={
                    "Time": {"aggregations": [], "operation": "groupby"},
                    "Energy": summed,
                    "Cost": summed,
                },
            ),
            latest_first("Time"),
        ],
        overrides=[
            override("Time", displayName="Month"),
            *month_columns("Energy (sum)", "Cost (sum)"),
        ],
        defaults={"noValue": "Nothing charged"},
    )  # fmt: skip


def _by_charger() -> Panel:
    query = f'SELECT sum("wh") / 1000 AS "kWh" FROM ({CHARGED}) GROUP BY "charger"'
    target = influxql.target(query, "$tag_charger")
    description = "Charged in the time chosen above."
    return energy_bars("By charger", description, target, "Nothing charged", 24)
