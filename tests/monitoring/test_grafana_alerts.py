"""The alerts for Grafana with InfluxDB alone: well formed, and their queries find the faults."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest
import yaml
from paths import ROOT
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from servers import InfluxDB

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.influx import line_protocol
from goe_exporter.polling.view import Poll

ALERTS = ROOT / "dashboards" / "alerts"
FILE = ALERTS / "grafana" / "goe-alerts-influxdb.yaml"


class Strict(BaseModel):
    """Part of a provisioning file; refuses what Grafana would silently ignore."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Range(Strict):
    """How far a query looks back, in seconds."""

    start: int = Field(alias="from", ge=60)
    to: Literal[0]


class Datasource(Strict):
    """The one datasource there is."""

    type: Literal["influxdb"]
    uid: Literal["goe-influxdb"]


class InfluxQL(Strict):
    """A query as the datasource takes it."""

    ref_id: Literal["A"]
    datasource: Datasource
    raw_query: Literal[True]
    result_format: Literal["time_series"]
    query: str


class Reduce(Strict):
    """Of each series the last value."""

    ref_id: Literal["B"]
    type: Literal["reduce"]
    expression: Literal["A"]
    reducer: Literal["last"]


class Evaluator(Strict):
    """A comparison."""

    type: Literal["gt", "lt", "outside_range"]
    params: list[float]

    def holds(self, value: float) -> bool:
        """Tell whether a value crosses the threshold."""
        if self.type == "outside_range":
            low, high = self.params
            return not low <= value <= high
        (limit,) = self.params
        return value > limit if self.type == "gt" else value < limit


class Condition(Strict):
    """What makes an alert."""

    evaluator: Evaluator


class Threshold(Strict):
    """The last value against a limit."""

    ref_id: Literal["C"]
    type: Literal["threshold"]
    expression: Literal["B"]
    conditions: tuple[Condition]


class Query(Strict):
    """What the datasource is asked."""

    ref_id: Literal["A"]
    relative_time_range: Range
    datasource_uid: Literal["goe-influxdb"]
    model: InfluxQL


class Expression(Strict):
    """What Grafana makes of the answer."""

    ref_id: Literal["B", "C"]
    datasource_uid: Literal["__expr__"]
    model: Reduce | Threshold = Field(discriminator="type")


class Rule(Strict):
    """An alert."""

    uid: str = Field(pattern=r"^goe-influxdb-[a-z0-9-]{1,27}$")
    title: str
    condition: Literal["C"]
    for_: str = Field(alias="for", pattern=r"^\d+[sm]$")
    no_data_state: Literal["OK", "Alerting"]
    exec_err_state: Literal["Error"]
    is_paused: Literal[False]
    labels: dict[str, str]
    annotations: dict[str, str]
    data: tuple[Query, Expression, Expression]


class Group(Strict):
    """Alerts that are looked at together."""

    org_id: Literal[1]
    name: Literal["go-e"]
    folder: Literal["go-e"]
    interval: Literal["1m"]
    rules: list[Rule]


class Provisioning(Strict):
    """The file."""

    api_version: Literal[1]
    groups: tuple[Group]


RULES = Provisioning(**yaml.safe_load(FILE.read_text("utf-8"))).groups[0].rules
BY_TITLE = {rule.title: rule for rule in RULES}
PROMETHEUS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((ALERTS / "goe-alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def test_rules_have_names_of_their_own() -> None:
    """Grafana knows a rule by its uid, people by its title."""
    assert len({rule.uid for rule in RULES}) == len(BY_TITLE) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.uid)
def test_same_as_with_prometheus(rule: Rule) -> None:
    """Severity, kind, summary and runbook are those of the Prometheus alert of the name."""
    twin = PROMETHEUS[rule.title.split()[0]]
    assert rule.labels | twin["labels"] == rule.labels
    assert rule.for_ == twin.get("for", "0s")
    for annotation in ("summary", "runbook_url"):
        assert rule.annotations[annotation] == twin["annotations"][annotation]
    assert "{{ $labels.charger }}" in rule.annotations["description"]
    assert ("switch off at the breaker" in rule.annotations["description"]) == (
        "switch off at the breaker" in twin["annotations"]["description"]
    )


def test_every_danger_is_covered() -> None:
    """No critical alert about a charger is missing."""
    critical = {n for n, rule in PROMETHEUS.items() if rule["labels"]["severity"] == "critical"}
    covered = {title.split()[0] for title in BY_TITLE}
    assert {name for name in critical if "Exporter" not in name} <= covered
    assert BY_TITLE["GoeChargerUnreachable"].no_data_state == "Alerting"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.uid)
