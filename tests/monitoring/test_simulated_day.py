"""A day of 15 chargers and two exporters: every injected fault is told, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from by_library import families
from paths import ROOT
from servers import binary

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.errors import REASONS
from goe_exporter.polling.view import ChargerView, PollStats

RULES = ROOT / "dashboards" / "alerts" / "goe-alerts.yaml"
STEP, EVALUATION = 60, 120
"""Seconds from one scrape to the next, and from one evaluation of the rules to the next."""
MINUTE = 60 // STEP
DAY = 24 * 60 * MINUTE
POLLS = STEP // 5

Status = Mapping[str, Any]
Samples = dict[str, float]


def at(clock: str) -> int:
    """Return the step at a time of the day, as in `14:30`."""
    hours, minutes = clock.split(":")
    return (60 * int(hours) + int(minutes)) * MINUTE


def status(
    volts: Sequence[float] = (231, 229, 230), amperes: Sequence[float] = (0, 0, 0), **more: object
) -> Status:
    """Return a status of API v2; without more it is that of an idle charger without a car."""
    watts = [volt * ampere for volt, ampere in zip(volts, amperes, strict=True)]
    nrg = [*volts, 1, *amperes, *watts, 0, sum(watts), *(99 if a else 0 for a in amperes), 0]
    idle = {"nrg": nrg, "car": 1, "err": 0, "alw": False, "modelStatus": 15, "cus": 1}
    limits = {"amp": 16, "ama": 32, "amt": 32, "cbl": None, "acu": None, "pha": None}
    rest = {"fwv": "60.5", "sse": "012345", "fhz": 50.0, "tma": [28, 30], "rssi": -61, "rbc": 4}
    return idle | limits | rest | more


def charging(*amperes: float, **more: object) -> Status:
    """Return the status of a charger whose car draws these currents."""
    plugged = {"car": 2, "alw": True, "acu": 16, "cbl": 32, "cus": 3}
    return status(amperes=amperes, **(plugged | {"pha": [*(a > 0 for a in amperes)] * 2} | more))


IDLE = status()
THREE = charging(15.6, 15.5, 15.7)
ONE = charging(15.6, 0, 0, psm=1)
PAUSED = status(car=4, cbl=32, cus=3)
"""No surplus, or the battery is full."""


class Span(NamedTuple):
    """What a charger does until a time of the day; `status` is None while it does not answer.

    `failed` is the share of the polls that fail beside those that succeed, for `reason`. At the
    begin of the span the charger has `restarted`, or its meter shows `meter_kwh`.
    """

    until: str
    status: Status | None
    failed: float = 0.0
    reason: str = "timeout"
    api: int = 2
    restarted: bool = False
    meter_kwh: float | None = None


class Run(NamedTuple):
    """Steps in which a charger's samples stay the same, or rise by the same with each step."""

    steps: int
    fixed: Samples
    rising: dict[str, tuple[float, float]]


@cache
def read() -> frozenset[str]:
    """Return the names of the metrics that the rules read."""
    return frozenset(re.findall(r"goe_\w+", RULES.read_text("utf-8")))


