"""When it starts, pauses, changes phases and current, and when it stays away."""

from __future__ import annotations

from itertools import pairwise

import pytest
from surplus_loop import Loop

from goe_exporter.surplus.decision import decide
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.situation import Decision, Situation, Write

OFF, NEUTRAL = Write("force_state", "off"), Write("force_state", "neutral")


def charging(surplus_w: float, **settings: object) -> Loop:
    """Return a loop that has charged for 20 minutes with this surplus, its meter proven."""
    loop = Loop(**settings)
    loop.run(10, surplus_w)
    loop.proven().run(1190)
    assert loop.charging
    loop.writes.clear()
    return loop


def seconds_until(loop: Loop, state: str, most: float = 3600) -> float:
    """Return the time (s) until a decision has this state."""
    begin = loop.now
    while loop.now - begin < most:
        if loop.step().state == state:
            return loop.now - begin
    return float("inf")


def written(loop: Loop) -> list[Write]:
    return [write for _, write in loop.writes]


# Start and pause


def test_plugged_in_in_the_dark() -> None:
    """A car that charges without surplus is paused by the first decision."""
    loop = Loop()
    decision = loop.run(10, -300)
    assert (decision.state, decision.writes) == ("waiting", (OFF,))
    assert loop.run(3600).state == "waiting"
    assert written(loop) == [OFF]


def test_first_start() -> None:
    """After a pause of 3 minutes, at 6 A on one phase until the meter has proven itself.

    The start and two tests with 10 A for half a minute must show in the meter.
    """
    loop = Loop()
    loop.run(10, 3000)
    assert seconds_until(loop, "charging") == 180
    starts = [write for _, write in loop.writes if write != OFF]
    assert starts == [Write("phases", 1), Write("max_current", 6)]
    amps = []
    for _ in range(24):
        loop.step()
        amps.append(loop.amps)
    changes = [new for old, new in pairwise([6, *amps]) if new != old]
    assert changes == [10, 6, 10, 13]
    assert amps.index(13) == pytest.approx(13, abs=3)
    assert amps[:4] == [6] * 4


def test_another_car_in_the_sun() -> None:
    """Each car is paused first, because the meter proves itself by a start."""
    loop = charging(3000)
    loop.unplug()
    loop.run(60)
    loop.writes.clear()
    loop.plug()
    assert loop.step().writes == (OFF,)
    loop.run(400)
    assert loop.state() == (True, 1, 13)


def test_start_needs_a_minute_of_sun() -> None:
    """The mean of 60 s counts: 1380 W and 20 W more."""
    loop = Loop()
    loop.run(300, 0)
    assert seconds_until(loop, "charging", 600) == float("inf")
    loop.surplus_w = 1399
    assert seconds_until(loop, "charging", 600) == float("inf")
    loop.surplus_w = 1410
    assert seconds_until(loop, "charging", 600) <= 70


@pytest.mark.parametrize(
    ("surplus_w", "seconds"),
    [(0, 310), (-3000, 310), (1080, 1440), (690, 630), (1300, 5400)],
)
def test_pause_after_120_watt_hours(surplus_w: float, seconds: float) -> None:
    """120 Wh may be drawn beyond the surplus: 313 s at 1380 W, 24 minutes at 300 W."""
    loop = charging(1400)
    loop.surplus_w = surplus_w
    assert seconds_until(loop, "paused", 6000) == pytest.approx(seconds, abs=10)
    assert written(loop)[-1] == OFF


def test_kettle_does_not_pause() -> None:
    """2 kW for 3 minutes are 69 Wh at most, and the sun refills the budget."""
    loop = charging(1500)
    for _ in range(5):
        assert loop.run(180, -500).state == "charging"
        loop.run(1800, 1600)
    assert OFF not in written(loop)


def test_budget_is_told() -> None:
    """A minute at 1380 W without sun leaves 97 of 120 Wh."""
    loop = charging(1400)
    assert loop.run(10).budget_wh == 120
    assert loop.run(60, 0).budget_wh == pytest.approx(97, abs=0.5)


def test_tapering_car_drains_only_what_it_draws() -> None:
    """A car that takes 4 A (920 W) goes on with 1 kW of surplus."""
    loop = charging(2300, car_phases=1)
    loop.car_a, loop.surplus_w = 4, 1000
    assert seconds_until(loop, "paused", 7200) == float("inf")


