"""Simulated days and real chargers raise the alerts they should and no other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from by_library import families
from captures import FULL, decoded, load
from paths import ROOT
from servers import binary
from surplus_home import Street

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.charger import api_v1
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.service import surplus_metrics
from goe_exporter.simulator import Charger, story
from goe_exporter.simulator.api_v1 import status_v1
from goe_exporter.simulator.api_v2 import status_v2

RULES = ROOT / "dashboards" / "alerts" / "goe-alerts.yaml"
STEP = 15
STEPS = 5400 // STEP
"""An hour and a half: more than the whole story, which has a ground fault."""

SURPLUS_STEP = 30
SURPLUS_STEPS = 3 * 3600 // SURPLUS_STEP

Samples = dict[str, float]


def scraped(readings: tuple[Reading, ...], moment: float) -> Samples:
    """Return what Prometheus would read of a charger, by the series' text."""
    stats = PollStats(up=True, polls=int(moment), last_success=moment, last_duration=0.1)
    view = ChargerView("garage", "", stats, Snapshot("garage", 2, moment, 0.0, readings), 0.0)
    samples = {"up": 1.0, 'goe_exporter_build_info{version="1"}': 1.0}
    for family in families([view]):
        for sample in family.samples:
            samples[series_text(sample.name, sample.labels)] = sample.value
    return samples


def series_text(name: str, labels: Mapping[str, str]) -> str:
    """Return the text of a series."""
    named = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{named}}}"


def only(expected: Sequence[str], moments: Sequence[Samples], step: int = STEP) -> object:
    """Return a promtool test: of samples `step` seconds apart just these alerts come."""
    names = dict.fromkeys(name for samples in moments for name in samples)
    series = [
        {"series": name, "values": " ".join(_values([one.get(name) for one in moments]))}
        for name in names
    ]
    fired = 'group by (alertname) (count_over_time(ALERTS{alertstate="firing"}[2h]))'
    alerts = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    check = {"expr": fired, "eval_time": f"{step * len(moments)}s", "exp_samples": alerts}
    return {"interval": f"{step}s", "input_series": series, "promql_expr_test": [check]}


def _values(values: list[float | None]) -> Iterator[str]:
    """Yield promtool's words for the values; a series that ends is stale at once."""
    before = None
    for value in values:
        if value is not None:
            yield f"{value:.4f}"
        else:
            yield "_" if before is None else "stale"
        before = value


def play(tests: Sequence[object], step: int, folder: Path) -> None:
    """Let promtool run tests, with an evaluation every `step` seconds."""
    document = {"rule_files": [str(RULES)], "evaluation_interval": f"{step}s", "tests": tests}
    path = folder / "test.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    command = [binary("promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Simulated days


def day(charger: Charger) -> Iterator[Samples]:
    """Yield what is scraped of a charger every 15 seconds while its story is played."""
    events = story(charger)
    wait = next(events)
    for step in range(STEPS):
        left = float(STEP)
        while wait <= left:
            charger.advance(wait)
            left -= wait
            wait = next(events)
        charger.advance(left)
        wait -= left
        if charger.hardware.v2:
            readings = decode(status_v2(charger), 2).readings
        else:
            readings = decode(api_v1.status(status_v1(charger)), 1).readings
        yield scraped(readings, STEP * step)


@pytest.mark.system
@pytest.mark.parametrize("model", ["V2", "V3", "V4", "PRO"])
def test_a_day(model: str, tmp_path: Path) -> None:
    """Plugging in, charging, switching phases, tapering and leaving are no alert; the fault is."""
    play([only(["GoeGroundFault"], list(day(Charger(model))))], STEP, tmp_path)


@pytest.mark.system
def test_a_bad_day(tmp_path: Path) -> None:
    """Heat and a limit of the energy are told as what they are."""
    charger = Charger("V4")
    charger.ambient_c = charger.board_c = charger.type2_c = 72.0
    charger.energy_limit_wh = 500.0
    expected = [
        *("GoeGroundFault", "GoeSessionLimitReached"),
        *("GoeTemperatureHigh", "GoeTemperatureDerating"),
    ]
    play([only(expected, list(day(charger)))], STEP, tmp_path)


# A charger that is charged with the surplus


@pytest.mark.system
def test_a_day_with_the_surplus(tmp_path: Path) -> None:
    """Pauses, starts, phase switches and currents of the control are no alert."""
    moments = []
    street = Street("broken", start_hour=9)
    try:
        home = street.home(tmp_path / "state")
        for scrapes in range(SURPLUS_STEPS):
            home.run(SURPLUS_STEP)
            snapshot = home.poller.view().snapshot
            assert snapshot is not None
            samples = scraped(snapshot.readings, SURPLUS_STEP * scrapes)
            for family in surplus_metrics.surplus(home.control.vitals()):
                samples |= {
                    series_text(each.name, each.labels): each.value for each in family.samples
                }
            moments.append(samples)
    finally:
        street.close()
    vitals = home.control.vitals()
    assert vitals.starts > 2
    assert vitals.pauses > 2
    assert vitals.phase_switches > 2
    play([only([], moments, SURPLUS_STEP)], SURPLUS_STEP, tmp_path)


# Real chargers

TOLD = {
    "v1_01_akleber-charging": ["GoeChargerError"],
    "v1_01_akleber-nocable": ["GoeChargerError"],
    "v2_055.7_supermihi-V4-full": ["GoeChargerWifiWeak"],
}
"""The first firmware of all reports error 14 at any time; the other's WiFi is at -86 dBm."""


@pytest.mark.system
def test_real_chargers(captures_folder: Path, tmp_path: Path) -> None:
    """What real chargers have said, for 45 minutes, is no alert but the typed ones."""
    tests = []
    for name in FULL:
        readings = decoded(name, load(captures_folder, name)).readings
        moments = [scraped(readings, 60 * step) for step in range(45)]
        tests.append(only(TOLD.get(name, []), moments, step=60))
    play(tests, 60, tmp_path)
