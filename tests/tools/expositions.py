"""Chargers and a delivery with known values, for tests of what is exposed about them."""

from __future__ import annotations

import json

import paths

from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import ChargerView, InfluxVitals, Snapshot, Vitals
from goe_exporter.charger import api_v1

FIXTURES = tuple(path.stem for path in sorted(paths.FIXTURES.glob("v[12]_*.json")))
"""The names of the fixtures that are a status."""

TIME = 1_700_000_000.25
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

INFLUX = InfluxVitals(
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


def status_of(fixture: str) -> dict[str, object]:
    text = (paths.FIXTURES / f"{fixture}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def view(fixture: str, name: str = "garage") -> ChargerView:
    """Return a charger that has answered with a fixture, at a fixed time."""
    api = 1 if fixture.startswith("v1") else 2
    status = status_of(fixture)
    readings, failed = decode(api_v1.status(status) if api == 1 else status, api)
    vitals = Vitals(
        up=True,
        polls=120,
        failures={"timeout": 2, "busy": 1},
        decode_failures=dict.fromkeys(failed, 3),
        last_success=TIME,
        last_duration=0.125,
    )
    return ChargerView(name, "192.0.2.7", vitals, Snapshot(name, api, TIME, 50.0, readings), 0.5)


def down(name: str = "garage") -> ChargerView:
    """Return a charger that has not answered for long."""
    vitals = Vitals(
        up=False,
        reason="timeout",
        message="no answer",
        polls=9,
        failures={"timeout": 4},
        failures_in_row=4,
        last_success=TIME,
        last_duration=4.0,
    )
    return ChargerView(name, "192.0.2.8", vitals, None, 300.0)
