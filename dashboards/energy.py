"""The energy dashboard for Prometheus, and the panels that it shares with the one for InfluxDB.

PromQL has no calendar. The bar of a day is the increase of the counter in the 24 hours after a
step; Grafana aligns the steps of a panel with the interval `1d` to midnight in the viewer's time
zone. For a month it is, on the first, the increase in as many days as the month has. Both use a
negative offset (`offset -1d`), so that a bar is drawn where its day or month begins.
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

PRICE = textbox("price", "Price per kWh", "0.30", "In €, for example 0.30")
CURRENCY = "currencyEUR"
DAY_LIMITS = (
    "Days begin at midnight in your time zone. Days before a change to or from daylight saving "
    "time are shifted by an hour."
)
JUMPS = (
    "If the meter is reset or jumps, only energy that the charger can deliver is counted: at most "
    "3.75 kWh in 5 minutes."
)
DAYS = f"By charger. {DAY_LIMITS} {JUMPS}"
LENGTHS = (31, 30, 29, 28)
SAME_DATE = "vector(time() + 13 * 3600)"
"""Thirteen hours after a local midnight the date in UTC is the local date.

This holds from Hawaii to New Zealand in summer, ten hours behind UTC to thirteen ahead.
"""

LONGEST_SESSION = "14d"
SESSION_STEP = "1m"
MAX_WATTS = 45_000
"""More than a charger delivers, and than a meter in whole kWh can show within five minutes."""


class Step(NamedTuple):
    """The distance at which a counter that jumped is read, and the longest gap that is bridged.

    `samples` is the resolution at which other counters are read; empty for every sample.
    """

    step: str
    twice: str
    gap: str
    most_joules: int
    samples: str = ""


FINE = Step("5m", "10m", "1h", MAX_WATTS * 300)
HOURLY = Step("1h", "2h", "12h", MAX_WATTS * 3600, ":1h")
STEPS_OF_GAP = 12
"""How many steps the longest gap is."""

PLUGGED = ("charging", "waiting_for_car", "complete")
METER = "Sum of the chargers' energy meters since they were manufactured."
USE = "Time in which cars were plugged in, all chargers together: charging, waiting, or finished."
TODAY, THIS_MONTH, YEAR = "now/d", "now/M", "1y"


def prometheus() -> Board:
    """Return the dashboard for Prometheus."""
    used = promql.past(hours("[1d:1m] offset -1d", *PLUGGED), "{{state}}")
    return Board(
        uid="goe-energy", title="go-e Energy", source=promql.SOURCE,
        description="Energy per day and month, its cost, hours of use, and the last sessions. "
        "Prometheus keeps 15 days of data unless --storage.tsdb.retention.time is longer. The "
        "energy of a charger that two exporters poll is counted twice: give the second exporter "
        "its own job, and select one job above.",
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
    """Return the PromQL for the increase (J) of a counter in a span, by series.

    If the meter was reset, or jumped by more than the charger can deliver, the result is the sum of
    its increases from step to step, each limited to what the charger can deliver in a step. That
    sum lacks the energy of longer gaps in the readings, so it is used only in this case. `ahead` is
    a modifier of the windows.
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
    """Return the PromQL for the energy (kWh) that all selected chargers delivered in a span."""
    return f"sum({charged(promql.series('energy'), span)}) / {promql.JOULES_PER_KWH}"


def per_day() -> str:
    """Return the PromQL for the energy (kWh) of the day that begins at a step, by charger."""
    day = charged(promql.series("energy"), "1d", ahead=" offset -1d")
    return f"sum by (charger) ({day}) / {promql.JOULES_PER_KWH}"


def per_month() -> str:
    """Return the PromQL for the energy (kWh) of the month that begins at a step, by charger.

    Hourly samples are precise enough for a month (one part in 700), and save Prometheus more than a
    second per charger. Prometheus 3 excludes a sample at the beginning of a window; the additional
    second includes the first hour.
    """
    energy = promql.series("energy")
    months = [
        f"({charged(energy, f'{days}d1s', HOURLY, f' offset -{days}d')}"
        f" and on () (day_of_month({SAME_DATE}) == 1 and days_in_month({SAME_DATE}) == {days}))"
        for days in LENGTHS
    ]
    return f"sum by (charger) ({' or '.join(months)}) / {promql.JOULES_PER_KWH}"


