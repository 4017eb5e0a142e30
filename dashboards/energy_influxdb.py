"""The energy dashboard for InfluxDB.

InfluxQL can group by days in a time zone, but not by months; Grafana adds up the days. Energy is
the sum of the meter's increases from one short interval to the next; sessions and cards are those
of the measurement `goe_session`.
"""

from __future__ import annotations

from dashboards import influxql, looks
from dashboards.energy import (
    CURRENCY,
    MAX_WATTS,
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
    columns,
    override,
    sorted_by,
    table,
    transformation,
    values,
)

DAYS = (
    "By charger, up to the last full five minutes. Days begin at midnight in the time zone "
    "selected above. Energy charged while no point was written counts for the day of the next "
    "point. A decrease of the meter, or more than the charger can deliver, is not counted."
)
MINUTES_PER_HOUR = 60
MINUTES = "Counted in minutes with a point in that state."
RECORDED = (
    "They are recorded if the exporter's configuration has the sections sessions and influxdb."
)


def board() -> Board:
    """Return the dashboard for InfluxDB."""
    used = [_hours(state) for state in PLUGGED]
    zone = "Days begin at midnight in the time zone selected above."
    return Board(
        uid="goe-influx-energy", title="go-e Energy (InfluxDB)", source=influxql.SOURCE,
        description="Energy per day and month, its cost, hours of use, and charging sessions.",
        variables=influxql.variables(PRICE, influxql.timezone()),
        time_from="now-30d/d", refresh="5m",
        rows=[Row("Energy", [
            _totals(),
            [days([_days()], DAYS)],
            [hours_of_use(used, f"{USE} {MINUTES} {zone}"), _months()],
            [_by_charger(), _by_card()],
            [_sessions()],
        ])],
    )  # fmt: skip


def charged(columns: str, groups: str = "", bucket: str = "5m") -> str:
    """Return a query for columns computed from `wh`, the energy (Wh) of a charger in each bucket.

    A bucket's energy is the difference between its first counter value and that of the previous
    bucket with a point, so that no energy is lost while a charger does not answer. Buckets end a
    second before the full minute: the last one of a day ends, and is labelled, on that day.
    """
    meter = f"first({influxql.field('energy')})"
    rises = (
        f'SELECT non_negative_difference({meter}) AS "wh",'
        f' non_negative_derivative({meter}, 1h) AS "w" {influxql.FROM} {influxql.SHOWN}'
        f' GROUP BY time({bucket}, -1s), "charger" fill(none)'
    )
    allowed = f'WHERE $timeFilter AND "w" <= {MAX_WATTS}'
    return f"SELECT {columns} FROM ({rises}) {allowed} {groups}".rstrip()


def _totals() -> list[Panel]:
    total = charged('sum("wh") / 1000 AS "kWh"')
    cost = charged('sum("wh") / 1000 * $price AS "cost"')
    last = f'SELECT last({influxql.field("energy")}) AS "wh" {influxql.FROM} {influxql.SHOWN}'
    meter = f'SELECT sum("wh") / 1000 AS "kWh" FROM ({last} GROUP BY "charger")'
    minutes = f'SELECT count("any") / {MINUTES_PER_HOUR} AS "h" FROM ({_minutes("charging")})'
    energy = influxql.target(total)
    return [
        energy_stat("Today", "Energy charged since midnight.", energy, TODAY),
        energy_stat(
            "This month", "Energy charged since the first of the month.", energy, THIS_MONTH
        ),
        energy_stat("Selected time range", "Energy charged in the selected time range.", energy),
        cost_stat([influxql.target(cost)]),
        hours_stat([influxql.target(minutes)]),
        energy_stat("Meter", METER, influxql.target(meter)),
    ]


def _days() -> Json:
    groups = f'GROUP BY time(1d), "charger" fill(none) {influxql.ZONE}'
    return influxql.target(charged('sum("wh") / 1000', groups), "$tag_charger")