def test_queries_use_what_the_exporter_writes(rule: Rule) -> None:
    """Every measurement, tag and field in a query exists; each charger is looked at by itself."""
    query = rule.data[0].model.query
    fields = {channel.field(part.label) for channel in CHANNELS for part in channel.parts}
    fields |= {f"{channel.name}_code" for channel in CHANNELS if channel.states}
    fields |= {channel.name for channel in CHANNELS if channel.states}
    assert set(re.findall(r'"(\w+)"', query)) <= fields | {"goe_charger", "charger", "up"}
    words = {word for channel in CHANNELS if channel.states for word in channel.states.names}
    named = set(re.findall(r"'(\w+)'", query))
    named |= {word for each in re.findall(r"/\^\(([\w|]+)\)\$/", query) for word in each.split("|")}
    assert named <= words
    assert "$timeFilter" in query
    assert re.search(r'GROUP BY (time\(5m\), )?"charger"', query)


# A real InfluxDB

WELL: Mapping[str, object] = {
    "nrg": [230, 231, 229, 1, 16, 16, 16, 3680, 3696, 3664, 0, 11040, 100, 100, 100, 0],
    "car": 2,
    "err": 0,
    "modelStatus": 15,
    "alw": True,
    "fwv": "60.5",
    "sse": "012345",
}
IDLE = {"nrg": [230, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "car": 1, "alw": False}
"""A charger on one phase, without a car."""

HIGH = {"nrg": [254, 206, 253, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "car": 1}
LOW = {"nrg": [207, 253, 206, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "car": 1}
BROKEN_NEUTRAL = {"nrg": [290, 180, 235, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "car": 1}
OVERVOLTAGE = {"nrg": [231, 265, 290, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "car": 1}
STALLED = {"nrg": [230, 231, 229, 1, 0.1, 0, 0, 20, 0, 0, 0, 20, 0, 0, 0, 0]}


def error(code: int, **more: object) -> dict[str, object]:
    return {"err": code, "car": 5, "alw": False, "modelStatus": 26, **IDLE, **more}


FAULTS = [
    ("GoeResidualCurrent", 2, error(1)),
    ("GoeResidualCurrent", 2, error(14)),
    ("GoeResidualCurrent", 2, error(23)),
    ("GoeResidualCurrent", 1, error(2)),
    ("GoeGroundFault", 2, error(8)),
    ("GoeGroundFault", 1, error(8)),
    ("GoeContactorStuck", 2, error(9)),
    ("GoeContactorStuck", 1, error(9)),
    ("GoePowerWhileNotAllowed", 2, {"alw": False}),
    ("GoeChargerError", 2, error(3)),
    ("GoeChargerError", 2, error(99)),
    ("GoeChargerError", 1, error(14)),
    ("GoeOverTemperature", 2, error(16)),
    ("GoeOverTemperature", 2, {"modelStatus": 1, "car": 3}),
    ("GoeOvervoltage L1", 2, BROKEN_NEUTRAL),
    ("GoeVoltageOutOfBand L1", 2, BROKEN_NEUTRAL),
    ("GoeVoltageOutOfBand L2", 2, BROKEN_NEUTRAL),
    ("GoeOvervoltage L2", 2, OVERVOLTAGE),
    ("GoeOvervoltage L3", 2, OVERVOLTAGE),
    ("GoeVoltageOutOfBand L2", 2, OVERVOLTAGE),
    ("GoeVoltageOutOfBand L3", 2, OVERVOLTAGE),
    ("GoeVoltageOutOfBand L1", 2, HIGH),
    ("GoeVoltageOutOfBand L2", 2, HIGH),
    ("GoeVoltageOutOfBand L3", 2, LOW),
    ("GoeChargingWithoutEnergy", 2, STALLED),
]
"""Title of the rule, API of the charger, and what its status says in a fault."""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
    processes: None,  # noqa: ARG001
) -> Iterator[InfluxDB]:
    """Yield a running InfluxDB."""
    with InfluxDB(tmp_path_factory.mktemp("influxdb")).up() as running:
        yield running


class History:
    """What a charger said in the last minutes, as points in an InfluxDB that has no others."""

    def __init__(self, server: InfluxDB) -> None:
        self._server = server
        self._now = time.time()
        server.query("DROP MEASUREMENT goe_charger")

    def said(
        self,
        status: Mapping[str, object] | None,
        minutes: float,
        until: float = 0,
        *,
        api: int = 2,
        charger: str = "garage",
    ) -> None:
        """Write a point every 15 s over some minutes, up to `until` minutes ago.

        `status` is in v2's words whichever API it comes through; None is a failed poll.
        """
        lines = []
        for step in range(int(minutes * 4)):
            stamp = self._now - 60 * until - 15 * step - 1
            snapshot = None
            if status is not None:
                snapshot = Snapshot(charger, api, stamp, 0.0, decode(status, api).readings)
            lines.append(line_protocol.line(Poll(charger, "012345", stamp, snapshot), {}))
        self._server.write("\n".join(lines))

    def fires(self, rule: Rule) -> bool | None:
        """Tell whether a rule's condition holds now, None if its query finds nothing."""
        seconds = rule.data[0].relative_time_range.start
        start, end = (round(1000 * moment) for moment in (self._now - seconds, self._now))
        between = f"time >= {start}ms AND time <= {end}ms"
        rows = self._server.query(rule.data[0].model.query.replace("$timeFilter", between))
        values = [value for row in rows for name, value in row.items() if name != "time"]
        if not values:
            return None
        threshold = rule.data[2].model
        assert isinstance(threshold, Threshold)
        return threshold.conditions[0].evaluator.holds(values[-1])


@pytest.fixture
def history(server: InfluxDB) -> History:
    """Return the history of a charger that has said nothing so far."""
    return History(server)


@pytest.mark.parametrize(("title", "api", "fault"), FAULTS)
def test_a_fault_is_found(history: History, title: str, api: int, fault: dict[str, object]) -> None:
    """A rule fires on its fault, and no other rule does but for the same reason."""
    history.said(WELL, minutes=10, until=10)
    history.said({**WELL, **fault}, minutes=10, api=api)
    firing = {rule.title for rule in RULES if history.fires(rule)}
    related = {each for each, _, status in FAULTS if status == fault}
    assert title in firing
    assert firing <= related


@pytest.mark.parametrize("status", [WELL, {**WELL, **IDLE}, {**WELL, "car": 4, **STALLED}])
def test_silent_when_all_is_well(history: History, status: dict[str, object]) -> None:
    """No rule fires on a charger that charges, is idle on one phase, or whose car is full."""
    history.said(status, minutes=12)
    assert [rule.title for rule in RULES if history.fires(rule)] == []


def test_silent_once_the_fault_has_gone(history: History) -> None:
    """What was wrong three minutes ago and is well now fires no more."""
    history.said({**WELL, **error(8)}, minutes=5, until=3)
    history.said(WELL, minutes=3)
    assert [rule.title for rule in RULES if history.fires(rule)] == []


@pytest.mark.parametrize("gone", ["polls fail", "no points"])
def test_a_charger_that_is_not_heard_of(history: History, gone: str) -> None:
    """Failed polls and no points at all fire alike, and only that rule."""
    history.said(WELL, minutes=30, until=15)
    if gone == "polls fail":
        history.said(None, minutes=15)
    assert [rule.title for rule in RULES if history.fires(rule)] == ["GoeChargerUnreachable"]


def test_a_charger_that_is_gone_for_more_than_a_day(history: History) -> None:
    """It is unreachable for as long as the exporter says so."""
    history.said(WELL, minutes=30, until=25 * 60)
    history.said(None, minutes=25 * 60)
    assert [rule.title for rule in RULES if history.fires(rule)] == ["GoeChargerUnreachable"]


def test_a_charger_that_has_never_answered(history: History) -> None:
    """It is unreachable too, though no reading of any charger was ever written."""
    history.said(None, minutes=15)
    assert [rule.title for rule in RULES if history.fires(rule)] == ["GoeChargerUnreachable"]


def test_a_charger_whose_readings_are_unreadable(history: History) -> None:
    """It answers, and is not called unreachable."""
    history.said({}, minutes=15)
    assert [rule.title for rule in RULES if history.fires(rule)] == []


@pytest.mark.parametrize(("dead", "last"), [("yard", True), ("attic", False)])
def test_a_dead_charger_beside_one_that_is_well(history: History, dead: str, last: bool) -> None:
    """Each charger is looked at by itself; the last one in the alphabet is what `fires` sees."""
    history.said(WELL, minutes=15)
    history.said(None, minutes=15, charger=dead)
    assert history.fires(BY_TITLE["GoeChargerUnreachable"]) == last


def test_no_charger_at_all(history: History) -> None:
    """Without any point no query finds anything, which Grafana calls no data."""
    assert {history.fires(rule) for rule in RULES} == {None}
