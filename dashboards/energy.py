"""The dashboards of energy, money and hours, from Prometheus and from InfluxDB.

Prometheus knows no calendar. A bar of a day is what the counter rose by in the 24 hours from a
step on; Grafana puts the steps of a panel with the interval `1d` on midnight where the viewer is.
Months follow from days: on the first of a month, what the counter rose by in as many days as that
month has. Both look ahead (`offset -1d`), so that a bar stands where its day or month begins.
"""

from __future__ import annotations

from typing import NamedTuple

from dashboards import looks, promql
from dashboards.grafana import Board, Json, Panel, Row, textbox
from dashboards.panels import (
    BARS,
    bar_gauge,
    colored,
    columns,
    override,
    sorted_by,
    stat,
    table,
    time_series,
    transformation,
)

PRICE = textbox("price", "Price of a kWh", "0.30", "In €, with a point: 0.30")
CURRENCY = "currencyEUR"
DAY_LIMITS = (
    "Days begin at midnight where you are. After a change to or from summer time, days before it "
    "are off by an hour."
)
JUMPS = (
    "If the meter is reset or jumps, only what the charger's power allows is counted: at most "
    "3.75 kWh in 5 minutes."
)
DAYS = f"By charger. {DAY_LIMITS} {JUMPS}"
LENGTHS = (31, 30, 29, 28)
SAME_DATE = "vector(time() + 13 * 3600)"
"""Thirteen hours after midnight it is the same date in UTC as where the viewer is.

That holds from Hawaii to New Zealand in summer, ten hours behind UTC to thirteen ahead.
"""

LONGEST_SESSION = "14d"
SESSION_STEP = "1m"
MOST_WATTS = 45_000
"""More than a charger gives, and than a meter of whole kWh can show within five minutes."""


class Step(NamedTuple):
    """How far apart Prometheus reads a counter that jumped, and the longest gap that it bridges.

    `samples` is the resolution at which it reads other counters; empty for every sample.
    """

    step: str
    twice: str
    gap: str
    most_joules: int
    samples: str = ""


FINE = Step("5m", "10m", "1h", MOST_WATTS * 300)
HOURLY = Step("1h", "2h", "12h", MOST_WATTS * 3600, ":1h")
STEPS_OF_GAP = 12
"""How many steps the longest gap is."""

PLUGGED = ("charging", "waiting_for_car", "complete")
METER = "All the chargers' meters together: what they charged since they were made."
USE = (
    "How long cars were plugged in, all chargers together: charging, waiting, or finished and "
    "still there."
)
TODAY, THIS_MONTH, YEAR = "now/d", "now/M", "1y"


def prometheus() -> Board:
    """Return the dashboard for Prometheus."""
    used = promql.past(hours("[1d:1m] offset -1d", *PLUGGED), "{{state}}")
    return Board(
        uid="goe-energy", title="go-e Energy", source=promql.SOURCE,
        description="Kilowatt-hours by day and month, what they cost, hours of use, and the last "
        "sessions. Prometheus keeps 15 days unless --storage.tsdb.retention.time says more. What "
        "two exporters count of one charger is added up: give the second a job of its own, and "
        "choose one job above.",
        variables=[*promql.variables(), PRICE], time_from="now-30d/d", refresh="5m",
        rows=[Row("Energy", [
            _totals(),
            [days([promql.past(per_day(), "{{charger}}")], DAYS)],
            [_months(), hours_of_use([used], f"{USE} {DAY_LIMITS}")],
            [by_charger(12), _by_card()],
            [_sessions()],
        ])],
    )  # fmt: skip


def charged(counter: str, span: str, by: Step = FINE, ahead: str = "") -> str:
    """Return the PromQL for the energy (J) by which a counter rose in a span, by series.

    A meter that was reset, or that jumped ahead by more than the charger's power allows, has risen
    by the sum of its rises from step to step, each bounded by what the power allows in a step.
    That sum lacks what was charged in longer gaps of the readings, so it is only used then.
    `ahead` is a modifier of the windows.
    """
    steps, window = f"[{span}:{by.step}]{ahead}", f"[{span}{by.samples}]{ahead}"
    around = f"increase({counter}[{by.twice}{by.samples}])"
    before = f"last_over_time({counter}[{by.gap}:{by.step}] offset {by.step})"
    across_gap = f"max_over_time(({counter} - {before}){steps}) > {STEPS_OF_GAP * by.most_joules}"
    jumped = (
        f"resets({counter}{window}) > 0 or max_over_time({around}{steps}) > {2 * by.most_joules}"
        f" or {across_gap}"
    )
    bounded = f"sum_over_time(clamp({counter} - {before}, 0, {by.most_joules}){steps})"
    return f"(increase({counter}{window}) unless ({jumped}) or {bounded})"


def rise(span: str) -> str:
    """Return the PromQL for the energy (kWh) all selected chargers gave in a span."""
    return f"sum({charged(promql.series('energy'), span)}) / {promql.JOULES_PER_KWH}"


