"""The dashboard of all chargers: how many are in which state, and a row for each."""

from __future__ import annotations

from dashboards import looks, promql
from dashboards.charger import car_state
from dashboards.energy import TODAY, by_charger, energy_stat, rise
from dashboards.grafana import Board, Json, Panel, Row, Thresholds, textbox
from dashboards.panels import (
    STACKED,
    colored,
    columns,
    override,
    sorted_by,
    stat,
    table,
    time_series,
    transformation,
)

GROUP = textbox(
    "group",
    "Group by label",
    "site",
    "A label of the chargers in the configuration of the exporter, for example site",
)
LIMIT = textbox("limit", "Limit per phase", "63", "In A, for example the rating of the common fuse")
NO_ANSWER = "no answer"
CHARGER_LINK = {
    "targetBlank": False,
    "title": "Show ${__value.text}",
    "url": "/d/goe-charger?${datasource:queryparam}&${job:queryparam}"
    "&var-charger=${__value.text:percentencode}&${__url_time_range}",
}


def board() -> Board:
    """Return the dashboard for Prometheus."""
    return Board(
        uid="goe-fleet", title="go-e Fleet", source=promql.SOURCE, refresh="30s",
        description="All go-eChargers. A click on a name opens the dashboard of that charger.",
        variables=[*promql.variables(), GROUP, LIMIT], time_from="now-24h",
        rows=[Row("Fleet", [
            _counts(),
            [_chargers()],
            [_power(), _power_by_group()],
            [_current(), _states()],
            [by_charger(24)],
            [_firmware()],
        ])],
    )  # fmt: skip


def _counts() -> list[Panel]:
    up, error = promql.once(promql.polled("goe_up")), promql.series("error", but="none")
    charging = promql.once(promql.series("car_state", state="charging"))
    configured = f"count({promql.once(promql.polled('goe_polls_total'))})"
    power = promql.once(promql.series("power"))
    return [
        _count("Chargers", "Chargers that the exporter polls.", configured, looks.COUNT),
        _count(
            "Not answering", "Chargers whose last poll failed for every exporter that polls them.",
            f"count({up} == 0)", looks.ANY,
        ),
        _count("Charging", "Chargers that are charging a car.", f"sum({charging})", looks.GOOD),
        _count(
            "With an error", "Chargers that report an error.",
            f"count({promql.once(f'{error} == 1')})", looks.ANY,
        ),
        stat(
            title="Power now", description="Total active power of all chargers.",
            targets=[promql.now(f"sum({power})")], unit="watt", width=4, height=4,
            thresholds=((None, looks.GREY), (100, looks.GREEN)),
            defaults={"noValue": "0 W"},
        ),
        energy_stat("Today", "Energy charged since midnight.", promql.now(rise("$__range")), TODAY),
    ]  # fmt: skip


def _count(title: str, description: str, expression: str, thresholds: Thresholds) -> Panel:
    """Return a panel with a number of chargers, 0 if the query finds none."""
    return stat(
        title=title, description=description,
        targets=[promql.now(f"{expression} or vector(0)")], unit="none", width=4, height=4,
        thresholds=thresholds, defaults={"noValue": "0"},
    )  # fmt: skip


def urgency() -> str:
    """Return the PromQL that is 2 for a charger with an error, 1 without an answer, else 0."""
    up, error = (
        promql.once(promql.polled("goe_up")),
        promql.once(promql.series("error", but="none")),
    )
    return f"2 * ({error} or 0 * {up}) + (1 - {up})"


def _chargers() -> Panel:
    """Return the table; a value that a charger does not report is an empty cell."""
    identity = promql.device("model", "firmware", "serial")
    age = f"time() - {promql.polled('goe_last_success_timestamp_seconds')}"
    session = f"{promql.series('session_energy')} / {promql.JOULES_PER_KWH}"
    expressions = (
        promql.once(car_state()),
        promql.once(promql.series("power")),
        promql.once(session),
        f"max by (job, charger, error) ({promql.series('error')} == 1)",
        promql.once(age),
        f"max by (job, charger, model, firmware, serial) ({identity})",
        urgency(),
        f"max by (job, charger, $group) ({promql.polled('goe_charger_info')})",
    )
    titles = {
        "charger": "Charger",
        "Value #A": "State",
        "Value #B": "Power",
        "Value #C": "Session",
        "error": "Error",
        "Value #E": "Age",
        "model": "Model",
        "firmware": "Firmware",
        "serial": "Serial",
    }
    return table(
        title="All chargers",
        description="A row for each charger: first those with an error, then those that do not "
        "answer. The name links to the charger's dashboard. Missing values are empty.",
        targets=[promql.now(expression, rows=True) for expression in expressions],
        width=24, height=12, overrides=_looks_of_columns(),
        transformations=[
            transformation("merge"),
            sorted_by("charger"),
            sorted_by("Value #G", greatest_first=True),
            columns(titles, hidden=("Time", "job", *(f"Value #{letter}" for letter in "DFGH"))),
        ],
        defaults={"noValue": ""},
    )  # fmt: skip


