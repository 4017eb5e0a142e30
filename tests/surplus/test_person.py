"""A person's change ends the control; a crash does not."""

from __future__ import annotations

import json

import pytest
from surplus_loop import Loop

from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.situation import View, Write
from goe_exporter.surplus.wear import Wear

OFF, NEUTRAL = Write("force_state", "off"), Write("force_state", "neutral")
WALL = 1_780_000_000.0


def controlled(surplus_w: float = 2300, **changes: object) -> Loop:
    """Return a loop that has charged for 20 minutes; found were 16 A, automatic phases, neutral."""
    loop = Loop()
    for name, value in changes.items():
        setattr(loop, name, value)
    loop.run(1200, surplus_w)
    loop.writes.clear()
    return loop


def written(loop: Loop) -> list[Write]:
    return [write for _, write in loop.writes]


# A person


@pytest.mark.parametrize(
    ("name", "value", "channel", "given_back"),
    [
        ("amps", 12, "max_current", [Write("phases", "auto")]),
        ("mode", 3, "phases", [Write("max_current", 16)]),
        ("force", "on", "force_state", [Write("max_current", 16), Write("phases", "auto")]),
    ],
)
def test_change_while_charging(
    name: str, value: object, channel: str, given_back: list[Write]
) -> None:
    """The second poll ends the control; the settings not changed are given back once."""
    loop = controlled()
    setattr(loop, name, value)
    assert loop.step().state == "charging"
    decision = loop.step()
    assert (decision.state, decision.reason) == ("handed_over", channel)
    assert written(loop) == given_back
    loop.run(3600, -500)
    assert loop.decisions[-1].state == "handed_over"
    assert written(loop) == given_back
    assert getattr(loop, name) == value


@pytest.mark.parametrize(
    ("name", "value", "surplus_w", "channel"),
    [("amps", 9, 3000, "max_current"), ("force", "on", -5000, "force_state")],
)
def test_change_of_what_was_just_written(
    name: str, value: object, surplus_w: float, channel: str
) -> None:
    """Before the charger has shown what was written, a third value is a person's, too."""
    loop = controlled()
    while Write(channel, getattr(loop, name)) not in written(loop)[-1:]:
        loop.run(10, surplus_w)
    setattr(loop, name, value)
    decision = loop.run(40)
    assert (decision.state, decision.reason) == ("handed_over", channel)
    assert getattr(loop, name) == value


def test_late_effect_of_an_earlier_write() -> None:
    """A charger that still shows what was written before is no person."""
    loop = controlled(3300)
    assert loop.amps == 14
    loop.ignored = {"max_current"}
    loop.run(10, 2700)
    earlier = written(loop)[-1].value
    while written(loop)[-1].value == earlier:
        loop.run(10, 1500)
    assert isinstance(earlier, int)
    loop.amps = earlier
    loop.run(60)
    assert loop.decisions[-1].state == "unconfirmed"
    loop.ignored = set()
    assert loop.run(120).state == "charging"


@pytest.mark.parametrize("force", ["neutral", "on"])
def test_several_changes_at_once(force: str) -> None:
    """Nothing that a person changed is overwritten or given back."""
    loop = controlled()
    loop.amps, loop.mode, loop.force = 12, 3, force
    loop.run(3600)
    assert (loop.amps, loop.mode, loop.force) == (12, 3, force)
    assert not written(loop)


def test_charge_now_during_a_pause() -> None:
    """When somebody allows charging, the current and phases that were found are restored."""
    loop = controlled(0)
    assert loop.force == "off"
    loop.force = "neutral"
    loop.run(20)
    loop.run(20)
    assert loop.decisions[-1].state == "handed_over"
    assert (loop.amps, loop.mode, loop.force) == (16, 0, "neutral")
    assert loop.run(7200).state == "handed_over"


def test_change_of_the_current_during_a_pause() -> None:
    """A person who sets 10 A while it pauses can charge with 10 A."""
    loop = controlled(0)
    loop.amps = 10
    loop.run(40)
    assert (loop.decisions[-1].state, loop.amps, loop.force) == ("handed_over", 10, "neutral")


def test_forced_state_ends_with_neutral() -> None:
    """A hand-over by a forced state ends when it is neutral again."""
    loop = controlled()
    loop.force = "on"
    loop.run(60)
    loop.force = "neutral"
    assert loop.run(20, 0).state in ("waiting", "paused")
    assert loop.force == "off"