def per_day() -> str:
    """Return the PromQL for the energy (kWh) of the day that begins at a step, by charger."""
    day = charged(promql.series("energy"), "1d", ahead=" offset -1d")
    return f"sum by (charger) ({day}) / {promql.JOULES_PER_KWH}"


def per_month() -> str:
    """Return the PromQL for the energy (kWh) of the month that begins at a step, by charger.

    An hourly sample is fine enough for a month, to a part in 700, and spares Prometheus a second
    and more for each charger. Prometheus 3 leaves out what is at the beginning of a window, hence
    the second more, which makes the first hour count.
    """
    energy = promql.series("energy")
    months = [
        f"({charged(energy, f'{days}d1s', HOURLY, f' offset -{days}d')}"
        f" and on () (day_of_month({SAME_DATE}) == 1 and days_in_month({SAME_DATE}) == {days}))"
        for days in LENGTHS
    ]
    return f"sum by (charger) ({' or '.join(months)}) / {promql.JOULES_PER_KWH}"


def hours(window: str, *states: str) -> str:
    """Return the PromQL for the hours spent in states during a window of minutes."""
    spent = f"sum_over_time({promql.series('car_state', state=states)}{window})"
    return f"sum by (state) ({spent}) / 60"


def session_energy() -> str:
    """Return the PromQL for the energy (kWh) of a session, at the step at which it has ended.

    With API v2 it is the difference of the meter, because the session's counter restarts on a
    change of phases. It is the session's counter if the difference is negative or more than the
    charger's power allows, as after a reset of the meter, and with API v1, whose meter may count
    whole kWh.
    """
    energy = promql.once(promql.series("energy"))
    device = promql.once(promql.device(api=2))
    metered = f"({energy} - {_when_last_idle(f'{energy} and {_idle()}')})"
    fine = f"(({metered} >= 0) <= {MOST_WATTS} * {_plugged_in()} and {device})"
    of_session = promql.once(promql.series("session_energy"))
    counted = f"({of_session} and {_when_last_idle(_idle())})"
    ended = f"({fine} or {counted}) and {_ended()}"
    return f"sum by (charger) ({ended}) / {promql.JOULES_PER_KWH}"


def session_duration() -> str:
    """Return the PromQL for the seconds a car was plugged in, at the step at which it has gone."""
    return f"sum by (charger) ({_plugged_in()} and {_ended()})"


def _plugged_in() -> str:
    """Return the PromQL for the seconds since no car was plugged in."""
    return f"(time() - {_when_last_idle(f'timestamp({_idle()})')})"


def _idle() -> str:
    return f"({_no_car()} == 1)"


def _no_car() -> str:
    return promql.once(promql.series("car_state", state="idle"))


def _ended() -> str:
    """Return the PromQL that has a sample where no car is plugged in, but one was a step before."""
    before = f"last_over_time({_no_car()}[1h:$__interval] offset $__interval)"
    return f"({_idle()} and {before} == 0)"


def _when_last_idle(expression: str) -> str:
    return f"last_over_time(({expression})[{LONGEST_SESSION}:$__interval] offset $__interval)"


def energy_stat(title: str, description: str, target: Json, since: str = "") -> Panel:
    """Return a panel of one amount of energy (kWh); `since` is as in `Panel.time_from`."""
    return stat(
        title=title, description=description, targets=[target], unit=looks.KWH,
        width=4, height=4, time_from=since, thresholds=looks.COUNT,
        defaults={"noValue": "0 kWh"},
    )  # fmt: skip


def _totals() -> list[Panel]:
    last = promql.once(f"last_over_time({promql.series('energy')}[$__range])")
    ever = f"sum({last}) / {promql.JOULES_PER_KWH}"
    used = f"sum({hours('[$__range:1m]', 'charging')})"
    charged = promql.now(rise("$__range"))
    return [
        energy_stat("Today", "Charged since midnight.", charged, TODAY),
        energy_stat("This month", "Charged since the first.", charged, THIS_MONTH),
        energy_stat("In this time", "Charged in the time chosen above.", charged),
        cost_stat([promql.now(f"{rise('$__range')} * $price")]),
        hours_stat([promql.now(used)]),
        energy_stat("Meter", METER, promql.now(ever)),
    ]


def cost_stat(targets: list[Json]) -> Panel:
    """Return the panel of the money spent."""
    return stat(
        title="Cost in this time",
        description="Energy in the time chosen above times the price of a kWh. For another "
        "currency change this panel's unit.",
        targets=targets, unit=CURRENCY, width=4, height=4, thresholds=((None, looks.PURPLE),),
        defaults={"noValue": "0", "decimals": 2},
    )  # fmt: skip


def hours_stat(targets: list[Json]) -> Panel:
    """Return the panel of the hours spent charging."""
    return stat(
        title="Hours of charging",
        description="Time in which a car was charging, in the time chosen above.",
        targets=targets, unit=looks.HOURS, width=4, height=4, thresholds=looks.GOOD,
        defaults={"noValue": "0 h", "decimals": 1},
    )  # fmt: skip


