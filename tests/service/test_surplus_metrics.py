"""The metrics of charging with the surplus."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exposed import SURPLUS, Samples, lint, samples

from goe_exporter.control.vitals import STATES, SourceVitals, SurplusVitals
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.service.self_metrics import Parts, Reload, providers

FULL = replace(SURPLUS, internal_errors=1)


def text(vitals: SurplusVitals) -> str:
    own = providers(Parts(Scheduler(()), lambda: Reload(True, 0.0), surplus=lambda: vitals))
    return Exposition(tuple, own).render()[0].decode("utf-8")


def found(vitals: SurplusVitals) -> Samples:
    return samples(text(vitals))


def charger(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"goe_surplus_{name}", frozenset({"charger": "garage", **labels}.items())


def source(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"goe_surplus_source_{name}", frozenset(labels.items())


def test_all() -> None:
    """Powers in W, energies in J; the present state is 1, the others are 0."""
    shown = found(FULL)
    states = {state: shown[charger("state", state=state)] for state in STATES}
    assert {state for state, value in states.items() if value} == {"charging"}
    assert {
        charger("available_watts"): 2900.4,
        charger("target_current_amperes"): 12.0,
        charger("target_phases"): 1.0,
        charger("pause_budget_joules"): 220_680.0,
        charger("starts_total"): 3.0,
        charger("pauses_total"): 4.0,
        charger("phase_switches_total"): 2.0,
        charger("hand_overs_total"): 1.0,
        charger("writes_total", key="max_current"): 40.0,
        charger("writes_total", key="phases"): 2.0,
        charger("write_failures_total", reason="timeout"): 1.0,
        charger("write_failures_total", reason="rejected"): 2.0,
        charger("energy_joules_total", origin="sun"): 3_600_000.0,
        charger("energy_joules_total", origin="battery"): 0.0,
        charger("energy_joules_total", origin="grid"): 37_800.0,
        source("up", source="grid"): 1.0,
        source("up", source="battery"): 0.0,
        source("power_watts", source="grid"): -140.0,
        source("age_seconds", source="grid"): 4.5,
        source("failures_total", source="grid", reason="timeout"): 3.0,
    }.items() <= shown.items()
    assert shown["goe_exporter_defects_total", frozenset()] == 1


def test_what_is_unknown_is_absent() -> None:
    """Before the first step there are the state `unknown` and counts of 0."""
    shown = found(SurplusVitals("garage", "control", sources=(SourceVitals("grid"),)))
    names = {name for name, _labels in shown if name.startswith("goe_surplus")}
    assert names == {
        "goe_surplus_state",
        "goe_surplus_starts_total",
        "goe_surplus_pauses_total",
        "goe_surplus_phase_switches_total",
        "goe_surplus_hand_overs_total",
    }
    assert shown[charger("state", state="unknown")] == 1


@pytest.mark.system
def test_lint() -> None:
    """The names follow Prometheus' conventions."""
    lint(text(FULL))