def samples(charger: str, span: Span) -> Samples:
    """Return what is scraped of a charger and does not change with time, by the series' text."""
    snapshot = None
    if span.status is not None:
        snapshot = Snapshot(charger, span.api, 0.0, 0.0, decode(span.status, span.api).readings)
    view = ChargerView(charger, "", PollStats(up=snapshot is not None), snapshot, 0.0)
    found = {}
    for family in families([view]):
        for sample in family.samples:
            if sample.name in read():
                labels = ",".join(f'{name}="{text}"' for name, text in sample.labels.items())
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def runs(charger: str, spans: Sequence[Span]) -> Iterator[Run]:
    """Yield a charger's day."""
    meter, uptime, polls, step = 1254.7 * 3.6e6, 86_400.0, 0.0, 0
    last: float | None = None
    failures = dict.fromkeys(REASONS, 0.0)
    for span in spans:
        steps = at(span.until) - step
        meter = meter if span.meter_kwh is None else span.meter_kwh * 3.6e6
        uptime = 0.0 if span.restarted else uptime
        fixed = samples(charger, span)
        failed = POLLS * (span.failed if span.status else 1.0)
        rising = {"goe_polls_total{%s}": (polls, float(POLLS))}
        for reason in REASONS:
            rate = failed if reason == span.reason else 0.0
            rising[f'goe_poll_failures_total{{%s,reason="{reason}"}}'] = (failures[reason], rate)
            failures[reason] += steps * rate
        if span.status is None and last is not None:
            rising["goe_last_success_timestamp_seconds{%s}"] = (last, 0.0)
        if span.status is not None:
            joules = span.status["nrg"][11] * STEP
            rising["goe_last_success_timestamp_seconds{%s}"] = (STEP * float(step), float(STEP))
            rising["goe_energy_joules_total{%s}"] = (meter, joules)
            rising["goe_uptime_seconds{%s}"] = (uptime, float(STEP))
            meter += steps * joules
            last = STEP * float(step + steps)
        polls += steps * POLLS
        uptime += steps * STEP
        step += steps
        named = {name.replace("%s", f'charger="{charger}"'): each for name, each in rising.items()}
        yield Run(steps, {name: fixed[name] for name in fixed.keys() - named}, named)


class Life(NamedTuple):
    """Steps in which an exporter answers, and the labels that its scrape adds then."""

    start: int
    end: int
    labels: str


def series(run: Sequence[Run], lives: Sequence[Life]) -> Iterator[tuple[str, str]]:
    """Yield what Prometheus has of runs through an exporter: series and values for promtool."""
    for life in lives:
        parts = list(_within(run, life))
        for name in dict.fromkeys(name for part in parts for name in (*part.fixed, *part.rising)):
            values = [f"_x{life.start}"] if life.start else []
            present = False
            for part in parts:
                if name in part.fixed:
                    values.append(f"{part.fixed[name]:.10g}x{part.steps - 1}")
                elif name in part.rising:
                    first, rate = part.rising[name]
                    values.append(f"{first:.12g}+{rate:.10g}x{part.steps - 1}")
                else:
                    values.append("stale" if present else "_")
                    values += [f"_x{part.steps - 1}"] if part.steps > 1 else []
                present = name in part.fixed or name in part.rising
            yield name.replace("}", f"{life.labels}}}"), " ".join([*values, "stale"])


def _within(run: Sequence[Run], life: Life) -> Iterator[Run]:
    """Yield the parts of runs in an exporter's life."""
    begin = 0
    for each in run:
        first, end = max(begin, life.start), min(begin + each.steps, life.end)
        if first < end:
            done = first - begin
            rising = {name: (at + done * rate, rate) for name, (at, rate) in each.rising.items()}
            yield Run(end - first, each.fixed, rising)
        begin += each.steps


# The day

FLAPPING = [
    Span(f"{hour:02}:{minute:02}", IDLE if minute % 3 else None)
    for hour in range(9, 13)
    for minute in range(60)
    if (hour, minute) > (9, 0)
]
"""Of WiFi: a minute of every three without an answer, from 9 to 13 o'clock."""

SURPLUS = [
    Span(f"{hour:02}:{minute:02}", state)
    for hour in range(10, 16)
    for minute, state in (
        *((12, THREE), (13, charging(0, 0, 0, modelStatus=23)), (30, ONE)),
        *((31, charging(0, 0, 0, modelStatus=23)), (45, THREE), (59, PAUSED)),
    )
]
"""Of a photovoltaic system: phases are switched, and charging pauses, three times an hour."""

HIGH = status(volts=(290, 180, 235))
GROUND_FAULT = status(err=8, car=5)
INTERNAL_2 = status(err=2, car=5)
STUCK = status(err=9, car=5)
HOT = status(err=16, car=5, tma=[82, 76])

