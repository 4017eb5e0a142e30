"""Chargers that answered with a fixture, and the samples of an exposition."""

from __future__ import annotations

import json
import subprocess

import paths
from prometheus_client.parser import text_string_to_metric_families
from servers import binary

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.charger import api_v1
from goe_exporter.control.vitals import SourceVitals, SurplusVitals
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.view import ChargerView, PollStats

FIXTURES = tuple(path.stem for path in sorted(paths.FIXTURES.glob("v[12]_*.json")))
TIME = 1_700_000_000.25
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
INFLUX = DeliveryStats(
    written=1000,
    rejected=2,
    dropped=3,
    damaged=1,
    spooled=40,
    spool_bytes=4096,
    oldest=TIME,
    failing="timeout",
    failures={"timeout": 5},
)
SURPLUS = SurplusVitals(
    charger="garage",
    mode="control",
    state="charging",
    reason="current",
    surplus_w=2900.4,
    amps=12,
    phases=1,
    budget_wh=61.3,
    sources=(
        SourceVitals("grid", up=True, power_w=-140.0, age_s=4.5, failures={"timeout": 3}),
        SourceVitals("battery", up=False),
    ),
    starts=3,
    pauses=4,
    phase_switches=2,
    hand_overs=1,
    writes={"max_current": 40, "phases": 2},
    write_failures={"timeout": 1, "rejected": 2},
    energy_wh={"sun": 1000.0, "battery": 0.0, "grid": 10.5},
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def status_of(fixture: str) -> dict[str, object]:
    text = (paths.FIXTURES / f"{fixture}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def view(fixture: str, name: str = "garage") -> ChargerView:
    """Return a charger that has answered with a fixture, at a fixed time."""
    api = 1 if fixture.startswith("v1") else 2
    status = status_of(fixture)
    readings, failed = decode(api_v1.status(status) if api == 1 else status, api)
    stats = PollStats(
        up=True,
        polls=120,
        failures={"timeout": 2, "busy": 1},
        decode_failures=dict.fromkeys(failed, 3),
        last_success=TIME,
        last_duration=0.125,
    )
    return ChargerView(name, "192.0.2.7", stats, Snapshot(name, api, TIME, 50.0, readings), 0.5)


def controller(name: str, readings: tuple[Reading, ...] | None = None) -> ChargerView:
    """Return the Controller `house` that has answered with a fixture, or with other readings."""
    failed: frozenset[str] = frozenset()
    if readings is None:
        readings, failed = decode(status_of(name), 2, CONTROLLER.channels)
    stats = PollStats(
        up=True,
        polls=60,
        failures={"busy": 1},
        decode_failures=dict.fromkeys(failed, 2),
        last_success=TIME,
        last_duration=0.25,
    )
    snapshot = Snapshot("house", 2, TIME, 50.0, readings)
    return ChargerView("house", "192.0.2.9", stats, snapshot, 0.5, table=CONTROLLER)


def down(name: str = "garage") -> ChargerView:
    """Return a charger that has not answered for long."""
    stats = PollStats(
        up=False,
        reason="timeout",
        message="no answer",
        polls=9,
        failures={"timeout": 4},
        failures_in_row=4,
        last_success=TIME,
        last_duration=4.0,
    )
    return ChargerView(name, "192.0.2.8", stats, None, 300.0)


def samples(text: str) -> Samples:
    """Parse an exposition into name and labels → value; a sample given twice fails."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def lint(text: str) -> None:
    """Let promtool look at an exposition: it must find nothing."""
    done = subprocess.run(
        [binary("promtool"), "check", "metrics"],
        input=text.encode("utf-8"),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