def _looks_of_columns() -> list[Json]:
    background = {"mode": "basic", "type": "color-background"}
    colored_text = {"type": "color-text"}
    return [
        override("Charger", links=[CHARGER_LINK]),
        override(
            "State", unit="none", mappings=looks.CAR_STATE, custom__cellOptions=background,
            custom__align="center",
        ),
        override("Power", unit="watt"),
        override("Session", unit=looks.KWH, decimals=2),
        override("Error", mappings=looks.ERROR, custom__cellOptions=colored_text),
        override(
            "Age", unit="s", decimals=0, custom__cellOptions=colored_text,
            thresholds={
                "mode": "absolute",
                "steps": [{"color": color, "value": value} for value, color in looks.AGE],
            },
        ),
    ]  # fmt: skip


def _power() -> Panel:
    power = f"sum by (charger) ({promql.once(promql.series('power'))})"
    return time_series(
        title="Power", description="Active power by charger, stacked.",
        targets=[promql.past(power, "{{charger}}")], unit="watt", width=12, height=8,
        custom=STACKED, defaults={"min": 0, "noValue": "No data"},
    )  # fmt: skip


def _power_by_group() -> Panel:
    power, labels = promql.series("power"), promql.polled("goe_charger_info")
    # Chargers without labels have no goe_charger_info if no charger of the exporter has labels.
    labelled = (
        f"{power} * on (job, instance, charger) group_left ($group) {labels}"
        f" or on (job, instance, charger) {power}"
    )
    groups = f"sum by ($group) (max by (job, charger, $group) ({labelled}))"
    named = f'label_replace({groups}, "$group", "no $group", "$group", "")'
    return time_series(
        title="Power by $group",
        description="Active power of the chargers with the same value of the label chosen above, "
        "stacked.",
        targets=[promql.past(named)], unit="watt", width=12, height=8,
        custom=STACKED, defaults={"min": 0, "noValue": "No data"},
    )  # fmt: skip


def _current() -> Panel:
    phases = f"max by (job, charger, phase) ({promql.series('phase_current', phase=looks.L123)})"
    dashed = {"dash": [10, 10], "fill": "dash"}
    return time_series(
        title="Current per phase",
        description="Total current of all chargers per phase, and the limit set above. L1 of every "
        "charger is assumed to be the same phase of the grid.",
        targets=[
            promql.past(f"sum by (phase) ({phases})", "{{phase}}"),
            promql.past("vector($limit)", "limit"),
        ],
        unit="amp", width=12, height=8,
        overrides=[
            *colored(looks.PHASES | {"limit": looks.RED}),
            override("limit", custom__lineStyle=dashed),
        ],
        defaults={"min": 0, "noValue": "No data"},
    )  # fmt: skip


def _states() -> Panel:
    texts = looks.CAR | {NO_ANSWER: looks.NO_ANSWER}
    names = [override(name, displayName=text) for name, (text, _color) in texts.items()]
    states = f"max by (job, charger, state) ({promql.series('car_state')})"
    per_state = f"sum by (state) ({states}) > 0"
    down = f"{promql.once(promql.polled('goe_up'))} == 0"
    silent = f"count(({down}) unless {promql.once(promql.code('car_state'))})"
    return time_series(
        title="Chargers by state", description="Number of chargers in each state.",
        targets=[promql.past(per_state, "{{state}}"), promql.past(silent, NO_ANSWER)],
        unit="none", width=12, height=8,
        custom=STACKED | {"lineInterpolation": "stepAfter"},
        overrides=[*colored({name: color for name, (_text, color) in texts.items()}), *names],
        defaults={"min": 0, "decimals": 0, "noValue": "No data"},
    )  # fmt: skip


def _firmware() -> Panel:
    identity = promql.device("model", "firmware")
    devices = f"max by (job, charger, model, firmware, api) ({identity})"
    per_version = f"count by (model, firmware, api) ({devices})"
    titles = {"model": "Model", "firmware": "Firmware", "api": "API", "Value": "Chargers"}
    return table(
        title="Firmware", description="Number of chargers by model, firmware and API version.",
        targets=[promql.now(per_version, rows=True)], width=24, height=7,
        transformations=[columns(titles, hidden=("Time",))],
        overrides=[override("Chargers", unit="none")], defaults={"noValue": ""},
    )  # fmt: skip