CHARGERS: dict[str, list[Span]] = {
    "idle": [
        *(Span("18:00", IDLE), Span("18:10", status(volts=(231, 4, 230)))),
        Span("24:00", IDLE),
    ],
    "night": [
        *(Span("04:00", THREE), Span("04:30", charging(12, 12, 12))),
        *(Span("05:10", charging(5, 5, 5)), Span("07:00", PAUSED), Span("24:00", IDLE)),
    ],
    "surplus": [Span("10:00", IDLE), *SURPLUS, Span("24:00", IDLE)],
    "wifi": [Span("09:00", IDLE), *FLAPPING, Span("24:00", IDLE)],
    "fault": [
        *(Span("14:00", THREE), Span("14:10", GROUND_FAULT), Span("20:00", None)),
        Span("24:00", IDLE),
    ],
    "stuck": [Span("08:00", THREE), Span("08:05", STUCK), Span("24:00", IDLE)],
    "old": [
        *(Span("09:00", IDLE, api=1), Span("09:20", INTERNAL_2, api=1)),
        Span("24:00", IDLE, api=1),
    ],
    "forbidden": [
        *(Span("12:00", THREE), Span("12:10", charging(15.6, 0, 0, alw=False, car=4))),
        Span("24:00", IDLE),
    ],
    "neutral": [Span("16:00", THREE), Span("16:05", HIGH), Span("24:00", IDLE)],
    "hot": [Span("13:00", THREE), Span("13:10", HOT), Span("24:00", IDLE)],
    "update": [
        *(Span("03:00", THREE), Span("03:04", None)),
        Span("24:00", status(rbc=5, fwv="61.0"), restarted=True, meter_kwh=900.0),
    ],
    "evcc": [Span("24:00", THREE, failed=0.4, reason="busy")],
    "fuse": [Span("06:00", None), Span("22:00", IDLE), Span("24:00", None)],
    "removed": [Span("11:50", IDLE), Span("11:55", GROUND_FAULT), Span("12:00", None)],
    "mobile": [
        *(Span("17:00", IDLE), Span("17:10", None)),
        Span("24:00", status(volts=(230, 0, 0)), restarted=True),
    ],
}

PI = [
    Life(0, at("15:00"), ',job="goe",instance="pi:10332",pod="a"'),
    Life(at("15:02"), at("22:30"), ',job="goe",instance="pi:10332",pod="b"'),
    Life(at("22:45"), DAY, ',job="goe",instance="pi:10332",pod="c"'),
]
"""The exporter of all chargers restarts as another pod, and is down for a quarter of an hour."""
NAS = [Life(0, DAY, ',job="goe",instance="nas:10332"')]
WATCHED_TWICE = ("night", "surplus", "fault", "forbidden")

TOLD = {
    ("GoeExporterDown", "pi", "", "critical"),
    ("GoeGroundFault", "pi", "fault", "critical"),
    ("GoeGroundFault", "nas", "fault", "critical"),
    ("GoeGroundFault", "pi", "removed", "critical"),
    ("GoeContactorStuck", "pi", "stuck", "critical"),
    ("GoeResidualCurrent", "pi", "old", "critical"),
    ("GoePowerWhileNotAllowed", "pi", "forbidden", "critical"),
    ("GoePowerWhileNotAllowed", "nas", "forbidden", "critical"),
    ("GoeOvervoltage", "pi", "neutral", "critical"),
    ("GoeOverTemperature", "pi", "hot", "critical"),
    ("GoeTemperatureHigh", "pi", "hot", "warning"),
    ("GoeChargerUnreachable", "pi", "fault", "warning"),
    ("GoeChargerUnreachable", "nas", "fault", "warning"),
    ("GoeChargerUnreachable", "pi", "fuse", "warning"),
    ("GoeChargerDataStale", "pi", "fault", "warning"),
    ("GoeChargerDataStale", "nas", "fault", "warning"),
    ("GoeChargerDataStale", "pi", "fuse", "warning"),
    ("GoeChargerPollsFailing", "pi", "wifi", "warning"),
    ("GoeVoltageOutOfBand", "pi", "neutral", "warning"),
    ("GoePhaseLost", "pi", "idle", "warning"),
    ("GoeMeterReset", "pi", "update", "info"),
    ("GoeChargerRebooted", "pi", "update", "info"),
}
"""Alert, exporter, charger and severity of everything that fires during the day."""

