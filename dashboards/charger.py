"""The dashboard of one charger, for Prometheus and for InfluxDB: present values, then graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dashboards import influxql, looks, promql, surplus
from dashboards.grafana import Board, Json, Panel, Row, single
from dashboards.panels import (
    STACKED,
    STEPS,
    TEXT,
    bar_gauge,
    colored,
    override,
    stat,
    state_timeline,
    time_series,
)

LIVE_VOLTS = 50
"""A lower voltage means that the phase is not connected, as two phases of a one-phase charger."""

LIMITS = {
    "allowed": "allowed_current",
    "setting": "max_current",
    "temporary setting": "max_current_temporary",
    "cable": "cable_current",
    "temperature": "temperature_current_limit",
    "load balancing": "load_balancing_current",
    "charger maximum": "absolute_max_current",
}
"""Limit of the current → its channel; graphs draw the first one on top."""

FRESH = "5m"
"""Maximum age of a present value in InfluxDB; in Prometheus old values end by themselves."""


class Queries(NamedTuple):
    """The queries of each panel; `fresh` is the `Panel.time_from` of panels with present values."""

    fresh: str
    state: list[Json]
    power: list[Json]
    session: list[Json]
    reason: list[Json]
    error: list[Json]
    limits: list[Json]
    temperatures: list[Json]
    phases: list[Json]
    signal: list[Json]
    phase_power: list[Json]
    phase_current: list[Json]
    phase_voltage: list[Json]
    past_limits: list[Json]
    past_states: list[Json]
    past_session: list[Json]
    past_temperatures: list[Json]
    past_frequency: list[Json]
    house: list[Json]
    past_house: list[Json]


def prometheus() -> Board:
    """Return the dashboard for Prometheus."""
    age = promql.now(f"time() - {promql.polled('goe_last_success_timestamp_seconds')}")
    age_panel = stat(
        title="Data age",
        description="Time since the charger last answered. After three refresh intervals without "
        "an answer its readings end and the panels are empty.",
        targets=[age], unit="s", width=3, height=6, thresholds=looks.AGE,
        defaults={"noValue": "never answered", "decimals": 0},
    )  # fmt: skip
    return Board(
        uid="goe-charger", title="go-e Charger", source=promql.SOURCE, refresh="10s",
        description="State, power, current and limits of a go-eCharger, now and over time.",
        variables=one_charger(promql.variables()),
        rows=[*_rows(_promql(), age_panel), surplus.row()],
        time_from="now-6h", overview=False,
    )  # fmt: skip


def influxdb() -> Board:
    """Return the dashboard for InfluxDB."""
    age_panel = stat(
        title="Last answer",
        description="Time of the charger's last answer. Present values are shown for five minutes "
        "after it; then the panels above are empty.",
        targets=[influxql.last({"power": influxql.field("power")})],
        unit="dateTimeFromNow", width=3, height=6, fields="Time", thresholds=looks.COUNT,
        defaults={"noValue": "none in this range"},
    )  # fmt: skip
    return Board(
        uid="goe-influx-charger", title="go-e Charger (InfluxDB)", source=influxql.SOURCE,
        description="State, power, current and limits of a go-eCharger, now and over time.",
        variables=one_charger(influxql.variables()), rows=_rows(_influxql(), age_panel),
        time_from="now-6h", refresh="10s", overview=False,
    )  # fmt: skip


def one_charger(variables: Sequence[Json]) -> list[Json]:
    """Return the variables with a single choice of `charger`, by default the first one."""
    return [single(each) if each["name"] == "charger" else each for each in variables]


def car_state() -> str:
    """Return the car's state as a number, `looks.UNREACHABLE` while the charger does not answer."""
    no_answer = f"({promql.polled('goe_up')} == 0) - {-looks.UNREACHABLE}"
    # Only one side has a metric name; without it, both are one series and one row of the timeline.
    return f"sum without () ({promql.code('car_state')} or {no_answer})"