def test_pause_lasts_three_minutes_and_doubles() -> None:
    """Charges of less than 15 minutes double the next pause: 3, 6, 12, 15 minutes at least."""
    loop = Loop()
    loop.run(10, 2000)
    loop.proven().run(190)
    pauses = []
    for _ in range(5):
        loop.surplus_w = 2000
        pauses.append(seconds_until(loop, "charging"))
        loop.run(60)
        loop.surplus_w = 0
        seconds_until(loop, "paused")
    assert pauses[1:] == [360, 720, 900, 900]
    loop.surplus_w = 2000
    seconds_until(loop, "charging")
    loop.run(1000)
    loop.surplus_w = 0
    seconds_until(loop, "paused")
    loop.surplus_w = 2000
    assert seconds_until(loop, "charging") == 180


# Phases


def test_three_phases_after_five_minutes() -> None:
    """4640 W for five minutes; the lower current is shown before the phases are switched."""
    loop = charging(3900)
    loop.surplus_w = 5000
    assert loop.state() == (True, 1, 16)
    begin = loop.now
    loop.run(600)
    assert loop.state() == (True, 3, 7)
    (lower_at, lower), (switch_at, switch) = loop.writes[:2]
    assert lower.channel == "max_current"
    assert int(lower.value) <= 7
    assert switch == Write("phases", 3)
    assert lower_at < switch_at
    # 202 s until the mean of five minutes is 4640 W.
    assert switch_at - begin == pytest.approx(220, abs=15)


def test_fifteen_minutes_between_two_switches() -> None:
    """After going back to one phase, three are used 15 minutes later at the earliest."""
    loop = charging(6000)
    loop.surplus_w = 2000
    while loop.phases == 3:
        loop.step()
    down_at = loop.now
    loop.surplus_w = 6000
    while loop.phases == 1:
        loop.step()
    assert 900 <= loop.now - down_at <= 920


def test_one_phase_after_100_watt_hours() -> None:
    """2000 W instead of 4140: 168 s; then the phases first, and the current when they are shown."""
    loop = charging(6000)
    loop.surplus_w = 2000
    begin = loop.now
    while loop.phases == 3:
        loop.step()
    assert loop.now - begin == pytest.approx(170, abs=20)
    loop.run(20)
    assert [write for write in written(loop) if write.channel == "phases"] == [Write("phases", 1)]
    assert written(loop)[-2:] == [Write("phases", 1), Write("max_current", 8)]
    assert OFF not in written(loop)


def test_three_phases_pause_without_sun() -> None:
    """If the surplus is not enough for one phase either, it pauses."""
    loop = charging(6000)
    loop.surplus_w = 200
    assert seconds_until(loop, "paused") < 120
    assert loop.phases == 3


@pytest.mark.parametrize(
    ("phases", "surplus_w", "state"),
    [
        (1, 9000, (True, 1, 16)),
        (3, 9000, (True, 3, 13)),
        (3, 4140, (False, 0, 0)),
        (3, 4160, (True, 3, 6)),
    ],
)
def test_fixed_phases(phases: int, surplus_w: float, state: tuple[bool, int, int]) -> None:
    """`phases: 1` and `phases: 3` never switch while charging; 3 starts with 4160 W."""
    loop = Loop(phases=phases)
    loop.run(1800, surplus_w)
    assert loop.state() == state
    assert len({write for write in written(loop) if write.channel == "phases"}) <= 1


@pytest.mark.parametrize(("car_phases", "amps"), [(1, 13), (2, 16)])
def test_cars_with_fewer_phases(car_phases: int, amps: int) -> None:
    """A car on one phase stays there with 3 kW; one on two phases uses 2 * 16 A with 9 kW."""
    loop = Loop()
    loop.car_phases = car_phases
    loop.run(3600, 3000 if car_phases == 1 else 9000)
    assert loop.state() == (True, car_phases, amps)


def test_no_switch_with_an_energy_limit() -> None:
    """A phase switch restarts the counter of the session's energy, so none is made."""
    loop = charging(3900)
    loop.energy_limit = True
    loop.run(1800, 8000)
    assert loop.state() == (True, 1, 16)


