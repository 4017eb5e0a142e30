"""Whatever happens, the decision keeps its promises.

A charger that now and then ignores writes, restarts, is unplugged, changed by a person or not
reachable; meters that freeze, die, repeat themselves or lie; a process that crashes and begins
again with its lease.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable

import pytest
from surplus_loop import Loop

from goe_exporter.surplus.lease import Lease
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import Write

HOUR_S = 3600.0
SETTINGS = (
    {},
    {"phases": 1},
    {"phases": 3},
    {"min_current_a": 8, "max_current_a": 13, "one_phase_max_a": 10},
    {"battery": "house", "reserve_w": -200.0},
    {"battery": "car", "car_phases": 2},
    {"max_current_a": 32, "one_phase_max_a": 32, "min_pause_s": 600.0},
    {"min_pause_s": 10.0, "start_after_s": 10.0, "pause_budget_wh": 1.0},
)
FAULTS = (*(None,) * 10, "blind", "wrong_sign", "frozen", "repeating", "dead")


class Story:
    """Random events in a loop, and what must hold after each step."""

    def __init__(self, seed: int, settings: dict[str, object]) -> None:
        self.chance = random.Random(seed)
        self.loop = Loop(**settings)
        self.loop.age_known = self.chance.random() < 0.7
        self.sun_w = self.load_w = 0.0
        self.operations: deque[float] = deque()
        self.current_writes: deque[float] = deque()
        self.opened_at = float("-inf")
        events: list[tuple[float, Callable[[], None]]] = [
            (0.02, self.clouds),
            (0.05, self.plugs),
            (0.1, self.appears),
            (0.005, self.unplugs),
            (0.001, self.person),
            (0.01, self.meter),
            (0.01, self.ignores),
            (0.005, self.vanishes),
            (0.001, self.restarts),
            (0.005, self.limits),
            (0.01, self.refuses),
        ]
        hectic = [(0.5, self.clouds), (0.001, self.crashes)]
        clicking = [(0.1, self.clouds), (0.3, self.plugs), (0.05, self.unplugs), *hectic[1:]]
        self.events = self.chance.choice(
            [[*events, (0.01, self.kettle), (0.01, self.crashes)], hectic, clicking]
        )

    def clouds(self) -> None:
        self.sun_w = self.chance.choice((0, 500, 1500, 2500, 5000, 8000, 14000))

    def kettle(self) -> None:
        self.load_w = self.chance.choice((200, 300, 2300, 4000))

    def unplugs(self) -> None:
        self.loop.unplug()

    def plugs(self) -> None:
        if not self.loop.plugged:
            self.loop.car_phases = self.chance.choice((1, 2, 3, 3, 3))
            self.loop.car_a = self.chance.choice((4, 8, 16, 16, 32))
            self.loop.plug()

    def person(self) -> None:
        change = self.chance.choice(("amps", "mode", "force"))
        values = {"amps": (6, 10, 16), "mode": (0, 1, 3), "force": ("neutral", "off", "on")}
        setattr(self.loop, change, self.chance.choice(values[change]))

    def meter(self) -> None:
        self.loop.meter_fault = self.chance.choice(FAULTS)

    def ignores(self) -> None:
        keys = ("phases", "max_current", "force_state")
        self.loop.ignored = {key for key in keys if self.chance.random() < 0.1}

    def vanishes(self) -> None:
        self.loop.reachable = False

    def appears(self) -> None:
        self.loop.reachable = True

    def restarts(self) -> None:
        self.loop.uptime_s = 0.0

    def limits(self) -> None:
        self.loop.limit_a = self.chance.choice((0, 6, 7, 10, *(16,) * 4, 20, 32))

    def refuses(self) -> None:
        reasons = (*("",) * 12, "access_control_wait", "min_pause_duration", "phase_switch")
        self.loop.refused_reason = self.chance.choice(reasons)
        self.loop.error = self.chance.random() < 0.05
        self.loop.energy_limit = self.chance.random() < 0.2
        self.loop.full = self.chance.random() < 0.1

    def crashes(self) -> None:
        loop, wall = self.loop, 1_780_000_000.0
        saved = json.loads(json.dumps(loop.memory.lease.saved(loop.now, wall)))
        pause_s = self.chance.choice((0.0, 5.0, 60.0))
        loop.now += pause_s
        loop.memory = Memory(Lease.loaded(saved, loop.now, wall + pause_s))
        self.current_writes.clear()  # They do not wear the contactor, and are forgotten.

    def step(self) -> None:
        for likelihood, event in self.events:
            if self.chance.random() < likelihood:
                event()
        loop = self.loop
        self.sun_w *= self.chance.uniform(0.98, 1.02)
        loop.surplus_w = self.sun_w - self.load_w
        if loop.settings.battery:
            loop.battery_w = self.chance.uniform(-3000, 3000)
        before, operated = (loop.amps, loop.phases, loop.force), len(loop.operations)
        pending = {each.write for each in loop.memory.pending}
        decision = loop.step()
        for write in decision.writes:
            self.allowed(write, decision.state)
            if loop.plugged and decision.state != "handed_over":
                self.not_raised_blindly(write, before)
                self.wear(write, before[2], again=write in pending)
        assert len(loop.operations) - operated <= 4

    def allowed(self, write: Write, state: str) -> None:
        """Only what `set` accepts, and nothing beyond the configuration."""
        channel, value = write
        settings: Settings = self.loop.settings
        if state == "handed_over":
            given_back = {"max_current": range(6, 33), "phases": ("auto", 1, 3)}
            assert value in given_back.get(channel, ("neutral",))
        elif channel == "force_state":
            assert value in ("neutral", "off")
        elif channel == "phases":
            assert value in ((1, 3) if settings.phases is None else (settings.phases,))
        else:
            assert channel == "max_current"
            top = max(settings.min_current_a, min(settings.max_current_a, self.loop.limit_a))
            assert settings.min_current_a <= int(value) <= top or not self.loop.plugged

    def not_raised_blindly(self, write: Write, before: tuple[int, int, str]) -> None:
        """Nothing raises the power unless the sample is fresh."""
        loop, (amps, phases, force) = self.loop, before
        sample = loop._sample
        age_s = float("inf") if sample is None else loop.now - sample.measured_at
        if age_s <= 30:
            return
        channel, value = write
        assert not (channel == "max_current" and int(value) > amps)
        assert not (channel == "phases" and value != 1 and phases == 1)
        assert not (channel == "force_state" and value == "neutral" and force == "off")

    def wear(self, write: Write, force: str, *, again: bool) -> None:
        """The contactor, the pauses and the changes of the current keep their limits."""
        now = self.loop.now
        for times in (self.operations, self.current_writes):
            while times and times[0] <= now - HOUR_S:
                times.popleft()
        if write.channel == "max_current":
            self.current_writes.append(now)
            assert len(self.current_writes) <= 120
        if again:
            return
        if write == ("force_state", "off"):
            self.operations.append(now)
            self.opened_at = now
        elif write.channel == "force_state":
            assert now - self.opened_at >= self.loop.settings.min_pause_s
            self.operations.append(now)
            assert len(self.operations) <= 20
        elif write.channel == "phases" and force != "off":
            self.operations += [now, now]
            assert len(self.operations) <= 20


@pytest.mark.parametrize("number", range(3 * len(SETTINGS)))
def test_random_steps(number: int) -> None:
    """1500 steps with each of several configurations, three times."""
    story = Story(number, SETTINGS[number % len(SETTINGS)])
    for _ in range(1500):
        story.step()


def test_random_steps_charge() -> None:
    """The stories are about charging: they contain starts, pauses and phase switches."""
    stories = [Story(number, SETTINGS[0]) for number in range(6)]
    for story in stories:
        for _ in range(1500):
            story.step()
    written = [write for story in stories for _, write in story.loop.writes]
    assert written.count(Write("force_state", "neutral")) > 30
    assert written.count(Write("force_state", "off")) > 30
    assert written.count(Write("phases", 3)) > 3
    states = {each.state for story in stories for each in story.loop.decisions}
    assert states >= {"blind", "charging", "handed_over", "no_car", "paused", "unconfirmed"}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100))
def test_a_million_random_steps(number: int) -> None:
    """A hundred times ten thousand steps."""
    story = Story(1000 + number, SETTINGS[number % len(SETTINGS)])
    for _ in range(10_000):
        story.step()