def _promql() -> Queries:
    now, past, series = promql.now, promql.past, promql.series
    # A phase switch can set the counter slightly below zero.
    session = f"clamp_min({series('session_energy')}, 0) / {promql.JOULES_PER_KWH}"
    live = f"{series('phase_voltage')} > {LIVE_VOLTS}"
    return Queries(
        fresh="",
        state=[now(car_state())],
        power=[now(series("power"))],
        session=[now(session)],
        reason=[now(promql.code("charging_reason"))],
        error=[now(f"{series('error')} == 1", rows=True)],
        limits=[now(series(name), word) for word, name in LIMITS.items()],
        temperatures=[now(series("temperature"), "{{sensor}}")],
        phases=[now(series("phases"))],
        signal=[now(series("wifi_signal"))],
        phase_power=[past(series("phase_power", phase=looks.L123), "{{phase}}")],
        phase_current=[past(series("phase_current", phase=looks.L123), "{{phase}}")],
        phase_voltage=[past(live, "{{phase}}")],
        past_limits=[past(series(name), word) for word, name in reversed(LIMITS.items())],
        past_states=[
            past(car_state(), "Car"),
            past(promql.code("charging_reason"), "Reason"),
            past(f"{series('error', but='none')} == 1", "{{error}}"),
            past(promql.code("cable_lock"), "Cable"),
            past(series("phases"), "Phases"),
        ],
        past_session=[past(session, "session")],
        past_temperatures=[past(series("temperature"), "{{sensor}}")],
        past_frequency=[past(series("grid_frequency"), "grid")],
        house=[now(promql.house("power", *looks.HOUSE), "{{category}}")],
        past_house=[past(promql.house("power", *looks.HOUSE), "{{category}}")],
    )


def _influxql() -> Queries:
    last, past, field = influxql.last, influxql.past, influxql.field
    limits = {word: field(name) for word, name in LIMITS.items()}
    sensors = {part: field("temperature", part) for part in looks.SENSORS}
    session = field("session_energy")
    return Queries(
        fresh=FRESH,
        state=[last({"state": influxql.code("car_state")})],
        power=[last({"power": field("power")})],
        session=[influxql.target(
            f"SELECT last({session}) / 1000 {influxql.FROM} {influxql.SHOWN}"
        )],
        reason=[last({"reason": influxql.code("charging_reason")})],
        error=[last({"error": field("error")})],
        limits=[last({word: each}) for word, each in limits.items()],
        temperatures=[last({word: each}) for word, each in sensors.items()],
        phases=[last({"phases": field("phases")})],
        signal=[last({"signal": field("wifi_signal")})],
        phase_power=[past(influxql.columns("phase_power", looks.L123))],
        phase_current=[past(influxql.columns("phase_current", looks.L123))],
        phase_voltage=[_live_voltage(phase) for phase in looks.PHASES],
        past_limits=[past({word: each}, "last") for word, each in reversed(limits.items())],
        past_states=[
            past({"Charger": '"up"'}, "last", "none"),
            past({"Car": influxql.code("car_state")}, "last", "none"),
            past({"Reason": influxql.code("charging_reason")}, "last", "none"),
            past({"Error": field("error")}, "last", "none"),
            past({"Cable": influxql.code("cable_lock")}, "last", "none"),
            past({"Phases": field("phases")}, "last", "none"),
        ],
        past_session=[influxql.target(
            f'SELECT last({session}) / 1000 AS "session" {influxql.FROM} {influxql.SHOWN}'
            f" {influxql.BY_TIME} fill(null)"
        )],
        past_temperatures=[past({word: each}) for word, each in sensors.items()],
        past_frequency=[past({"grid": field("grid_frequency")})],
        house=influxql.house("power", "last", *looks.HOUSE, by_time=False),
        past_house=influxql.house("power", "mean", *looks.HOUSE),
    )  # fmt: skip


def _live_voltage(phase: str) -> Json:
    volts = influxql.field("phase_voltage", phase)
    where = f"{influxql.SHOWN} AND {volts} > {LIVE_VOLTS}"
    return influxql.target(
        f'SELECT mean({volts}) AS "{phase}" {influxql.FROM} {where} {influxql.BY_TIME} fill(null)'
    )