def hours(window: str, *states: str) -> str:
    """Return the PromQL for the hours in states during a window of minutes."""
    spent = f"sum_over_time({promql.series('car_state', state=states)}{window})"
    return f"sum by (state) ({spent}) / 60"


class OfSession(NamedTuple):
    """PromQL of what a session has, at the step after its end: energy (kWh), seconds, end (ms)."""

    energy: str
    plugged_in: str
    charging: str
    ended: str


def of_session() -> OfSession:
    """Return the PromQL of recorded sessions, and of derived ones of the chargers without.

    A charger has recorded sessions while the exporter exports the energy that is in none of them.
    """

    def last(suffix: str) -> str:
        return promql.once(promql.polled(f"goe_last_session_{suffix}"))

    recorded = promql.once(promql.polled("goe_unassigned_energy_joules_total"))
    end = last("end_timestamp_seconds")
    # The session that is there when the recording is seen for the first time may be an old one.
    closed = f"(({end} unless {end} == {_before(end)}) and {_before(recorded)})"

    def either(of_recorded: str, derived: str) -> str:
        return f"sum by (charger) ({of_recorded} and {closed} or (({derived}) unless {recorded}))"

    seconds = f"{_plugged_in()} and {_ended()}"
    joules = either(last("energy_joules"), session_energy())
    return OfSession(
        f"{joules} / {promql.JOULES_PER_KWH}",
        either(last("duration_seconds"), seconds),
        f"sum by (charger) ({last('charging_seconds')} and {closed})",
        f"{either(end, f'timestamp({_ended()})')} * 1000",
    )


def _before(expression: str) -> str:
    """Return the PromQL for the last value before a step, however long ago within two weeks."""
    return f"last_over_time({expression}[{LONGEST_SESSION}:$__interval] offset $__interval)"


def session_energy() -> str:
    """Return the PromQL for the energy (J) of a session without records, at the step after its end.

    With API v2 it is the difference of the meter, because the session counter restarts on a phase
    switch. The session counter is used if the difference is negative or more than the charger can
    deliver, as after a reset of the meter, and with API v1, whose meter may count whole kWh.
    """
    energy = promql.once(promql.series("energy"))
    device = promql.once(promql.device(api=2))
    metered = f"({energy} - {_when_last_idle(f'{energy} and {_idle()}')})"
    fine = f"(({metered} >= 0) <= {MAX_WATTS} * {_plugged_in()} and {device})"
    of_session = promql.once(promql.series("session_energy"))
    counted = f"({of_session} and {_when_last_idle(_idle())})"
    return f"({fine} or {counted}) and {_ended()}"


def _plugged_in() -> str:
    """Return the PromQL for the seconds since no car was plugged in."""
    return f"(time() - {_when_last_idle(f'timestamp({_idle()})')})"


def _idle() -> str:
    return f"({_no_car()} == 1)"


def _no_car() -> str:
    return promql.once(promql.series("car_state", state="idle"))


def _ended() -> str:
    """Return the PromQL with a sample where no car is plugged in, but one was a step before."""
    before = f"last_over_time({_no_car()}[1h:$__interval] offset $__interval)"
    return f"({_idle()} and {before} == 0)"


def _when_last_idle(expression: str) -> str:
    return _before(f"({expression})")


def energy_stat(title: str, description: str, target: Json, since: str = "") -> Panel:
    """Return a panel with an amount of energy (kWh); `since` is `Panel.time_from`."""
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
        energy_stat("Today", "Energy charged since midnight.", charged, TODAY),
        energy_stat(
            "This month", "Energy charged since the first of the month.", charged, THIS_MONTH
        ),
        energy_stat("Selected time range", "Energy charged in the selected time range.", charged),
        cost_stat([promql.now(f"{rise('$__range')} * $price")]),
        hours_stat([promql.now(used)]),
        energy_stat("Meter", METER, promql.now(ever)),
    ]


def cost_stat(targets: list[Json]) -> Panel:
    """Return the panel of the cost."""
    return stat(
        title="Cost",
        description="Energy charged in the selected time range, multiplied by the price per kWh. "
        "For another currency, change the unit of this panel.",
        targets=targets, unit=CURRENCY, width=4, height=4, thresholds=((None, looks.PURPLE),),
        defaults={"noValue": "0", "decimals": 2},
    )  # fmt: skip


