"""The jsonnet mixin holds the rules as they are, and every Prometheus dashboard."""

from __future__ import annotations

import json
from typing import Any

import _jsonnet
import pytest
import yaml
from paths import ROOT

DASHBOARDS = ROOT / "dashboards"
NAMES = {"charger", "energy", "exporter", "fleet"}


@pytest.fixture(scope="module")
def mixin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the mixin with its hidden fields shown; dashboards not built yet are stand-ins."""
    folder = tmp_path_factory.mktemp("mixin")
    (folder / "prometheus").mkdir()
    if not (DASHBOARDS / "prometheus").is_dir():
        for name in NAMES:
            (folder / "prometheus" / f"{name}.json").write_text('{"title": "none yet"}')
    shown = (
        "local mixin = import 'mixin.libsonnet';"
        "{[name]: mixin[name] for name in std.objectFieldsAll(mixin)}"
    )
    path = str(DASHBOARDS / "snippet")
    return json.loads(_jsonnet.evaluate_snippet(path, shown, jpathdir=[str(folder)]))


@pytest.mark.parametrize(
    ("field", "name"),
    [("prometheusAlerts", "goe-alerts.yaml"), ("prometheusRules", "goe-recording.yaml")],
)
def test_rules(mixin: Any, field: str, name: str) -> None:
    """Jsonnet reads the rule files as everybody else does."""
    assert mixin[field] == yaml.safe_load((DASHBOARDS / "alerts" / name).read_text("utf-8"))


def test_dashboards(mixin: Any) -> None:
    """All Prometheus dashboards are there, under names that say whose they are."""
    assert set(mixin) == {"prometheusAlerts", "prometheusRules", "grafanaDashboards"}
    assert set(mixin["grafanaDashboards"]) == {f"goe-{name}.json" for name in NAMES}
    assert all(dashboard["title"] for dashboard in mixin["grafanaDashboards"].values())
    if (DASHBOARDS / "prometheus").is_dir():
        assert {path.stem for path in (DASHBOARDS / "prometheus").glob("*.json")} == NAMES