def _rows(queries: Queries, age: Panel) -> Sequence[Row]:
    lines = [_headline(queries), _bounds(queries, age), *_graphs(queries), *_rest(queries)]
    return [Row("$charger", lines), Row("House", [_house(queries)])]


def _house(queries: Queries) -> list[Panel]:
    signs = (
        "Grid is negative while the house feeds in, solar is positive while it produces. The home "
        "includes the car. Needs a go-e Controller, whichever charger is chosen above."
    )
    return [
        stat(
            title="House now", description=f"Power measured by the go-e Controller. {signs}",
            targets=queries.house, unit="watt", width=8, height=8, time_from=queries.fresh,
            thresholds=looks.COUNT, defaults={"noValue": "No Controller"},
        ),
        time_series(
            title="House", description=f"Power of the house over time. {signs}",
            targets=queries.past_house, unit="watt", width=16, height=8,
            overrides=colored(looks.HOUSE), interval=_least(queries.fresh),
            defaults={"noValue": "No Controller"},
        ),
    ]  # fmt: skip


def _headline(queries: Queries) -> list[Panel]:
    fresh = queries.fresh
    return [
        stat(
            title="State", description="State of the charger and the car.",
            targets=queries.state, unit="none", width=5, height=4, color="background",
            mappings=looks.CAR_STATE, thresholds=looks.NOTHING, time_from=fresh,
            defaults={"noValue": "No answer"},
        ),
        stat(
            title="Power now", description="Active power of all phases.",
            targets=queries.power, unit="watt", width=5, height=4, time_from=fresh,
            thresholds=((None, looks.GREY), (100, looks.GREEN)),
            defaults={"noValue": "No data"},
        ),
        stat(
            title="This session",
            description="Energy since the car was plugged in. It is kept until the next car is "
            "plugged in, and restarts when the charger changes the number of phases.",
            targets=queries.session, unit=looks.KWH, width=4, height=4, time_from=fresh,
            thresholds=looks.COUNT, defaults={"noValue": "No data", "decimals": 2},
        ),
        stat(
            title="Charging reason",
            description="Reason reported by the charger (modelStatus). Not available with API v1.",
            targets=queries.reason, unit="none", width=5, height=4, mappings=looks.REASON,
            time_from=fresh, defaults={"noValue": "Not reported"},
        ),
        stat(
            title="Error", description="Error reported by the charger.",
            targets=queries.error, unit=TEXT, width=5, height=4, color="background",
            fields="/^error$/", mappings=looks.ERROR, thresholds=looks.NOTHING, time_from=fresh,
            defaults={"noValue": "No answer"},
        ),
    ]  # fmt: skip


def _bounds(queries: Queries, age: Panel) -> list[Panel]:
    fresh = queries.fresh
    return [
        bar_gauge(
            title="Current limits",
            description="The settings, the current that the charger allows the car, and the limits "
            "of cable, temperature and load balancing. The lowest limit applies. A limit that is "
            "not shown does not apply.",
            targets=queries.limits, unit="amp", width=9, height=6, time_from=fresh,
            defaults={"min": 0, "max": 32, "noValue": "No data"},
            overrides=colored(looks.LIMITS),
        ),
        bar_gauge(
            title="Temperatures",
            description="Temperature inside the charger. The board sensor of hardware V1 and V2 "
            "is inaccurate; V2 has four others.",
            targets=queries.temperatures, unit="celsius", width=6, height=6, time_from=fresh,
            thresholds=looks.TEMPERATURE, overrides=looks.SENSOR_NAMES,
            defaults={"min": 0, "max": 90, "noValue": "No sensor"},
        ),
        stat(
            title="Phases", description="Number of phases in use, or last used.",
            targets=queries.phases, unit="none", width=3, height=6, time_from=fresh,
            mappings=looks.PHASE_COUNT, defaults={"noValue": "No data"},
        ),
        stat(
            title="Wi-Fi", description="Wi-Fi signal strength. Not available with API v1.",
            targets=queries.signal, unit="dBm", width=3, height=6, time_from=fresh,
            thresholds=looks.SIGNAL, defaults={"noValue": "Not reported"},
        ),
        age,
    ]  # fmt: skip


