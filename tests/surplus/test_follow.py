"""The simple rule: the current follows a number, never pauses, and yields to a person."""

from __future__ import annotations

import pytest

from goe_exporter.surplus.follow import FollowMemory, FollowSettings, Number, follow
from goe_exporter.surplus.situation import Decision, View, Write


class Line:
    """A charger that is polled before each step of 10 s, and a number."""

    def __init__(self, **settings: object) -> None:
        self.settings = FollowSettings(**{"max_current_a": 16, **settings})  # type: ignore[arg-type]
        self.memory = FollowMemory()
        self.now, self.amps, self.bound, self.car = 1000.0, 16, 32, "charging"
        self.uptime_s, self.limit_a, self.closed = 100.0, 16, 3
        self.number: Number | None = None
        self.writes: list[Write] = []

    def step(self, value: float | None = None) -> Decision:
        self.now += 10
        self.uptime_s += 10
        if value is not None:
            self.number = Number(value, self.now)
        view = View(
            self.now,
            self.car,
            "neutral",
            0,
            self.amps,
            0.0,
            (0.0, 0.0, 0.0),
            limit_a=self.limit_a,
            closed_phases=self.closed,
            uptime_s=self.uptime_s,
        )
        self.memory, decision = follow(self.settings, self.memory, self.now, self.number, view)
        for write in decision.writes:
            self.writes.append(write)
            self.amps = min(int(write.value), self.bound)
        return decision


@pytest.mark.parametrize(
    ("amperes", "amps"),
    [(-5, 6), (0, 6), (5.9, 6), (6, 6), (9.99, 9), (10, 10), (16, 16), (40, 16)],
)
def test_follows_amperes(amperes: float, amps: int) -> None:
    """Whole amperes within the limits; less than the minimum is the minimum, never a pause."""
    line = Line()
    assert line.step(amperes).state == "following"
    assert line.amps == amps


@pytest.mark.parametrize(("phases", "amps"), [(1, 16), (2, 13), (3, 8), (0, 8)])
def test_follows_watts(phases: int, amps: int) -> None:
    """6 kW are 26, 13 or 8 A on one, two or three phases of 230 V."""
    line = Line(unit="W")
    line.closed = phases
    line.step(6000)
    assert line.amps == amps


def test_lowest_limit() -> None:
    """The charger's own limits count."""
    line = Line()
    line.limit_a = 10
    line.step(14)
    assert line.amps == 10


def test_old_number() -> None:
    """Nothing rises after 30 s; after 60 s the current is the minimum."""
    line = Line()
    line.step(10)
    line.number = Number(14, line.now)
    states = [line.step().state for _ in range(3)]
    assert (states, line.amps) == (["following"] * 3, 14)
    line.number = Number(16, line.now - 25)
    line.step()
    assert line.amps == 14
    states = [line.step().state for _ in range(4)]
    assert (states[-1], line.amps) == ("blind", 6)


@pytest.mark.parametrize("number", [None, Number(float("nan"), 1010.0)])
def test_no_number(number: Number | None) -> None:
    """Without a number the current is the minimum."""
    line = Line()
    line.number = number
    assert (line.step().state, line.amps) == ("blind", 6)


def test_person() -> None:
    """Another current in two polls is a person's, until the car leaves."""
    line = Line()
    line.step(10)
    line.step(10)
    line.amps = 13
    assert line.step(11).state == "following"
    assert line.step(11).state == "handed_over"
    assert line.amps == 13
    line.car = "idle"
    assert line.step(11).state == "no_car"
    line.car = "charging"
    line.step(11)
    assert line.amps == 11


def test_restart_of_the_charger() -> None:
    """It loses the temporary current, which is written again."""
    line = Line()
    line.step(10)
    line.step(10)
    line.uptime_s, line.amps = 0.0, 16
    line.step(10)
    assert (line.amps, line.memory.handed_over) == (10, False)


def test_bound_by_the_configured_current() -> None:
    """The temporary current cannot exceed the configured one (protocol §5.1): no endless writes."""
    line = Line()
    line.bound = line.amps = 10
    for _ in range(20):
        line.step(16)
    assert (line.amps, len(line.writes), line.memory.handed_over) == (10, 1, False)


def test_at_most_120_writes_an_hour() -> None:
    """And none within 10 s of another."""
    line = Line()
    for number in range(359):
        line.step(8 + number % 2 * 4)
    assert len(line.writes) == 120


def test_unreachable() -> None:
    """Without a poll nothing is written."""
    outcome = follow(FollowSettings(16), FollowMemory(), 100.0, Number(10, 100.0), None)
    assert outcome == (FollowMemory(), Decision("unreachable"))
