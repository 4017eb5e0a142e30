"""The alert and recording rules: sound, tested one by one, and about what the exporter emits."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from paths import ROOT
from prometheus_client.parser import text_string_to_metric_families
from servers import binary

from dashboards.promql import SURPLUS
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service import session_metrics
from goe_exporter.service.self_metrics import Parts, Reload, providers
from goe_exporter.sessions.tally import Tally

ALERTS = ROOT / "dashboards" / "alerts"
RUNBOOK_URL = "https://github.com/goe-exporter/goe-exporter/blob/main/docs/runbook.md"
WITHOUT_INSTANCE = {"GoeExporterAbsent"}
"""What is missing altogether has no labels."""

OWN_LABELS = {"phase", "error", "sensor", "state", "key", "result"}
"""Labels of an alert beside those of the exporter and the charger."""

Document = dict[str, Any]


@cache
def load(path: Path) -> Document:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


GROUPS: list[Document] = load(ALERTS / "goe-alerts.yaml")["groups"]
RECORDING: list[Document] = load(ALERTS / "goe-recording.yaml")["groups"]
RULES: dict[str, Document] = {
    rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule
}
HELD: list[Document] = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
"""The recording rules that the alerts read."""
EXPRESSIONS: dict[str, str] = {
    rule.get("alert") or rule["record"]: rule["expr"]
    for group in [*GROUPS, *RECORDING]
    for rule in group["rules"]
}
TESTS = sorted((ALERTS / "tests").glob("*.yaml"))
INTERVALS: dict[str, str] = {group["name"]: group.get("interval", "1m") for group in GROUPS}
"""Prometheus evaluates a group every minute unless the group or the configuration says more."""


def promtool(*arguments: str) -> None:
    """Run promtool, which must be content."""
    command = [binary("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run(tests: list[Document], folder: Path, interval: str = "1m") -> None:
    """Run tests of the alerts, which must pass, with an evaluation at every interval."""
    document = {
        "rule_files": [str(ALERTS / "goe-alerts.yaml")],
        "evaluation_interval": interval,
        "tests": tests,
    }
    path = folder / "test.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    promtool("test", "rules", str(path))


# promtool


@pytest.mark.system
@pytest.mark.parametrize("name", ["goe-alerts.yaml", "goe-recording.yaml"])
def test_promtool_finds_nothing(name: str) -> None:
    """The rules are sound by every lint check there is."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS / name))


@pytest.mark.system
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path) -> None:
    """On made-up series every alert fires, and is silent, when it should."""
    promtool("test", "rules", str(path))


def doubled(tests: Document) -> Document:
    """Return tests in which a second exporter sees the same and gives the same alerts."""

    def second(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("pi:10332", "nas:10332"))

    tests = copy.deepcopy(tests)
    for test in tests["tests"]:
        test["input_series"] += [
            other for one in test["input_series"] if (other := second(one)) != one
        ]
        for check in test["alert_rule_test"]:
            alerts = check.get("exp_alerts", [])
            check["exp_alerts"] = alerts + [
                other for one in alerts if (other := second(one)) != one
            ]
    return tests


@pytest.mark.system
def test_two_exporters_of_the_same_chargers(tmp_path: Path) -> None:
    """Two exporters that watch the same chargers alert each for itself: no join mixes them."""
    paths = []
    for path in TESTS:
        if path.stem != "recording":
            tests = doubled(load(path)) | {"rule_files": [str(ALERTS / "goe-alerts.yaml")]}
            paths.append(tmp_path / path.name)
            paths[-1].write_text(json.dumps(tests), encoding="utf-8")
    promtool("test", "rules", *map(str, paths))