def _graphs(queries: Queries) -> list[list[Panel]]:
    step = _least(queries.fresh)
    area = {"axisSoftMax": 255, "axisSoftMin": 205, "thresholdsStyle": {"mode": "area"}}
    return [
        [
            time_series(
                title="Power", description="Active power per phase, stacked.",
                targets=queries.phase_power, unit="watt", width=12, height=8, custom=STACKED,
                overrides=colored(looks.PHASES), defaults={"min": 0, "noValue": "No data"},
                interval=step,
            ),
            time_series(
                title="Current",
                description="Current per phase. Some chargers report up to 0.08 A without a load.",
                targets=queries.phase_current, unit="amp", width=12, height=8,
                overrides=colored(looks.PHASES), defaults={"min": 0, "noValue": "No data"},
                interval=step,
            ),
        ],
        [
            time_series(
                title="Voltage",
                description="Voltage per phase; red is outside 230 V ±10 % (207 to 253 V, "
                "EN 50160). Phases that are not connected are hidden. N is shown only if it "
                "carries a voltage, which means that L and N are swapped.",
                targets=queries.phase_voltage, unit="volt", width=12, height=8, custom=area,
                thresholds=looks.VOLTAGE, overrides=colored(looks.PHASES), interval=step,
                defaults={"noValue": "No data"},
            ),
            time_series(
                title="Current limits over time",
                description="The limits above over time.",
                targets=queries.past_limits, unit="amp", width=12, height=8, custom=STEPS,
                overrides=colored(looks.LIMITS), defaults={"min": 0, "noValue": "No data"},
                interval=step,
            ),
        ],
        [
            state_timeline(
                title="State history",
                description="State of the car, charging reason, errors, cable lock and phases. "
                "Gaps are times without data.",
                targets=queries.past_states, unit="none", width=24, height=8,
                overrides=_timeline_overrides(), defaults={"noValue": "No data"}, interval=step,
            )
        ],
    ]  # fmt: skip


def _rest(queries: Queries) -> list[list[Panel]]:
    step = _least(queries.fresh)
    hertz = {"axisSoftMax": 50.25, "axisSoftMin": 49.75, "thresholdsStyle": {"mode": "area"}}
    session = {"fillOpacity": 20}
    return [
        [
            time_series(
                title="Session energy",
                description="Energy since the car was plugged in. It restarts with each session, "
                "and when the charger changes the number of phases.",
                targets=queries.past_session, unit=looks.KWH, width=8, height=7, custom=session,
                overrides=colored({"session": looks.BLUE}), interval=step,
                defaults={"min": 0, "noValue": "No data"},
            ),
            time_series(
                title="Temperature", description="Temperatures inside the charger by sensor.",
                targets=queries.past_temperatures, unit="celsius", width=8, height=7,
                overrides=[*colored(looks.SENSORS), *looks.SENSOR_NAMES], interval=step,
                defaults={"noValue": "No sensor"},
            ),
            time_series(
                title="Grid frequency",
                description="Grid frequency measured by the charger; red is more than 0.2 Hz away "
                "from 50 Hz. Not available with API v1.",
                targets=queries.past_frequency, unit="hertz", width=8, height=7, custom=hertz,
                thresholds=looks.FREQUENCY, overrides=colored({"grid": looks.BLUE}),
                defaults={"noValue": "Not reported", "decimals": 2}, interval=step,
            ),
        ]
    ]  # fmt: skip


def _timeline_overrides() -> list[Json]:
    errors = [
        override(name, displayName="Error", mappings=[looks.present(text)])
        for name, (text, _color) in looks.FAULTS.items()
    ]
    return [
        override("Charger", mappings=looks.ANSWERS),
        override("Car", mappings=looks.CAR_STATE),
        override("Reason", mappings=looks.REASON),
        override("Error", mappings=looks.ERROR),
        override("Cable", mappings=looks.CABLE_LOCK),
        override("Phases", mappings=looks.PHASE_COUNT),
        *errors,
    ]


def _least(fresh: str) -> str:
    """Return the minimum step; most shorter ones have no point in InfluxDB."""
    return "10s" if fresh else ""