def days(targets: list[Json], description: str) -> Panel:
    """Return the panel with a bar per day."""
    return time_series(
        title="Energy per day", description=description,
        targets=targets, unit=looks.KWH, width=24, height=9, custom=BARS, calcs=["sum"],
        interval="1d", points=2000,
        defaults={"min": 0, "noValue": "Nothing charged"},
    )  # fmt: skip


def _months() -> Panel:
    total = f"sum({per_month()})"
    titles = {"Time": "Month", "Value #A": "Energy", "Value #B": "Cost"}
    return table(
        title="Months",
        description="The last twelve months, all chargers together, the present one first and up "
        "to its last full hour, at the price of today. Prometheus must keep data that long. "
        f"{DAY_LIMITS}",
        targets=[
            promql.past(total, rows=True),
            promql.past(f"{total} * $price", rows=True),
        ],
        width=12, height=9, interval="1d", points=2000, time_from=YEAR,
        transformations=[
            transformation("merge"),
            columns(titles),
            sorted_by("Month", greatest_first=True),
        ],
        overrides=[*month_columns("Energy", "Cost"), override("Month", unit="time:YYYY-MM")],
        defaults={"noValue": "Nothing charged"},
    )  # fmt: skip


def month_columns(energy: str, cost: str) -> list[Json]:
    """Return the looks of the columns of a table of months: energy as bars, cost as money."""
    bar = {"mode": "basic", "type": "gauge", "valueDisplayMode": "text"}
    blue = {"fixedColor": looks.BLUE, "mode": "fixed"}
    return [
        override(energy, displayName="Energy", unit=looks.KWH, decimals=0, min=0, color=blue,
                 custom__cellOptions=bar),
        override(cost, displayName="Cost", unit=CURRENCY, decimals=2, custom__width=110),
    ]  # fmt: skip


def hours_of_use(targets: list[Json], description: str) -> Panel:
    """Return the panel of the hours per day in each of the states of `PLUGGED`."""
    words = {name: looks.CAR[name] for name in PLUGGED}
    names = [override(name, displayName=text) for name, (text, _color) in words.items()]
    return time_series(
        title="Hours of use per day", description=description, targets=targets,
        unit=looks.HOURS, width=12, height=9, custom=BARS, interval="1d", points=2000,
        overrides=[*colored({name: color for name, (_text, color) in words.items()}), *names],
        defaults={"min": 0, "noValue": "Not used"},
    )  # fmt: skip


def by_charger(width: int) -> Panel:
    """Return the panel of the energy each charger gave."""
    energy = f"sum by (charger) ({charged(promql.series('energy'), '$__range')})"
    return energy_bars(
        "By charger",
        "Charged in the time chosen above, all chargers, the one that gave most first.",
        promql.now(f"sort_desc({energy}) / {promql.JOULES_PER_KWH}", "{{charger}}"),
        "Nothing charged",
        width,
    )


def _by_card() -> Panel:
    energy = f"sum by (card) ({charged(promql.series('card_energy'), '$__range')})"
    used = f"sort_desc({energy} > 0) / {promql.JOULES_PER_KWH}"
    description = "Charged in the time chosen above with each RFID card of the chargers."
    return energy_bars(
        "By card", description, promql.now(used, "Card {{card}}"), "No card used", 12
    )


def energy_bars(title: str, description: str, target: Json, nothing: str, width: int) -> Panel:
    """Return the panel with a bar of energy (kWh) for each series; `nothing` if there is none."""
    return bar_gauge(
        title=title, description=description, targets=[target], unit=looks.KWH,
        width=width, height=8, thresholds=looks.COUNT,
        defaults={"min": 0, "noValue": nothing, "decimals": 1},
    )  # fmt: skip


def _sessions() -> Panel:
    energy = session_energy()
    titles = {
        "Time": "Ended",
        "charger": "Charger",
        "Value #A": "Energy",
        "Value #B": "Cost",
        "Value #C": "Plugged in for",
    }
    return table(
        title="Sessions",
        description="Sessions that ended in the time chosen above, the last one first, as far as "
        "Prometheus can tell: from no car to no car again, as exact as a step of this panel "
        "(a minute up to a week, 5 minutes for a month), and at most 14 days long. A car that "
        "follows within a step belongs to the session before.",
        targets=[
            promql.past(energy, rows=True),
            promql.past(f"{energy} * $price", rows=True),
            promql.past(session_duration(), rows=True),
        ],
        width=24, height=9, interval=SESSION_STEP, points=10_000,
        transformations=[
            transformation("merge"),
            columns(titles),
            sorted_by("Ended", greatest_first=True),
        ],
        overrides=[
            override("Ended", unit="dateTimeAsLocal"),
            override("Energy", unit=looks.KWH, decimals=2),
            override("Cost", unit=CURRENCY, decimals=2),
            override("Plugged in for", unit="dthms"),
        ],
        defaults={"noValue": "No session ended in this time"},
    )  # fmt: skip