def test_charger_that_ignores_its_phases() -> None:
    """After three writes without an effect the phases count as fixed, until it restarts."""
    loop = charging(3900)
    loop.ignored = {"phases"}
    loop.run(1800, 8000)
    assert written(loop).count(Write("phases", 3)) == 3
    assert loop.state() == (True, 1, 16)
    loop.ignored = set()
    loop.run(1800)
    assert loop.phases == 1
    loop.uptime_s = 0
    loop.run(1800)
    assert loop.phases == 3


# Current


def test_lowers_at_once_and_raises_to_the_mean() -> None:
    """The current follows the surplus in whole amperes, at once when it falls."""
    loop = charging(3000)
    assert loop.amps == 13
    loop.run(10, 2000)
    assert loop.amps == 8
    loop.run(20, 2600)
    assert loop.amps == 11


def test_never_above_the_lowest_limit() -> None:
    """The charger's own limits and the configuration limit the current."""
    loop = charging(9000)
    assert loop.state() == (True, 3, 13)
    loop.limit_a = 10
    loop.run(30)
    assert loop.amps == 10
    assert charging(9000, max_current_a=8).state() == (True, 3, 8)
    assert charging(4000, one_phase_max_a=12).state() == (True, 1, 12)


def test_limit_below_the_minimum_pauses() -> None:
    """A car that needs 8 A is not offered 7."""
    loop = charging(3000, min_current_a=8)
    loop.limit_a = 7
    decision = loop.run(10)
    assert (decision.state, decision.reason) == ("paused", "current_limit")
    assert loop.run(600).reason == "current_limit"


def test_car_that_takes_less_is_not_chased() -> None:
    """The offer stays within 2 A of what the car takes, so a changing sun needs few writes."""
    loop = charging(3000)
    loop.car_a = 8
    loop.run(120)
    loop.writes.clear()
    for surplus_w in (3300, 2900, 3600, 3100) * 20:
        loop.run(20, surplus_w)
    assert loop.amps == 10
    assert len(loop.writes) <= 4
    loop.car_a = 16
    loop.run(120, 3300)
    assert loop.amps == 14


def test_at_most_120_changes_of_the_current_an_hour() -> None:
    """A sun that changes every 20 s; the last change goes to the minimum."""
    loop = charging(3000)
    for number in range(180):
        loop.run(20, 3600 if number % 2 else 1500)
    assert 110 < len(loop.writes) <= 120
    assert loop.writes[-1][1] == Write("max_current", 6)
    assert loop.amps == 6


# The meter


def test_stale_sample() -> None:
    """Nothing rises after 30 s, a lower surplus still counts, and at 60 s it pauses."""
    loop = charging(2300)
    loop.run(10)
    loop.meter_fault = "frozen"
    decisions = [loop.step() for _ in range(8)]
    states = [each.state for each in decisions]
    assert states == [*["charging"] * 6, "blind", "blind"]
    assert decisions[6].writes == (OFF,)
    assert decisions[6].reason == "stale"


def test_never_raised_with_an_old_sample() -> None:
    """Between 30 and 60 s the current stays."""
    loop = charging(1600)
    loop.surplus_w = 3600
    sample_at = loop.now
    loop.meter_fault = "frozen"
    loop.run(60)
    assert loop.now - sample_at == 60
    assert all(write.channel != "max_current" for write in written(loop))


def test_start_waits_for_a_fresh_sample() -> None:
    """A start that waits for the phases to be shown is not finished with an old sample."""
    loop = Loop()
    loop.ignored = {"phases"}
    loop.surplus_w = 3000
    while Write("phases", 1) not in written(loop):
        loop.step()
    loop.meter_fault = "frozen"
    loop.run(30)
    loop.mode = 1
    assert loop.run(20).state == "charging"
    assert NEUTRAL not in written(loop)


def test_comes_back_after_two_samples() -> None:
    """After a gap it goes on as after a pause."""
    loop = charging(2300)
    loop.meter_fault = "dead"
    loop.run(120)
    assert not loop.charging
    loop.meter_fault = None
    assert loop.step().state == "paused"
    assert seconds_until(loop, "charging") <= 180


