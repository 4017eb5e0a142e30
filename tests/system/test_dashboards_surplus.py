"""The row about the PV surplus, of an hour of metrics in a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dashboard_queries import Moment, ask, queries
from prometheus_server import Found, Prometheus, Sample

from dashboards.surplus import STATE, TEXTS
from goe_exporter.control.vitals import STATES, SourceVitals, SurplusVitals
from goe_exporter.service import surplus_metrics

START, MINUTES = 1_780_000_020, 60
LABELS = {"job": "goe", "instance": "pi:10332"}


def vitals(minute: int) -> SurplusVitals:
    """Return an hour with 2 kW, a quarter of it from the grid; it pauses after 40 minutes."""
    charging = minute < 40
    energy_wh = min(minute, 40) * 2000 / 60
    return SurplusVitals(
        charger="garage",
        mode="control",
        state="charging" if charging else "paused",
        surplus_w=1500.0 if charging else 300.0,
        amps=9 if charging else None,
        phases=1 if charging else None,
        budget_wh=120.0 - 3 * minute if charging else None,
        sources=(SourceVitals("grid", up=True, power_w=500.0 if charging else -300.0, age_s=4.0),),
        starts=1 + (minute > 20),
        pauses=1 + (not charging),
        phase_switches=0,
        energy_wh={"sun": 0.75 * energy_wh, "battery": 0.0, "grid": 0.25 * energy_wh},
    )


def samples() -> Iterator[Sample]:
    """Yield what is scraped every minute of the charger, and of the grid at another exporter."""
    for minute in range(MINUTES + 1):
        time = START + 60 * minute
        for family in surplus_metrics.surplus(vitals(minute)):
            for each in family.samples:
                yield Sample(each.name, LABELS | dict(each.labels), each.value, time)
        power_w = 2000.0 if minute < 40 else 0.0
        yield Sample("goe_power_watts", LABELS | {"charger": "garage"}, power_w, time)
        current = LABELS | {"charger": "garage", "phase": "L1"}
        yield Sample("goe_phase_current_amperes", current, power_w / 230, time)
        other = LABELS | {"instance": "other:10332", "source": "grid"}
        yield Sample("goe_surplus_source_power_watts", other, 9000.0, time)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Start Prometheus with the hour."""
    server = Prometheus(tmp_path_factory.mktemp("surplus"))
    ordered = sorted(samples(), key=lambda each: (each.name, sorted(each.labels.items())))
    server.remember(ordered)
    with server.up():
        yield server


def shown(prometheus: Prometheus, panel: str, charger: str = "garage") -> list[list[Found]]:
    """Return what each query of a panel finds in the hour."""
    end = START + 60 * MINUTES
    at = Moment(START, end, 60, {"charger": charger})
    return [ask(prometheus, each, at) for each in queries("prometheus/charger.json", panel)]


def at_minute(found: list[Found], minute: int) -> float | None:
    (series,) = found
    return series.values.get(START + 60 * minute)


def value(found: list[Found]) -> float:
    """Return the only value of the only series."""
    (series,) = found
    (only,) = series.values.values()
    return only


@pytest.mark.system
def test_graphs(prometheus: Prometheus) -> None:
    """Surplus, charger and the grid of the same exporter; nothing is offered in a pause."""
    surplus, charger, grid = shown(prometheus, "Surplus and charging power")
    assert [at_minute(each, 30) for each in (surplus, charger, grid)] == [1500, 2000, 500]
    assert [at_minute(each, 59) for each in (surplus, charger, grid)] == [300, 0, -300]
    offered, drawn = shown(prometheus, "Offered current")
    assert at_minute(offered, 30) == 9
    assert at_minute(drawn, 30) == pytest.approx(8.7, abs=0.01)
    (left,) = shown(prometheus, "Energy left before a pause")
    assert at_minute(left, 20) == 60


@pytest.mark.system
def test_history(prometheus: Prometheus) -> None:
    """The state is a number that has a text, in one series."""
    states, phases = shown(prometheus, "Surplus history")
    texts = {number: each["text"] for number, each in STATE[0]["options"].items()}
    numbers = [at_minute(states, minute) for minute in (1, 39, 40, 60)]
    assert [texts[f"{number:.0f}"] for number in numbers if number is not None] == [
        *("Charging", "Charging", "Paused", "Paused"),
    ]
    assert at_minute(phases, 39) == 1


@pytest.mark.system
def test_totals(prometheus: Prometheus) -> None:
    """1.33 kWh, three quarters of it from the sun; a start and a pause."""
    (share,) = shown(prometheus, "Share of sun")
    assert value(share) == pytest.approx(0.75)
    origins = [value(each) for each in shown(prometheus, "Charged by origin")]
    assert origins == pytest.approx([1.0, 0.0, 0.333], rel=0.02, abs=0.01)
    counts = shown(prometheus, "Starts, pauses and phase switches")
    assert [value(each) for each in counts] == pytest.approx([1, 1, 0], abs=0.05)


@pytest.mark.system
def test_a_charger_that_is_not_controlled(prometheus: Prometheus) -> None:
    """Another charger has nothing, not even the grid."""
    for panel in ("Surplus and charging power", "Surplus history", "Share of sun"):
        assert shown(prometheus, panel, "yard") == [[]] * len(
            queries("prometheus/charger.json", panel)
        )


def test_every_state_has_a_text() -> None:
    """Each state has a text of its own, and no text is left over."""
    assert set(TEXTS) == set(STATES)
    assert len({text for text, _colour in TEXTS.values()}) == len(STATES)
