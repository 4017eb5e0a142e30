"""The surplus from the meter's value, how old it may be, and whether the meter is the right one."""

from __future__ import annotations

import pytest

from goe_exporter.surplus.proof import Proof, Verdict
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import Sample, Situation, View
from goe_exporter.surplus.supply import Point, Quality, Supply, observed


def settings(**changes: object) -> Settings:
    return Settings(**{"max_current_a": 16, "phases": None, **changes})  # type: ignore[arg-type]


def polled(at: float, power_w: float) -> View:
    return View(at, "charging", "neutral", 0, 16, power_w, (0.0, 0.0, 0.0))


def supplied(chosen: Settings, *steps: tuple[Sample | None, View | None]) -> Supply:
    """Return the supply after steps, each at the later of its times."""
    supply = Supply()
    for sample, view in steps:
        now = max(sample.measured_at if sample else 0.0, view.polled_at if view else 0.0)
        supply = observed(supply, chosen, Situation(now, sample, view))
    return supply


@pytest.mark.parametrize(
    ("changes", "battery_w", "surplus_w"),
    [
        ({}, None, 2500),
        ({"reserve_w": 300.0}, None, 2200),
        ({"reserve_w": -300.0}, None, 2800),
        ({"includes_charger": False}, None, 500),
        ({"battery": "house"}, 0.0, 2400),
        ({"battery": "house"}, -1500.0, 2400),
        ({"battery": "house"}, 1500.0, 900),
        ({"battery": "house", "reserve_w": 300.0}, 0.0, 2200),
        ({"battery": "car"}, -1500.0, 4000),
        ({"battery": "car"}, 1500.0, 1000),
    ],
)
def test_surplus(changes: dict[str, object], battery_w: float | None, surplus_w: float) -> None:
    """The charger draws 2 kW while 500 W are exported; a battery charges with 1.5 kW, or gives it.

    A house battery that charges first is left at least 100 W.
    """
    supply = supplied(settings(**changes), (Sample(-500.0, 10.0, battery_w), polled(10.0, 2000.0)))
    assert supply.latest is not None
    assert supply.latest.surplus_w == pytest.approx(surplus_w)


def test_power_of_the_time_of_the_sample() -> None:
    """A meter that is 20 s late is compared with what the charger drew 20 s ago."""
    supply = supplied(
        settings(),
        (None, polled(10.0, 1400.0)),
        (None, polled(20.0, 1400.0)),
        (Sample(-100.0, 10.0), polled(30.0, 4000.0)),
    )
    assert supply.latest == Point(10.0, 1500.0, -100.0, 1400.0)


@pytest.mark.parametrize(
    ("age_s", "quality"),
    [
        (0, Quality.GOOD),
        (32, Quality.GOOD),
        (33, Quality.HELD),
        (65, Quality.HELD),
        (66, Quality.STALE),
    ],
)
def test_age(age_s: float, quality: Quality) -> None:
    """Up to 32 s it is good, up to 65 s nothing rises, beyond it is stale."""
    sample = Sample(0.0, 100.0)
    supply = supplied(settings(), (sample, None))
    assert supply.quality(settings(), 100.0 + age_s, sample) is quality


@pytest.mark.parametrize(("open_s", "frozen"), [(30, True), (80, False)])
def test_identical_values_during_a_phase_switch(open_s: int, frozen: bool) -> None:
    """The half minute without power of a phase switch makes no dead meter trustworthy."""
    steps = []
    for number in range(32):
        time = 10.0 * number
        power_w = 0.0 if 150 <= time < 150 + open_s else 4000.0
        steps.append((Sample(-500.0, time, None, False), polled(time, power_w)))
    assert supplied(settings(), *steps).frozen is frozen


@pytest.mark.parametrize(("grid_w", "frozen"), [(-500.0, True), (0.0, False)])
def test_identical_values_beside_a_battery(grid_w: float, frozen: bool) -> None:
    """A battery that works hides no dead meter; but it may keep a good one at 0 W."""
    steps = [
        (Sample(grid_w, 10.0 * number, 20.0 * number, False), polled(10.0 * number, 4000.0))
        for number in range(32)
    ]
    assert supplied(settings(battery="car"), *steps).frozen is frozen


def test_no_sample_and_no_battery_value() -> None:
    """What is missing is not zero."""
    assert Supply().quality(settings(), 0.0, None) is Quality.STALE
    chosen, sample = settings(battery="house"), Sample(0.0, 0.0)
    supply = supplied(chosen, (sample, None))
    assert (supply.points, supply.quality(chosen, 0.0, sample)) == ((), Quality.STALE)