def test_no_sample_at_all() -> None:
    """Without a meter the car is paused."""
    loop = Loop()
    loop.meter_fault = "dead"
    decision = loop.step()
    assert (decision.state, decision.reason, decision.writes) == ("blind", "stale", (OFF,))


@pytest.mark.parametrize(("grid_w", "car_a"), [(None, 32), (0.0, 32), (None, 3)])
def test_frozen_value_of_unknown_age(grid_w: float | None, car_a: float) -> None:
    """A value that is identical for 5 minutes while charging is frozen.

    That holds for 0 W too, and for a car that takes 3 A.
    """
    loop = Loop()
    loop.age_known = False
    loop.car_a = car_a
    for number in range(120):
        loop.run(10, 2300 + number)
    assert loop.charging
    loop.meter_fault = "repeating"
    if grid_w is not None:
        assert loop._sample is not None
        loop._sample = loop._sample._replace(grid_w=grid_w)
    assert 290 <= seconds_until(loop, "blind") <= 320
    assert loop.decisions[-1].reason == "frozen"
    assert loop.run(1200).state == "blind"
    loop.meter_fault = None
    assert seconds_until(loop, "charging") <= 600


def test_repeated_value_of_known_age_is_not_frozen() -> None:
    """A meter that stamps its samples may show the same power twice."""
    loop = charging(2300)
    assert loop.run(1200).state == "charging"


@pytest.mark.parametrize("fault", ["blind", "wrong_sign"])
def test_meter_that_does_not_prove_itself(fault: str) -> None:
    """Three starts at 6 A on one phase, then nothing until the car leaves: 0.1 kWh."""
    loop = Loop()
    loop.meter_fault = fault
    loop.surplus_w = 5000 if fault == "blind" else -5000
    energy_wh = 0.0
    for _ in range(360 * 8):
        energy_wh += loop.power_w * 10 / 3600
        assert loop.state()[1:] in ((0, 0), (1, 6), (3, 16))
        loop.step()
    assert (loop.decisions[-1].state, loop.decisions[-1].reason) == ("blind", "no_response")
    assert written(loop).count(NEUTRAL) == 3
    assert energy_wh < 120
    loop.unplug()
    loop.run(30)
    loop.meter_fault, loop.surplus_w = None, 3000
    loop.plug()
    loop.run(1200)
    assert loop.state() == (True, 1, 13)


def test_meter_in_a_weak_sun() -> None:
    """The tests need 920 W more than there is, for half a minute each: 15 Wh in all."""
    loop = Loop()
    loop.surplus_w = 1500
    assert seconds_until(loop, "charging") == 190
    imported_wh = 0.0
    for _ in range(60):
        loop.step()
        imported_wh += max(0.0, loop.power_w - loop.surplus_w) * 10 / 3600
    assert (loop.memory.proof.proven, loop.state()) == (True, (True, 1, 6))
    assert 10 < imported_wh < 20
    assert written(loop).count(NEUTRAL) == 1


def test_meter_that_answers_only_once() -> None:
    """Without a proof within ten minutes it pauses; the next start is another step."""
    loop = Loop()
    loop.surplus_w = 3000
    seconds_until(loop, "charging")
    while loop.memory.proof.score < 1:
        loop.step()
    loop.ignored = {"max_current"}
    answered_at = loop.now
    while loop.charging:
        loop.step()
    assert 600 <= loop.now - answered_at <= 730
    assert loop.decisions[-1].reason == "unproven"


