"""Statuses from public reports decode to the values that were typed by hand (fixtures/field)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from paths import FIXTURES

from goe_exporter.channels.decode import decode
from goe_exporter.charger import api_v1

REPORTS: dict[str, dict[str, Any]] = {
    path.stem: report
    for path in sorted((FIXTURES / "field").glob("*.json"))
    if isinstance((report := json.loads(path.read_bytes())).get("expect"), dict)
}


def values(report: dict[str, Any]) -> dict[str, object]:
    """Return the readings of a report, as `name` or `name.part` → value."""
    api = report["api"]
    status = api_v1.status(report["status"]) if api == 1 else report["status"]
    return {
        f"{row.name}.{label}" if label and code is None else row.name: value
        for row, label, value, code in decode(status, api).readings
    }


@pytest.mark.parametrize("name", REPORTS)
def test_report_decodes_to_what_was_typed(name: str) -> None:
    """Each expected reading is present with its value; what is absent there has no reading."""
    report = REPORTS[name]
    got = values(report)
    assert {reading: got.get(reading) for reading in report["expect"]} == {
        reading: pytest.approx(value) if isinstance(value, float) else value
        for reading, value in report["expect"].items()
    }
    assert not got.keys() & set(report["absent"])


@pytest.mark.parametrize("name", [name for name in REPORTS if "zero" not in name])
def test_report_has_nothing_unreadable(name: str) -> None:
    """No value of these statuses counts as a failure, except zeros that were never measured."""
    report = REPORTS[name]
    status = api_v1.status(report["status"]) if report["api"] == 1 else report["status"]
    assert decode(status, report["api"]).failed == frozenset()