def expanded(values: str) -> list[str]:
    """Return the values of a made-up series one by one: `1+2x3 _x2 stale` are 1 3 5 7 _ _ stale."""
    found: list[str] = []
    for word in values.split():
        start, _, times = word.partition("x")
        if not times:
            found.append(word)
        elif start == "_":
            found += ["_"] * int(times)
        else:
            match = re.fullmatch(r"(-?[\d.]+)([+-][\d.]+)?", start)
            assert match is not None, word
            first, step = float(match[1]), float(match[2] or 0)
            found += [f"{first + n * step:.15g}" for n in range(int(times) + 1)]
    return found


def relabelled(test: Document, alert: str, at: int) -> Document:
    """Return a test in which every series is another one, by its label `pod`, from a sample on.

    It expects the alerts of the original by their labels; values such as a mean may differ a bit.
    """
    series = []
    for one in test["input_series"]:
        values = expanded(one["values"])
        generations = {"a": [*values[:at], "stale"], "b": [*["_"] * at, *values[at:]]}
        for pod, words in generations.items():
            name = one["series"].replace("}", f',pod="{pod}"}}')
            series.append({"series": name, "values": " ".join(words)})
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    queries = [
        {
            "expr": firing,
            "eval_time": f"{moment}s",
            "exp_samples": [
                {"labels": named(alert, each["exp_labels"]), "value": 1} for each in fired
            ],
        }
        for moment, fired in checks(test).items()
    ]
    head = {"name": test["name"], "interval": test["interval"]}
    return head | {"input_series": series, "promql_expr_test": queries}


def named(alert: str, labels: dict[str, str]) -> str:
    """Return the series of a firing alert, as promtool writes it."""
    labels = labels | {"alertname": alert, "alertstate": "firing"}
    matchers = (f'{name}="{text}"' for name, text in labels.items())
    return f"ALERTS{{{','.join(matchers)}}}"


def test_the_reader_of_values_sees_each() -> None:
    """A made-up series is read as promtool reads it."""
    assert expanded("1+2x3 _x2 stale 4x1 -1.5 9-1x2") == [
        *("1", "3", "5", "7", "_", "_", "stale", "4", "4", "-1.5", "9", "8", "7"),
    ]
    test = {
        "name": "",
        "interval": "1m",
        "input_series": [{"series": "a{b}", "values": "1x2"}],
        "alert_rule_test": [],
    }
    (one, other) = relabelled(test, "Any", 1)["input_series"]
    assert one == {"series": 'a{b,pod="a"}', "values": "1 stale"}
    assert other == {"series": 'a{b,pod="b"}', "values": "_ 1 1"}