def test_mean_and_coverage() -> None:
    """The mean of the samples of the last seconds; a gap leaves the newest one."""
    points = tuple(Point(float(time), time * 10.0, 0.0, 0.0) for time in (0, 20, 40, 60))
    supply = Supply(points=points)
    assert supply.mean_w(60.0, 30.0) == 500.0
    assert supply.mean_w(60.0, 100.0) == 300.0
    assert supply.mean_w(200.0, 10.0) == 600.0
    assert (supply.covers(60.0, 60.0), supply.covers(60.0, 90.0)) == (True, False)
    assert Supply().mean_w(60.0, 60.0) is None


# The proof


def proof_of(
    grid_w: float, step_w: float = 1380.0, battery_w: float = 0.0, **changes: object
) -> Verdict | None:
    """Return the verdict on a start that changes the grid power by `grid_w`."""
    before = tuple(Point(float(time), 0.0, -3000.0, 0.0) for time in (80, 85, 90, 95))
    proof = Proof().begun(Supply(points=before)).closed(100.0)
    after = tuple(
        Point(float(time), 0.0, -3000.0 + grid_w + battery_w, step_w) for time in range(105, 135, 5)
    )
    return proof.verdict(settings(**changes), Supply(points=before + after), 130.0)


@pytest.mark.parametrize(
    ("grid_w", "verdict"),
    [
        (1380, Verdict.GOOD),
        (700, Verdict.GOOD),
        (2060, Verdict.GOOD),
        (680, Verdict.MISS),
        (2080, Verdict.MISS),
        (0, Verdict.MISS),
        (-1380, Verdict.MISS),
    ],
)
def test_step_of_a_start(grid_w: float, verdict: Verdict) -> None:
    """Of 1380 W the meter must show between 690 and 2070 W."""
    assert proof_of(grid_w) is verdict


@pytest.mark.parametrize(
    ("grid_w", "verdict"), [(0, Verdict.GOOD), (-680, Verdict.GOOD), (1380, Verdict.MISS)]
)
def test_step_of_a_meter_without_the_charger(grid_w: float, verdict: Verdict) -> None:
    """A meter that does not include the charger must not show it."""
    assert proof_of(grid_w, includes_charger=False) is verdict


def test_house_battery_takes_the_step() -> None:
    """A battery that gives what the car draws keeps the grid at zero, and counts with it."""
    assert proof_of(0, battery_w=1380.0) is Verdict.GOOD


def test_no_verdict_without_a_step() -> None:
    """A car that draws less than 800 W more proves nothing, and neither do 20 s."""
    assert proof_of(700, step_w=700.0) is None
    before = (Point(80.0, 0.0, 0.0, 0.0), Point(90.0, 0.0, 0.0, 0.0))
    proof = Proof().begun(Supply(points=before)).closed(100.0)
    early = (*before, *(Point(float(time), 0.0, 1380.0, 1380.0) for time in (110, 115, 120)))
    assert proof.verdict(settings(), Supply(points=early), 120.0) is None
    assert proof.verdict(settings(), Supply(points=early), 230.0) is Verdict.NONE


@pytest.mark.parametrize(("swing_w", "verdict"), [(470, Verdict.GOOD), (490, Verdict.UNCLEAR)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_unclear_step(swing_w: float, verdict: Verdict, when: str) -> None:
    """A sun that changes by more than 35 % of the step, before or after it, proves nothing."""
    swing = {when: swing_w}
    before = tuple(
        Point(80.0 + 5 * number, 0.0, -3000.0 + swing.get("before", 0) * (number == 3), 0.0)
        for number in range(4)
    )
    after = tuple(
        Point(110.0 + 5 * number, 0.0, -1620.0 + swing.get("after", 0) * (number == 0), 1380.0)
        for number in range(5)
    )
    proof = Proof().begun(Supply(points=before)).closed(100.0)
    assert proof.verdict(settings(), Supply(points=before + after), 130.0) is verdict


def test_score() -> None:
    """Three good steps prove the meter; three more misses than good steps fail it."""
    once = Proof().after(Verdict.GOOD, 100.0)
    twice = once.after(Verdict.GOOD, 200.0)
    assert (twice.proven, twice.after(Verdict.GOOD, 300.0).proven) == (False, True)
    assert Proof().after(Verdict.GOOD, 100.0, needed=1).proven
    misses = Proof().after(Verdict.MISS, 100.0).after(Verdict.MISS, 200.0)
    assert (misses.failed, misses.after(Verdict.MISS, 300.0).failed) == (False, True)
    assert once.after(Verdict.NONE, 200.0) == once
    assert once.after(Verdict.UNCLEAR, 200.0) == once


def test_trial() -> None:
    """A good step is worth ten minutes of a little more current."""
    once = Proof().after(Verdict.GOOD, 100.0)
    assert (once.on_trial(699.0), once.on_trial(700.0)) == (True, False)
    assert not once.after(Verdict.MISS, 200.0).on_trial(200.0)
    assert not Proof().on_trial(0.0)