def test_hand_over_ends_with_the_car() -> None:
    """The next car is controlled again."""
    loop = controlled()
    loop.force = "on"
    loop.run(60)
    loop.unplug()
    loop.run(30, 0)
    loop.plug()
    assert loop.step().writes == (OFF,)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [("amps", 12, Baseline(12, 0, "neutral")), ("mode", 3, Baseline(16, 3, "neutral"))],
)
def test_settings_of_a_hand_over(name: str, value: int, found: Baseline) -> None:
    """A setting that ended the control is the one given back after the next car."""
    loop = controlled()
    setattr(loop, name, value)
    loop.run(60)
    loop.unplug()
    loop.run(60)
    assert (loop.amps, loop.mode) == (6, 1)
    assert loop.memory.lease.baseline == found
    assert loop.memory.lease.owned == {"max_current", "phases"}


def test_current_changed_while_handed_over() -> None:
    """The current that is set during a forced state is given back later."""
    loop = controlled()
    loop.force = "off"
    loop.run(60)
    loop.amps = 12
    loop.run(60)
    loop.force = "neutral"
    loop.run(1200)
    assert loop.amps != 12
    assert loop.memory.lease.give_back(None) == (Write("max_current", 12), Write("phases", "auto"))


def test_current_changed_while_the_car_comes() -> None:
    """A change between the last poll without a car and the first with one is a person's."""
    loop = controlled()
    loop.unplug()
    loop.run(60)
    loop.plug()
    loop.amps = 12
    loop.step()
    assert loop.memory.lease.give_back(None)[0] == Write("max_current", 12)


@pytest.mark.parametrize("crash", [False, True], ids=["no car", "crash"])
@pytest.mark.parametrize("force", ["off", "on"])
def test_forced_state_gets_the_rest_back(force: str, crash: bool) -> None:
    """After a forced state without a car or an exporter, the settings found are given back."""
    loop = controlled()
    if crash:
        loop.crash(60)
    else:
        loop.unplug()
        loop.run(30)
    loop.force = force
    loop.plugged = True
    loop.run(60)
    assert loop.decisions[-1].state == "handed_over"
    assert (loop.amps, loop.mode, loop.force) == (16, 0, force)


def test_settings_between_two_cars() -> None:
    """Without a car, a change does not end the control, and is given back later."""
    loop = controlled()
    loop.unplug()
    loop.run(30)
    loop.amps = 12
    loop.run(30)
    assert (loop.decisions[-1].state, loop.amps) == ("no_car", 6)
    assert loop.memory.lease.baseline == Baseline(12, 0, "neutral")


@pytest.mark.parametrize("force", ["off", "on"])
def test_forced_state_before_the_car_comes(force: str) -> None:
    """Off or on, set without a car, holds for the next car."""
    loop = controlled()
    loop.unplug()
    loop.run(30)
    loop.force = force
    loop.run(30)
    loop.plug()
    decision = loop.run(30)
    assert (decision.state, decision.reason, loop.force) == ("handed_over", "force_state", force)


@pytest.mark.parametrize("force", ["off", "on"])
def test_found_forced_at_the_start(force: str) -> None:
    """A charger that somebody forced before the first poll is left alone."""
    loop = Loop()
    loop.force = force
    decision = loop.run(60, 3000)
    assert (decision.state, decision.reason, loop.writes) == ("handed_over", "force_state", [])
    loop.force = "neutral"
    assert loop.run(1200).state == "charging"


def test_current_lowered_to_a_limit() -> None:
    """A current that the charger lowers to a new limit does not count as a person's."""
    loop = controlled()
    loop.limit_a = loop.amps = 8
    assert loop.run(60).state == "charging"


def test_new_car_during_a_pause() -> None:
    """The charger resets the forced state on unplugging; a new plug-in time shows it."""
    loop = controlled(0)
    loop.force, loop.plugged_at = "neutral", loop.now
    decision = loop.step()
    assert (decision.state, decision.writes) == ("waiting", (OFF,))
    assert loop.run(60).state == "waiting"


def test_neutral_without_a_plug_in_time() -> None:
    """Where the plug-in time is unknown, it pauses once more before it hands over."""
    loop = controlled(0, plugged_at=None)
    loop.force = "neutral"
    assert loop.step().writes == (OFF,)
    loop.run(60)
    assert loop.decisions[-1].state in ("waiting", "paused")
    loop.force = "neutral"
    assert loop.run(20).state == "handed_over"


# The lease


def view(**changes: object) -> View:
    found = View(0.0, "charging", "neutral", 0, 16, 0.0, (0.0, 0.0, 0.0))
    return found._replace(**changes)  # type: ignore[arg-type]