FAULTS = {
    ("GoeGroundFault", "pi", "fault"): ("14:00", "20:00"),
    ("GoeGroundFault", "nas", "fault"): ("14:00", "20:00"),
    ("GoeContactorStuck", "pi", "stuck"): ("08:00", "08:05"),
    ("GoeResidualCurrent", "pi", "old"): ("09:00", "09:20"),
    ("GoePowerWhileNotAllowed", "pi", "forbidden"): ("12:02", "12:10"),
    ("GoePowerWhileNotAllowed", "nas", "forbidden"): ("12:02", "12:10"),
    ("GoeOvervoltage", "pi", "neutral"): ("16:02", "16:05"),
    ("GoeOverTemperature", "pi", "hot"): ("13:00", "13:10"),
}
"""From when until when a critical alert fires without a pause, but for the step it begins at."""


ENDED = {("removed", "13:01"), ("fault", "20:00"), ("stuck", "08:06"), ("neutral", "16:06")}
"""Chargers about which no critical alert fires any more, and when that is so."""


def scraped() -> Iterator[tuple[str, str]]:
    """Yield all that Prometheus has of the day: series and values for promtool."""
    for charger, spans in CHARGERS.items():
        day = list(runs(charger, spans))
        for lives in (PI, NAS) if charger in WATCHED_TWICE else (PI,):
            yield from series(day, lives)
    for lives in (PI, NAS):
        yield from series([Run(DAY, {'goe_exporter_build_info{version="1"}': 1.0}, {})], lives)
        for life, after in zip(lives, [*(other.start for other in lives[1:]), DAY], strict=True):
            up = [f"1x{life.end - life.start - 1}"]
            up += [f"0x{after - life.end - 1}", "stale"] if after > life.end else []
            name = f"up{{{life.labels.removeprefix(',')}}}"
            yield name, " ".join([f"_x{life.start}" if life.start else "", *up])


def queries() -> Iterator[dict[str, Any]]:
    """Yield what has to be found at the end of the day, as promtool's tests of expressions."""
    fired = 'count_over_time(ALERTS{alertstate="firing"}[1d])'
    by = "by (alertname, instance, charger, severity)"
    yield {
        "expr": f"sum {by} ({fired}) > bool 0",
        "eval_time": "24h",
        "exp_samples": [{"labels": labels(*each), "value": 1} for each in TOLD],
    }
    for (alert, exporter, charger), (begin, end) in FAULTS.items():
        evaluations = -(-STEP * (at(end) - at(begin)) // EVALUATION)
        yield {
            "expr": f"sum {by} (count_over_time({firing(alert, exporter, charger)}[1d]))",
            "eval_time": "24h",
            "exp_samples": [
                {"labels": labels(alert, exporter, charger, "critical"), "value": evaluations}
            ],
        }
    for charger, clock in ENDED:
        alerts = f'ALERTS{{charger="{charger}",severity="critical",alertstate="firing"}}'
        yield {"expr": alerts, "eval_time": f"{STEP * at(clock)}s", "exp_samples": []}


def labels(alert: str, exporter: str, charger: str, severity: str) -> str:
    """Return the labels of an alert of the day, without those of its own."""
    of = {"alertname": alert, "charger": charger, "instance": f"{exporter}:10332"}
    named = ",".join(f'{name}="{text}"' for name, text in of.items() if text)
    return f'{{{named},severity="{severity}"}}'


def firing(alert: str, exporter: str, charger: str) -> str:
    """Return the selector of an alert while it fires."""
    of = f'alertname="{alert}",instance="{exporter}:10332",charger="{charger}"'
    return f'ALERTS{{{of},alertstate="firing"}}'


@pytest.mark.system
def test_a_day_of_fifteen_chargers(tmp_path: Path) -> None:
    """Each fault is told while it lasts; flapping, pauses and restarts are no critical alert."""
    assert len(CHARGERS) == 15
    test = {
        "interval": f"{STEP}s",
        "input_series": [{"series": name, "values": values} for name, values in scraped()],
        "promql_expr_test": list(queries()),
    }
    path = tmp_path / "day.yaml"
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{EVALUATION}s",
        "tests": [test],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    command = [binary("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