def test_slow_meter() -> None:
    """A value a minute is enough; the pause comes within 75 s of the last one."""
    loop = Loop()

    def measure(seconds: int) -> list[Decision]:
        """Let the meter measure once a minute."""
        decisions = []
        for _ in range(seconds // 10):
            loop.meter_fault = None if loop.now % 60 == 0 else "frozen"
            decisions.append(loop.step())
        return decisions

    loop.surplus_w = 2300
    measure(3600)
    assert loop.state() == (True, 1, 10)
    loop.meter_fault = "dead"
    assert loop._sample is not None
    measured_at = loop._sample.measured_at
    seconds_until(loop, "blind")
    assert loop.now - measured_at == 70


def test_house_battery_first() -> None:
    """What the battery discharges is a deficit; what it charges with is not available."""
    loop = Loop(battery="house")
    loop.battery_w = -2000
    decision = loop.run(30, 3000)
    assert decision.surplus_w == pytest.approx(900)
    loop.battery_w = 500
    assert loop.run(10).surplus_w == pytest.approx(2900)


def test_car_before_the_house_battery() -> None:
    """What the battery charges with is available."""
    loop = Loop(battery="car")
    loop.battery_w = -2000
    assert loop.run(30, 3000).surplus_w == pytest.approx(3000)


def test_missing_battery_value_is_no_sample() -> None:
    """Its power is never taken as zero."""
    loop = Loop(battery="house")
    assert loop.run(10, 5000).state == "blind"


def test_reserve() -> None:
    """1 kW stays for the grid."""
    assert charging(3300, reserve_w=1000.0).state() == (True, 1, 10)


# The charger


def test_no_car() -> None:
    """The next car starts with 6 A on one phase; a pause of ours has ended by itself."""
    loop = charging(9000)
    loop.unplug()
    loop.run(60)
    assert loop.decisions[-1].state == "no_car"
    assert (loop.force, loop.mode, loop.amps) == ("neutral", 1, 6)


def test_idle_for_seconds_during_a_phase_switch() -> None:
    """The charger shows idle during a switch, which does not mean that the car has left."""
    loop = charging(6000)
    view = loop.view._replace(car="idle", reason="phase_switch", allowed=False)
    sample = loop._sample
    memory, decision = decide(loop.settings, loop.memory, Situation(loop.now, sample, view))
    assert memory.plugged
    assert decision.state == "charging"


def test_unreachable() -> None:
    """Without a poll for three intervals nothing is written; then it goes on."""
    loop = charging(2300)
    loop.reachable = False
    decision = loop.run(60)
    assert (decision.state, loop.writes) == ("unreachable", [])
    loop.reachable = True
    assert loop.run(60).state == "charging"


def test_not_allowed() -> None:
    """A charger that does not allow charging for 30 s is left alone, and the reason is told.

    After that it is as if the car had just been plugged in.
    """
    loop = charging(2300)
    loop.refused_reason = "access_control_wait"
    assert loop.run(30).state == "charging"
    decision = loop.run(20)
    assert (decision.state, decision.reason) == ("not_allowed", "access_control_wait")
    loop.refused_reason = ""
    assert loop.run(10, 0).writes == (OFF,)


def test_full_car() -> None:
    """A car that takes nothing for ten minutes is full, and paused if it takes again at night."""
    loop = charging(2300)
    loop.full = True
    assert loop.run(590).state == "charging"
    assert loop.run(30).state == "car_full"
    loop.full = False
    assert loop.run(10, 0).writes == (OFF,)


def test_error() -> None:
    """With an error nothing is written; if it ends at night, the car is paused."""
    loop = charging(2300)
    loop.error = True
    assert (loop.step().state, loop.writes) == ("charger_error", [])
    loop.error = False
    assert loop.run(10, 0).writes == (OFF,)


def test_unconfirmed_write_is_repeated() -> None:
    """After 10, 20, 40 and 60 s, and every minute from then on."""
    loop = charging(2300)
    loop.ignored = {"force_state"}
    loop.surplus_w = -100
    seconds_until(loop, "unconfirmed")
    loop.run(400)
    times = [time for time, write in loop.writes if write == OFF]
    gaps = [later - before for before, later in pairwise(times)]
    assert gaps[:5] == [10, 20, 40, 60, 60]


def test_restart_of_the_charger() -> None:
    """It may lose the written settings, which does not count as a person's change."""
    loop = charging(2300)
    loop.surplus_w = 0
    seconds_until(loop, "paused")
    loop.uptime_s, loop.force, loop.amps, loop.mode = 0.0, "neutral", 16, 0
    decision = loop.step()
    assert (decision.state, decision.writes) == ("paused", (OFF,))
    assert loop.run(120).state == "paused"


def test_first_step_without_a_poll() -> None:
    """Nothing is known before the first poll."""
    loop = Loop()
    memory, decision = decide(loop.settings, Memory(), Situation(5.0, None, None))
    assert decision == Decision("unreachable")
    assert memory.expected is None