def test_give_back() -> None:
    """Current first, then phases, and the pause last; or not, so that no charge begins."""
    lease = Lease(Baseline(16, 0, "neutral"), frozenset({"max_current", "phases", "force_state"}))
    paused = view(amps=6, mode=1, force="off")
    both = (Write("max_current", 16), Write("phases", "auto"))
    assert lease.give_back(paused) == (*both, NEUTRAL)
    assert lease.give_back(paused, keep_off=True) == both
    assert lease.give_back(view()) == ()
    assert Lease().give_back(paused) == ()


def test_lease_is_saved_as_json() -> None:
    """The file has the settings found and changed, the car and the wear, with Unix times."""
    lease = Lease(
        Baseline(16, 0, "neutral"),
        frozenset({"force_state", "max_current"}),
        Wear((95.0, 99.5), started_at=95.0, paused_at=99.5, pause_s=360.0),
        plugged_at=1_779_999_000.0,
        proven=True,
        handed_over="phases",
    )
    saved = lease.saved(now=100.0, wall=WALL)
    assert json.loads(json.dumps(saved)) == {
        "version": 1,
        "baseline": {"current": 16, "phase_mode": 0, "force_state": "neutral"},
        "owned": ["force_state", "max_current"],
        "plugged_at": 1_779_999_000.0,
        "proven": True,
        "handed_over": "phases",
        "wear": {
            "operations": [WALL - 5, WALL - 0.5],
            "started_at": WALL - 5,
            "paused_at": WALL - 0.5,
            "switched_at": None,
            "pause_s": 360.0,
        },
    }
    later = Lease.loaded(saved, now=7.0, wall=WALL + 60)
    assert later.wear == Wear((-58.0, -53.5), started_at=-58.0, paused_at=-53.5, pause_s=360.0)
    assert (later.baseline, later.owned, later.proven) == (lease.baseline, lease.owned, True)
    assert later.handed_over == "phases"


def test_clock_that_was_set_back() -> None:
    """A time in the future counts as now, so that a pause is never shorter."""
    saved = Lease(wear=Wear((100.0,), paused_at=100.0)).saved(now=100.0, wall=WALL)
    wear = Lease.loaded(saved, now=5.0, wall=WALL - 86_400).wear
    assert wear == Wear((5.0,), paused_at=5.0)


GOOD = Lease(Baseline(16, 0, "neutral")).saved(0.0, WALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "must be a lease of version 1"),
        ({"owned": "all"}, "owned: must be a list of channels, not 'all'"),
        ({"owned": ["name"]}, "owned: must be a list of channels"),
        ({"baseline": {"current": 99, "phase_mode": 0, "force_state": "neutral"}}, "baseline: "),
        ({"baseline": {"current": 16, "phase_mode": 0, "force_state": "maybe"}}, "baseline: "),
        ({"baseline": [16]}, "baseline: must be settings of a charger"),
        ({"plugged_at": "noon"}, "plugged_at: must be a number, not 'noon'"),
        ({"handed_over": "name"}, "handed_over: must be a channel or empty, not 'name'"),
        ({"handed_over": None}, "handed_over: must be a channel or empty, not None"),
        ({"wear": None}, "operations: must be a number, not None"),
        ({"wear": {"operations": [True], "pause_s": 0}}, "operations: must be a number, not True"),
        ({"wear": {"operations": [], "pause_s": float("nan")}}, "pause_s: must be a number"),
        ({"wear": {"operations": [], "pause_s": 0, "paused_at": "x"}}, "paused_at: "),
    ],
)
def test_unreadable_lease(change: dict[str, object], message: str) -> None:
    """Anything that was not saved by this version is a ValueError that names the field."""
    with pytest.raises(ValueError, match=message):
        Lease.loaded({**GOOD, **change}, 0.0, WALL)
    with pytest.raises(ValueError, match="must be a lease"):
        Lease.loaded([change], 0.0, WALL)


# A crash


def test_own_pause_after_a_crash() -> None:
    """With the lease, a process knows its own pause, and continues."""
    loop = controlled(0)
    loop.crash(seconds=30)
    assert loop.run(60).state in ("waiting", "paused")
    assert written(loop) == []
    loop.run(1200, 2300)
    assert loop.charging


def test_charge_after_a_crash() -> None:
    """With a proven meter, charging continues without operating the contactor."""
    loop = controlled()
    loop.crash(seconds=30)
    loop.operations.clear()
    loop.run(600, 2600)
    assert (loop.state(), loop.operations) == ((True, 1, 11), [])


