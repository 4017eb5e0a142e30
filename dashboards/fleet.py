"""The dashboard of all chargers: how many do what, and a row for each."""

from __future__ import annotations

from dashboards import looks, promql
from dashboards.charger import car_state
from dashboards.energy import TODAY, by_charger, energy_stat, rise
from dashboards.grafana import (
    STACKED,
    Board,
    Json,
    Panel,
    Row,
    Thresholds,
    colored,
    override,
    stat,
    table,
    time_series,
    transformation,
)

OF_CHARGER = "by (job, charger)"
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
        description="All go-eChargers at a glance; a click on a name shows that charger.",
        variables=promql.variables(), time_from="now-24h",
        rows=[Row("Fleet", [
            _counts(),
            [_chargers()],
            [_power(), _states()],
            [by_charger(12), _firmware()],
        ])],
    )  # fmt: skip


def _counts() -> list[Panel]:
    up, error = promql.polled("goe_up"), promql.series("error", but="none")
    charging = promql.series("car_state", state="charging")
    configured = f"count(count {OF_CHARGER} ({promql.polled('goe_polls_total')}))"
    power = promql.series("power")
    return [
        _count("Chargers", "Chargers the exporter is told to ask.", configured, looks.COUNT),
        _count(
            "Without an answer", "Chargers whose last poll failed.",
            f"count({up} == 0)", looks.ANY,
        ),
        _count("Charging", "Chargers that charge a car now.", f"sum({charging})", looks.GOOD),
        _count(
            "With an error", "Chargers that report an error.",
            f"count({error} == 1)", looks.ANY,
        ),
        stat(
            title="Power", description="Active power of all chargers together.",
            targets=[promql.now(f"sum({power})")], unit="watt", width=4, height=4,
            thresholds=((None, looks.GREY), (100, looks.GREEN)),
            defaults={"noValue": "0 W"},
        ),
        energy_stat("Today", "Charged since midnight.", promql.now(rise("$__range")), TODAY),
    ]  # fmt: skip


def _count(title: str, description: str, expression: str, thresholds: Thresholds) -> Panel:
    """Return a panel of a number of chargers; counting none gives 0."""
    return stat(
        title=title, description=description,
        targets=[promql.now(f"{expression} or vector(0)")], unit="none", width=4, height=4,
        thresholds=thresholds, defaults={"noValue": "0"},
    )  # fmt: skip


def _chargers() -> Panel:
    """Return the table; what a charger does not tell is an empty cell."""
    identity = promql.device("model", "firmware", "serial")
    of_device = f"max by (job, charger, model, firmware, serial) ({identity})"
    age = f"time() - {promql.polled('goe_last_success_timestamp_seconds')}"
    session = f"{promql.series('session_energy')} / {promql.JOULES_PER_KWH}"
    columns = {
        "charger": ("Charger", None),
        "Value #A": ("State", f"max {OF_CHARGER} ({car_state()})"),
        "Value #B": ("Power", f"max {OF_CHARGER} ({promql.series('power')})"),
        "Value #C": ("Session", f"max {OF_CHARGER} ({session})"),
        "error": ("Error", None),
        "Value #D": ("", f"max by (job, charger, error) ({promql.series('error')} == 1)"),
        "Value #E": ("Age", f"max {OF_CHARGER} ({age})"),
        "model": ("Model", None),
        "firmware": ("Firmware", None),
        "serial": ("Serial", None),
        "Value #F": ("", of_device),
        "job": ("", None),
    }
    return table(
        title="Chargers",
        description="A row for each charger; its name leads to its dashboard. What it does not "
        "tell is left empty.",
        targets=[promql.now(each, rows=True) for _name, each in columns.values() if each],
        width=24, height=8, overrides=_columns(),
        transformations=[transformation("merge"), _order(columns)],
        defaults={"noValue": ""},
    )  # fmt: skip


def _order(columns: dict[str, tuple[str, str | None]]) -> Json:
    """Return the transformation that sorts, renames and hides columns."""
    hidden = ["Time", *(name for name, (title, _each) in columns.items() if not title)]
    return transformation(
        "organize",
        excludeByName=dict.fromkeys(hidden, True),
        includeByName={},
        indexByName={name: index for index, name in enumerate(columns)},
        renameByName={name: title for name, (title, _each) in columns.items() if title},
    )


def _columns() -> list[Json]:
    background = {"mode": "basic", "type": "color-background"}
    colored_text = {"type": "color-text"}
    return [
        override("Charger", links=[CHARGER_LINK]),
        override(
            "State", unit="none", mappings=looks.CAR_STATE, custom__cellOptions=background,
            custom__align="center",
        ),
        override("Power", unit="watt"),
        override("Session", unit="kwatth", decimals=2),
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
    power = f"sum by (charger) ({promql.series('power')})"
    return time_series(
        title="Power", description="Active power, the chargers one upon another.",
        targets=[promql.past(power, "{{charger}}")], unit="watt", width=12, height=8,
        custom=STACKED, defaults={"min": 0, "noValue": "No data"},
    )  # fmt: skip


def _states() -> Panel:
    words = looks.CAR_WORDS | {NO_ANSWER: ("No answer", looks.RED)}
    names = [override(name, displayName=text) for name, (text, _color) in words.items()]
    per_state = f"sum by (state) ({promql.series('car_state')}) > 0"
    down = f"{promql.polled('goe_up')} == 0"
    silent = f"count(({down}) unless {promql.SAME_CHARGER} {promql.code('car_state')})"
    return time_series(
        title="Chargers by state", description="How many chargers were in which state.",
        targets=[promql.past(per_state, "{{state}}"), promql.past(silent, NO_ANSWER)],
        unit="none", width=12, height=8,
        custom=STACKED | {"lineInterpolation": "stepAfter"},
        overrides=[*colored({name: color for name, (_text, color) in words.items()}), *names],
        defaults={"min": 0, "decimals": 0, "noValue": "No data"},
    )  # fmt: skip


def _firmware() -> Panel:
    per_version = f"count by (model, firmware, api) ({promql.device('model', 'firmware')})"
    columns: dict[str, tuple[str, str | None]] = {
        "model": ("Model", None),
        "firmware": ("Firmware", None),
        "api": ("API", None),
        "Value": ("Chargers", per_version),
    }
    return table(
        title="Firmware", description="Chargers by model, firmware and the API they are asked by.",
        targets=[promql.now(per_version, rows=True)], width=12, height=8,
        transformations=[_order(columns)], overrides=[override("Chargers", unit="none")],
        defaults={"noValue": ""},
    )  # fmt: skip