@pytest.mark.system
@pytest.mark.parametrize("alert", RULES)
def test_two_generations_of_a_label(alert: str, tmp_path: Path) -> None:
    """A label that the scrape adds and changes does not fire, end or delay an alert.

    Every test of the alert is run with the change at the sample before it first fires, or in the
    middle of the test if it never does.
    """
    tests = []
    for what in ("fires", "stays active", "is silent"):
        for test in cases(alert, what):
            if any("pod" in series["series"] for series in test["input_series"]):
                continue  # has generations of its own
            moments = checks(test)
            first = min((at for at, fired in moments.items() if fired), default=max(moments) // 2)
            tests.append(relabelled(test, alert, first // seconds(test["interval"]) - 1))
    assert any(query["exp_samples"] for test in tests for query in test["promql_expr_test"])
    run(tests, tmp_path)


@pytest.mark.system
def test_overvoltage_is_told_within_a_minute(tmp_path: Path) -> None:
    """A broken neutral is critical a minute after it began, however Prometheus is configured."""
    volts = {"L1": "231x24 290x24", "L2": "231x24 180x24", "L3": "231x48"}
    labels = 'job="goe",instance="pi:10332",charger="garage"'
    series = [
        {"series": f'goe_phase_voltage_volts{{{labels},phase="{phase}"}}', "values": values}
        for phase, values in volts.items()
    ]
    expected = {"severity": "critical", "kind": "grid", "job": "goe", "instance": "pi:10332"}
    expected |= {"charger": "garage", "phase": "L1"}
    firing = 'ALERTS{alertname="GoeOvervoltage",alertstate="firing"}'
    samples = [{"labels": named("GoeOvervoltage", expected), "value": 1}]
    queries = [
        {"expr": firing, "eval_time": "120s", "exp_samples": []},
        {"expr": firing, "eval_time": "185s", "exp_samples": samples},
    ]
    test = {"interval": "5s", "input_series": series, "promql_expr_test": queries}
    run([test], tmp_path, INTERVALS["goe-grid"])


@pytest.mark.system
@pytest.mark.parametrize(
    ("up", "watts", "allowed", "fires"),
    [
        ("1x25 0x120", "7000x23 3000x1 stale", "1x23 0x1 stale", 0),
        (f"1x23 {'1x8 0x14 ' * 6}", f"7000x23 {'3000x8 stale _x14 ' * 6}", "", 1),
        (
            f"{'1 _x11 ' * 3}{'0 _x11 ' * 9}0",
            "7000 _x11 7000 _x11 3000 _x11 stale",
            "1 _x11 1 _x11 0 _x11 stale",
            0,
        ),
        (
            f"{'1 _x11 ' * 4}{'0 _x11 ' * 8}0",
            "7000 _x11 7000 _x11 3000 _x11 3000 _x11 stale",
            "1 _x11 1 _x11 0 _x11 0 _x11 stale",
            1,
        ),
    ],
    ids=[
        "lost while the car ramps down",
        "a fault of a charger that flaps",
        "lost while the car ramps down, scraped once a minute",
        "a fault scraped once a minute",
    ],
)
def test_power_of_a_charger_that_stops_answering(
    up: str, watts: str, allowed: str, fires: int, tmp_path: Path
) -> None:
    """A reading taken while a car ramps down is no fault; one of a charger that flaps is."""
    allowed = allowed or f"1x23 {'0x8 stale _x14 ' * 6}"
    labels = 'job="goe",instance="pi:10332",charger="garage"'
    series = [
        {"series": f"goe_up{{{labels}}}", "values": up},
        {"series": f"goe_power_watts{{{labels}}}", "values": watts},
        {"series": f"goe_charging_allowed{{{labels}}}", "values": allowed},
    ]
    fired = 'count_over_time(ALERTS{alertname="GoePowerWhileNotAllowed",alertstate="firing"}[1h])'
    samples = [{"labels": "{}", "value": 1}] * fires
    query = {"expr": f"sum({fired}) > bool 0", "eval_time": "10m", "exp_samples": samples}
    test = {"interval": "5s", "input_series": series, "promql_expr_test": [query]}
    run([test], tmp_path, INTERVALS["goe-safety"])


@pytest.mark.system
def test_a_fault_survives_an_outage_of_prometheus(tmp_path: Path) -> None:
    """Half an hour without an evaluation does not lose a fault of a charger that is off."""
    labels = 'job="goe",instance="pi:10332",charger="garage"'
    series = [
        {"series": f"goe_up{{{labels}}}", "values": "1 0x119"},
        {"series": f'goe_error{{{labels},error="gnd_invalid"}}', "values": "1 stale"},
        {"series": f"goe_error_code{{{labels}}}", "values": "8 stale"},
        {"series": f"goe_power_watts{{{labels}}}", "values": "3600 stale"},
        {"series": f"goe_charging_allowed{{{labels}}}", "values": "0 stale"},
    ]
    expected = [
        {"labels": f'{{alertname="{alert}",charger="garage"}}', "value": 1}
        for alert in ("GoeGroundFault", "GoePowerWhileNotAllowed")
    ]
    firing = 'sum by (alertname, charger) (ALERTS{kind="error",alertstate="firing"})'
    query = {"expr": firing, "eval_time": "90m", "exp_samples": expected}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [query]}
    run([test], tmp_path, "30m")


# Every alert has its tests


def cases(alert: str, what: str) -> list[Document]:
    """Return the tests of an alert that are named `ALERT WHAT: …`."""
    return [
        test
        for path in TESTS
        for test in load(path)["tests"]
        if test["name"].startswith(f"{alert} {what}: ")
    ]


def seconds(duration: str) -> int:
    """Return a duration of the rules' language, as in `1h30m`, in seconds."""
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([dhms])", duration))


def checks(test: Document) -> dict[int, list[Document]]:
    """Return the alerts that a test expects, by the time in seconds."""
    return {
        seconds(str(check["eval_time"])): check.get("exp_alerts", [])
        for check in test["alert_rule_test"]
    }


@pytest.mark.parametrize("alert", RULES)
def test_fires_and_not_a_step_earlier(alert: str) -> None:
    """A test has the alert fire, with its labels, and silent one evaluation before."""
    (test,) = cases(alert, "fires")
    expected = checks(test)
    first = min(moment for moment, alerts in expected.items() if alerts)
    assert expected[first - 60] == []
    assert {check["alertname"] for check in test["alert_rule_test"]} == {alert}
    labels = set(RULES[alert]["labels"]) | {"job", "instance"}
    if alert not in WITHOUT_INSTANCE:
        assert all(labels <= set(fired["exp_labels"]) for fired in expected[first])


@pytest.mark.parametrize("alert", RULES)
def test_is_silent(alert: str) -> None:
    """A test at least has series for which the alert stays silent, longer than its `for`."""
    silent = cases(alert, "is silent")
    assert silent
    for test in silent:
        assert test["input_series"]
        assert {check["alertname"] for check in test["alert_rule_test"]} == {alert}
        assert not any(checks(test).values())
        assert max(checks(test)) >= seconds(RULES[alert].get("for", "1m"))


def test_a_file_of_tests_per_group() -> None:
    """The tests of group `goe-grid` are those in `grid.yaml`, in the rules' order."""
    for group in [*GROUPS, *RECORDING]:
        tests = load(ALERTS / "tests" / f"{group['name'].removeprefix('goe-')}.yaml")["tests"]
        tested = dict.fromkeys(
            re.split(r" fires: | stays active: | is silent: |: ", test["name"])[0] for test in tests
        )
        of_alerts = group in GROUPS
        assert list(tested) == [
            rule["alert" if of_alerts else "record"]
            for rule in group["rules"]
            if not of_alerts or "alert" in rule
        ]
    assert len(TESTS) == len(GROUPS) + len(RECORDING)


# What the exporter emits


def readings_of(channel: Channel) -> list[Reading]:
    """Return a reading of each part of a channel, and of each word of a reason."""
    made: dict[Kind, float | bool | str] = {Kind.FLAG: True, Kind.TEXT: "text"}
    if channel.states is not None:
        return [Reading(channel, "", word, 1) for word in channel.states.names]
    return [Reading(channel, part.label, made.get(channel.kind, 1.0)) for part in channel.parts]


def emitted() -> dict[str, list[dict[str, str]]]:
    """Return the labels of every sample the exporter can emit, and those of `up`, by name."""
    readings = tuple(reading for channel in CHANNELS for reading in readings_of(channel))
    failures = {"tma": 1}
    stats = PollStats(True, decode_failures=failures, last_success=1.0, last_duration=1.0)
    view = ChargerView("garage", "host", stats, Snapshot("garage", 2, 1.0, 1.0, readings), 0.0)
    influx = DeliveryStats(1, 1, 1, 1, 1, 1, 1.0, "", {"refused": 1})
    reload = Reload(successful=True, last_success=1.0)
    own = providers(Parts(Scheduler(()), lambda: reload, lambda: influx, surplus=lambda: SURPLUS))
    sessions = partial(session_metrics.chargers, {"garage": Tally()}, ["garage"])
    exposition = Exposition(lambda: [view], [*own, sessions, process_metrics()])
    scrape = {"job": "goe", "instance": "pi:10332"}
    found: dict[str, list[dict[str, str]]] = {"up": [scrape]}
    for family in text_string_to_metric_families(exposition.render()[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels | scrape)
    return found


class Matcher(NamedTuple):
    """A label matcher; with a regular expression it has several values."""

    label: str
    values: list[str]


def selectors(text: str) -> list[tuple[list[str], list[Matcher]]]:
    """Return the selectors of an expression: the names of their metrics, and their matchers."""
    found = []
    for name, braces in re.findall(r"((?:\b[a-z_]+:)?\bgoe_[\w:]+|\bup\b)?(?:\{([^}]*)\})?", text):
        matchers = [
            Matcher(label, value.split("|"))
            for label, value in re.findall(r'(\w+)\s*[!=]~?\s*"([^"]*)"', braces)
        ]
        names = [name] if name else []
        names += [n for matcher in matchers if matcher.label == "__name__" for n in matcher.values]
        if names:
            found.append((names, [each for each in matchers if each.label != "__name__"]))
    return found


def recorded(rule: Document, known: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    """Return the labels of what a rule records: those of its level, with the values they have."""
    level = ["job", *rule["record"].partition(":")[0].split("_")]
    metrics = [metric for metrics, _ in selectors(rule["expr"]) for metric in metrics]
    samples = [labels for metric in metrics for labels in known.get(metric, ())]
    found = [{name: labels[name] for name in level} for labels in samples if {*level} <= {*labels}]
    return [labels for n, labels in enumerate(found) if labels not in found[:n]]


EMITTED = emitted()
for held in HELD:
    EMITTED[held["record"]] = recorded(held, EMITTED)


def strangers(text: str) -> list[str]:
    """Return what an expression or a series selects that the exporter never emits."""
    strange = []
    for names, matchers in selectors(text):
        for name in names:
            samples = EMITTED.get(name, [])
            strange += [] if samples else [name]
            for label, values in matchers:
                known = {labels.get(label) for labels in samples}
                strange += [f"{name}{{{label}={each}}}" for each in values if each not in known]
    return strange


def test_the_reader_of_expressions_sees_everything() -> None:
    """Unknown metrics, labels and values are named, in a list of alternatives too."""
    assert strangers('goe_power + goe_error{error=~"none|bad"} + goe_up{phase="L1"} + up') == [
        *("goe_power", "goe_error{error=bad}", "goe_up{phase=L1}"),
    ]
    assert strangers('min({__name__=~"goe_up|goe_down"})') == ["goe_down"]
    assert strangers('a:goe_up:b + instance_charger_error:goe_error_code:held{error="bad"}') == [
        *("a:goe_up:b", "instance_charger_error:goe_error_code:held{error=bad}"),
    ]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_rules_use_what_the_exporter_emits(name: str) -> None:
    """Every metric, label and value in a rule exists on `/metrics`."""
    expression = EXPRESSIONS[name]
    assert selectors(expression)
    assert strangers(expression) == []
    metrics = {metric for metrics, _ in selectors(expression) for metric in metrics}
    known = {label for metric in metrics for labels in EMITTED[metric] for label in labels}
    named = re.findall(r"\b(?:on|by|group_left|ignoring|without) \(([^)]*)\)", expression)
    assert {label for labels in named for label in re.findall(r"\w+", labels)} <= known


@pytest.mark.parametrize("name", [*RULES, *(rule["record"] for rule in HELD)])
def test_joins_keep_the_exporter_and_the_charger(name: str) -> None:
    """Series are joined and aggregated per exporter and charger: none stands in for another."""
    expression = EXPRESSIONS[name].replace("on (job, instance) up == 0", "")
    metrics = [metric for metrics, _ in selectors(expression) for metric in metrics]
    of_chargers = all("charger" in EMITTED[metric][0] for metric in metrics)
    kept = "job, instance, charger" if of_chargers else "job, instance"
    for labels in re.findall(r"\b(?:on|by) \(([^)]*)\)", expression):
        assert labels == kept or labels.removeprefix(f"{kept}, ") in OWN_LABELS
    assert not re.search(r"\b(ignoring|without)\b", expression)


RARE = [rule for group in GROUPS if INTERVALS[group["name"]] == "15m" for rule in group["rules"]]
"""The rules that are evaluated every quarter of an hour."""


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_windows_are_short(name: str) -> None:
    """No rule reads more than an hour of a charger's series: three days cost 67 ms per charger.

    What is rarely read may be long.
    """
    if RULES.get(name) in RARE:
        return
    windows = re.findall(r"([\w:]+)(?:\{[^}]*\})?\[([\dsmhd]+)", EXPRESSIONS[name])
    per_exporter = {"instance:goe_exporter_build_info:held"}
    assert all(seconds(window) <= 3600 for series, window in windows if series not in per_exporter)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_tests_use_what_the_exporter_emits(path: Path) -> None:
    """The made-up series are such as the exporter gives."""
    free = {"job", "instance", "charger", "version", "pod"}
    for test in load(path)["tests"]:
        for series in test["input_series"]:
            (names, matchers), *more = selectors(series["series"])
            assert more == []
            assert {each.label for each in matchers} - {"pod"} == set(EMITTED[names[0]][0])
            text = ",".join(f'{m.label}="{m.values[0]}"' for m in matchers if m.label not in free)
            assert strangers(f"{names[0]}{{{text}}}") == []


# How an alert is written


@pytest.mark.parametrize("alert", RULES)
def test_mixin_lint(alert: str) -> None:
    """Names, labels and annotations follow the rules that monitoring mixins share."""
    labels, annotations = RULES[alert]["labels"], RULES[alert]["annotations"]
    assert re.fullmatch(r"Goe([A-Z][a-z0-9]+)+", alert)
    assert len(alert) <= 40
    assert set(labels) == {"severity", "kind"}
    assert labels["severity"] in {"critical", "warning", "info"}
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"[A-Z][^{]+\.", annotations["summary"])
    assert re.search(r"\{\{.+\}\}", annotations["description"])
    assert annotations["description"].endswith(".")


@pytest.mark.parametrize("group", [*GROUPS, *RECORDING], ids=lambda group: group["name"])
def test_mixin_lint_of_groups(group: Document) -> None:
    """Groups are small and have short names."""
    assert len(group["name"]) <= 40
    assert len(group["rules"]) <= 20


def test_names_of_recorded_series() -> None:
    """They say the level, the metric and what was done with it."""
    for rule in [*HELD, *RECORDING[0]["rules"]]:
        assert re.fullmatch(r"[a-z_]+:goe_[a-z_]+:[a-z0-9]+", rule["record"])


def test_every_alert_has_its_page_in_the_runbook() -> None:
    """The runbook has one section per alert, in the rules' order, and the alerts point to it."""
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^### (\w+)$", text) == list(RULES)
    for alert, rule in RULES.items():
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK_URL}#{alert.lower()}"


def test_every_section_of_the_runbook_says_what_to_do() -> None:
    """What it means, why it matters, what to look at and what to do: nothing is left out."""
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    for section in re.split(r"(?m)^### ", text)[1:]:
        name, _, body = section.partition("\n")
        severity = RULES[name]["labels"]["severity"]
        parts = re.findall(r"(?m)^\*\*(.+?)\.\*\*", body)
        assert parts == ["What it means", "Why it matters", "Check", "Do"], name
        assert body.split("\n\n")[0].strip() == f"Severity: {severity}."


@pytest.mark.parametrize(
    "alert", [name for name in RULES if RULES[name]["labels"]["kind"] == "error"]
)
def test_danger_is_critical(alert: str) -> None:
    """What can hurt somebody is critical, waits at most for a car to ramp down, and says so."""
    rule = RULES[alert]
    if not alert.startswith("GoeChargerError"):
        assert rule["labels"]["severity"] == "critical"
        assert rule.get("for", "0s") == ("2m" if alert == "GoePowerWhileNotAllowed" else "0s")
        assert "switch off at the breaker" in rule["annotations"]["description"]