def test_baseline_survives_a_crash() -> None:
    """The settings found before the crash are given back, not those after it."""
    loop = controlled()
    loop.crash()
    loop.run(60)
    assert loop.memory.lease.baseline == Baseline(16, 0, "neutral")
    assert loop.memory.lease.give_back(loop.view) == (
        Write("max_current", 16),
        Write("phases", "auto"),
    )


@pytest.mark.parametrize(
    ("name", "value", "channel", "plugged_at"),
    [
        ("amps", 12, "max_current", 940.0),
        ("mode", 3, "phases", 940.0),
        ("force", "neutral", "force_state", 940.0),
        ("amps", 12, "max_current", None),
    ],
)
def test_hand_over_survives_a_crash(
    name: str, value: object, channel: str, plugged_at: float | None
) -> None:
    """The next process stays away from the same car, too, and is back for the next one.

    Where the time of plugging in is unknown, it is taken for the same car.
    """
    loop = controlled(0 if channel == "force_state" else 2300, plugged_at=plugged_at)
    setattr(loop, name, value)
    assert loop.run(40).state == "handed_over"
    loop.writes.clear()
    loop.crash(60)
    decision = loop.run(3600, 2300)
    assert (decision.state, decision.reason) == ("handed_over", channel)
    assert written(loop) == []
    loop.unplug()
    loop.run(60)
    loop.plug()
    assert loop.run(1200).state == "charging"


def test_another_car_after_a_crash_ends_a_hand_over() -> None:
    """A car that came while no process ran is not the person's."""
    loop = controlled()
    loop.amps = 12
    loop.run(40)
    loop.crash(600)
    loop.plugged_at = loop.now - 60
    assert loop.run(1200).state == "charging"


def test_crash_during_a_give_back() -> None:
    """What a hand-over has not given back yet is given back by the next process."""
    loop = controlled()
    loop.ignored = {"phases"}
    loop.amps = 12
    loop.run(40)
    assert (loop.decisions[-1].state, loop.mode) == ("handed_over", 1)
    loop.ignored = set()
    loop.crash(60)
    loop.run(40)
    assert (loop.decisions[-1].state, loop.mode, loop.amps) == ("handed_over", 0, 12)


def test_give_back_keeps_the_limit_of_operations() -> None:
    """A hand-over does not switch the phases of a contactor that was operated 18 times."""
    loop = controlled()
    wear = loop.memory.lease.wear._replace(operations=(loop.now,) * 18)
    loop.memory = loop.memory._replace(lease=loop.memory.lease._replace(wear=wear))
    loop.amps = 12
    assert loop.run(1800).state == "handed_over"
    assert loop.mode == 1
    assert loop.run(1900).state == "handed_over"
    assert loop.mode == 0


def test_crash_loop_keeps_the_pause() -> None:
    """A process that crashes after every second step does not start charging earlier."""
    loop = controlled(0)
    loop.surplus_w = 3000
    paused_at = loop.memory.lease.wear.paused_at
    assert paused_at is not None
    pause_s = loop.memory.lease.wear.pause_s
    for _ in range(400):
        loop.step()
        loop.step()
        if loop.charging:
            break
        loop.crash()
    assert loop.now - paused_at >= max(180, pause_s)


def test_crash_loop_keeps_the_limit_of_operations() -> None:
    """A contactor is operated at most 20 times an hour, whatever crashes."""
    loop = Loop(min_pause_s=10.0, start_after_s=10.0, pause_budget_wh=1.0)
    for number in range(360):
        loop.surplus_w = 2000 if number // 6 % 2 else 0
        loop.step()
        wear = loop.memory.lease.wear
        if number % 3 == 0:
            loop.crash()
            loop.memory = Memory(
                Lease(loop.memory.lease.baseline, loop.memory.lease.owned, wear, None, proven=True)
            )
    busiest = max(sum(a <= b < a + 3600 for b in loop.operations) for a in loop.operations)
    assert 10 < busiest <= 20


def test_wear_reserves_the_pause() -> None:
    """A start needs room for its pause, a switch for two operations and the pause."""
    wear = Wear(tuple(float(second) for second in range(18)))
    assert (wear.allows(100.0, 1), wear.allows(100.0, 2)) == (True, False)
    assert not Wear((*wear.operations, 18.0)).allows(100.0, 1)
    assert Wear(wear.operations).allows(3700.0, 2)