def _minutes(state: str) -> str:
    """Return a query with a value for each minute in which a charger was in a state."""
    power, word = influxql.field("power"), influxql.word("car_state", state)
    groups = 'GROUP BY time(1m), "charger" fill(none)'
    return f'SELECT last({power}) AS "any" {influxql.FROM} {influxql.SHOWN} AND {word} {groups}'


def _hours(state: str) -> Json:
    per_day = f"WHERE $timeFilter GROUP BY time(1d) fill(none) {influxql.ZONE}"
    count = f'SELECT count("any") / {MINUTES_PER_HOUR} AS "{state}"'
    return influxql.target(f"{count} FROM ({_minutes(state)}) {per_day}")


def _months() -> Panel:
    query = charged(
        'sum("wh") / 1000 AS "Energy", sum("wh") / 1000 * $price AS "Cost"',
        f"GROUP BY time(1d) fill(none) {influxql.ZONE}",
        "1h",
    )
    summed = {"aggregations": ["sum"], "operation": "aggregate"}
    return table(
        title="Months",
        description="The last twelve months, all chargers together, latest first, at the price "
        "above. The current month ends at the last full hour. The time zone selected above should "
        "be yours.",
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
            sorted_by("Time", greatest_first=True),
        ],
        overrides=[
            override("Time", displayName="Month"),
            *month_columns("Energy (sum)", "Cost (sum)"),
        ],
        defaults={"noValue": "Nothing charged"},
    )  # fmt: skip


def _by_charger() -> Panel:
    query = charged('sum("wh") / 1000 AS "kWh"', 'GROUP BY "charger"')
    target = influxql.target(query, "$tag_charger")
    description = "Energy charged in the selected time range by charger."
    return energy_bars("By charger", description, target, "Nothing charged", 12)


def _by_card() -> Panel:
    energy = influxql.of_session("energy_wh")
    query = (
        f'SELECT sum({energy}) / 1000 AS "kWh" {influxql.FROM_SESSIONS} {influxql.SHOWN}'
        ' AND "card" =~ /^[1-9]/ GROUP BY "card"'
    )
    target = influxql.target(query, "Card $tag_card")
    description = (
        f"Energy of the sessions that ended in the selected time range, by RFID card. {RECORDED}"
    )
    return energy_bars("By card", description, target, "No session with a card", 12)


def _sessions() -> Panel:
    energy = influxql.of_session("energy_wh")
    titles = {
        "Time": "Ended",
        "charger": "Charger",
        "card": "Card",
        "card_name": "Name",
        "energy": "Energy",
        "cost": "Cost",
        "plugged": "Plugged in for",
        "charging": "Charging for",
        "flags": "Flags",
    }
    chosen = ", ".join(
        [
            *('"charger"', '"card"', influxql.of_session("card_name")),
            f'{energy} / 1000 AS "energy"',
            f'{energy} / 1000 * $price AS "cost"',
            f'{influxql.of_session("plugged_s")} AS "plugged"',
            f'{influxql.of_session("charging_s")} AS "charging"',
            influxql.of_session("flags"),
        ]
    )
    query = f"SELECT {chosen} {influxql.FROM_SESSIONS} {influxql.SHOWN} ORDER BY time DESC"
    return table(
        title="Sessions",
        description="Sessions that ended in the selected time range, latest first, at the price "
        f"above. {RECORDED} Flags say what is uncertain.",
        targets=[influxql.target(query, rows=True)], width=24, height=9,
        transformations=[columns(titles)],
        overrides=[
            override("Ended", unit="dateTimeAsLocal", custom__width=200),
            override("Card", mappings=[values({"0": ("no card", "text")})], custom__width=90),
            override("Name", noValue="–"),
            override("Energy", unit=looks.KWH, decimals=2, custom__width=110),
            override("Cost", unit=CURRENCY, decimals=2, custom__width=100),
            override("Plugged in for", unit="dthms", custom__width=130),
            override("Charging for", unit="dthms", custom__width=130),
            override("Flags", noValue="–", custom__width=300),
        ],
        defaults={"noValue": "No session ended in this range"},
    )  # fmt: skip
