"""The demonstration's fleet: different situations, and the same ones in every run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clocks import Clock

from goe_exporter.simulator import Box, Simulator, fleet

IDLE, CHARGING, WAITING, COMPLETE, ERROR = 1, 2, 3, 4, 5
GROUND_FAULT, PHASE_FAULT = 8, 3


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def network(clock: Clock) -> Iterator[Simulator]:
    """Yield a network of chargers at five times the speed of the clock."""
    with Simulator(speed=5, clock=clock) as running:
        yield running


def added(network: Simulator, number: int) -> list[Box]:
    """Return the boxes of a fleet that was just added."""
    boxes = []
    for member in fleet(number):
        boxes.append(network.add(member.charger, story=member.story))
        boxes[-1].fault = member.fault
    return boxes


def states(boxes: list[Box]) -> list[int]:
    """Return the state of each car now."""
    for box in boxes:
        box.catch_up()
    return [box.charger.car_state for box in boxes]


def test_the_first_three(network: Simulator, clock: Clock) -> None:
    """Within two seconds one charges, one is full and one has a ground fault."""
    boxes = added(network, 3)
    states(boxes)
    clock.now += 2
    assert states(boxes) == [CHARGING, COMPLETE, ERROR]
    first, full, faulty = (box.charger for box in boxes)
    assert first.power_w > 3_000
    assert full.session_wh > 4_000
    assert faulty.error == GROUND_FAULT
    assert [box.fault for box in boxes] == [None, None, None]


def test_forty(network: Simulator, clock: Clock) -> None:
    """Forty chargers are in every state, two of them do not answer, and none equals another."""
    boxes = added(network, 40)
    states(boxes)
    clock.now += 2
    found = states(boxes)
    assert {state: found.count(state) for state in sorted(set(found))} == {
        IDLE: 12,
        CHARGING: 16,
        WAITING: 2,
        COMPLETE: 8,
        ERROR: 2,
    }
    assert [place for place, box in enumerate(boxes, 1) if box.fault] == [14, 34]
    for values in (
        {box.charger.serial for box in boxes},
        {box.charger.name for box in boxes},
        {box.charger.energy_wh for box in boxes},
    ):
        assert len(values) == 40
    assert {box.charger.model for box in boxes} == {"V2", "V3", "V4", "PRO"}


def test_every_run_is_the_same(clock: Clock) -> None:
    """Two runs show the same after the same time, and the number of chargers does not matter."""
    seen = []
    for number in (6, 8):
        with Simulator(speed=5, clock=clock) as network:
            boxes = added(network, number)
            states(boxes)
            clock.now += 360
            found = states(boxes)[:6]
            seen.append((found, [box.charger.energy_wh for box in boxes[:6]]))
    assert seen[0] == seen[1]


def test_two_hours(network: Simulator, clock: Clock) -> None:
    """Cars come and go for two simulated hours; meters never fall and errors change."""
    boxes = added(network, 6)
    seen: list[set[int]] = [set() for _ in boxes]
    errors = set()
    before = [box.charger.energy_wh for box in boxes]
    for _minute in range(120):
        clock.now += 12
        for place, state in enumerate(states(boxes)):
            seen[place].add(state)
        errors.add(boxes[2].charger.error)
        after = [box.charger.energy_wh for box in boxes]
        assert all(old <= new for old, new in zip(before, after, strict=True))
        before = after
    charging, full, faulty, _idle, _charging, waiting = seen
    assert {IDLE, CHARGING} <= charging
    assert {IDLE, CHARGING, COMPLETE} <= full
    assert {CHARGING, ERROR} <= faulty
    assert {CHARGING, WAITING} <= waiting
    assert {0, GROUND_FAULT, PHASE_FAULT} <= errors