def hours_stat(targets: list[Json]) -> Panel:
    """Return the panel of the hours spent charging."""
    return stat(
        title="Charging time",
        description="Time in which a car was charging, in the selected time range.",
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
        description="The last twelve months, all chargers together, latest first, at the price "
        "above. The current month ends at the last full hour. Prometheus must keep data that long. "
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
    """Return the overrides of a table of months: energy as bars, cost as money."""
    bar = {"mode": "basic", "type": "gauge", "valueDisplayMode": "text"}
    blue = {"fixedColor": looks.BLUE, "mode": "fixed"}
    return [
        override(energy, displayName="Energy", unit=looks.KWH, decimals=0, min=0, color=blue,
                 custom__cellOptions=bar),
        override(cost, displayName="Cost", unit=CURRENCY, decimals=2, custom__width=110),
    ]  # fmt: skip


def hours_of_use(targets: list[Json], description: str) -> Panel:
    """Return the panel of the hours per day in each of the states of `PLUGGED`."""
    texts = {name: looks.CAR[name] for name in PLUGGED}
    names = [override(name, displayName=text) for name, (text, _color) in texts.items()]
    return time_series(
        title="Hours of use per day", description=description, targets=targets,
        unit=looks.HOURS, width=12, height=9, custom=BARS, interval="1d", points=2000,
        overrides=[*colored({name: color for name, (_text, color) in texts.items()}), *names],
        defaults={"min": 0, "noValue": "Not used"},
    )  # fmt: skip


def by_charger(width: int) -> Panel:
    """Return the panel of the energy by charger."""
    energy = f"sum by (charger) ({charged(promql.series('energy'), '$__range')})"
    return energy_bars(
        "By charger",
        "Energy charged in the selected time range by charger, largest first.",
        promql.now(f"sort_desc({energy}) / {promql.JOULES_PER_KWH}", "{{charger}}"),
        "Nothing charged",
        width,
    )


def _by_card() -> Panel:
    energy = f"sum by (card) ({charged(promql.series('card_energy'), '$__range')})"
    used = f"sort_desc({energy} > 0) / {promql.JOULES_PER_KWH}"
    description = "Energy charged in the selected time range by RFID card, largest first."
    return energy_bars(
        "By card", description, promql.now(used, "Card {{card}}"), "No card used", 12
    )


def energy_bars(title: str, description: str, target: Json, nothing: str, width: int) -> Panel:
    """Return a panel with a bar of energy (kWh) per series; `nothing` is shown if there is none."""
    return bar_gauge(
        title=title, description=description, targets=[target], unit=looks.KWH,
        width=width, height=8, thresholds=looks.COUNT,
        defaults={"min": 0, "noValue": nothing, "decimals": 1},
    )  # fmt: skip


def _sessions() -> Panel:
    session = of_session()
    titles = {
        "Value #D": "Ended",
        "charger": "Charger",
        "Value #A": "Energy",
        "Value #B": "Cost",
        "Value #C": "Plugged in for",
        "Value #E": "Charging for",
    }
    return table(
        title="Sessions",
        description="Sessions that ended in the selected time range, latest first: those that the "
        "exporter recorded, if its configuration has a section `sessions`, otherwise derived from "
        "the state of the car, from no car to no car. A step of this panel is 1 minute for up to a "
        "week, and 5 minutes for a month. Derived sessions are precise to a step, and last up to "
        "14 days. Of the recorded sessions of a charger that end within one step, the last is "
        "shown, and derived ones count as one.",
        targets=[
            promql.past(session.energy, rows=True),
            promql.past(f"{session.energy} * $price", rows=True),
            promql.past(session.plugged_in, rows=True),
            promql.past(session.ended, rows=True),
            promql.past(session.charging, rows=True),
        ],
        width=24, height=9, interval=SESSION_STEP, points=10_000,
        transformations=[
            transformation("merge"),
            columns(titles, hidden=["Time"]),
            sorted_by("Ended", greatest_first=True),
        ],
        overrides=[
            override("Ended", unit="dateTimeAsLocal", custom__align="left"),
            override("Charging for", unit="dthms", noValue="–"),
            override("Energy", unit=looks.KWH, decimals=2),
            override("Cost", unit=CURRENCY, decimals=2),
            override("Plugged in for", unit="dthms"),
        ],
        defaults={"noValue": "No session ended in this range"},
    )  # fmt: skip
