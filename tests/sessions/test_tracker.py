"""The rules that divide a charger's energy into sessions, each with a sequence of polls.

The expected sessions are computed by hand.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from goe_exporter.sessions.memory import Memory
from goe_exporter.sessions.observation import Moment, Observation
from goe_exporter.sessions.session import Correction, Session, Unassigned
from goe_exporter.sessions.tracker import Event, track

MIDNIGHT = 1_767_225_600
"""2026-01-01 00:00 UTC."""

BOOTED = -100_000.0
"""When the charger started (s, on the same scale as the times of polls)."""

IDLE, CHARGING, WAITING, COMPLETE = ("idle", "charging", "waiting", "complete")


class Polls:
    """Polls of a charger; times, including the machine's uptime, are seconds after midnight.

    `poll` takes what changes from now on: the state of the car, meter and counter (Wh), `plugged`
    (the time of the plug-in on the charger's clock), `booted` (when the charger started), and other
    fields of an observation.
    """

    def __init__(self, api: int = 2) -> None:
        self.memory: Memory | None = None
        self.events: list[Event] = []
        self._api = api
        self._boot = "boot-1"
        self._clock = float(MIDNIGHT)
        self._trusted = True
        self._car, self._meter, self._counter = IDLE, 1_000, 0.0
        self._plugged: float | None = None
        self._booted = BOOTED
        self._more: dict[str, Any] = {"cable": True, "card": None}

    def poll(
        self,
        time: float,
        car: str | None = None,
        meter: int | None = None,
        counter: float | None = None,
        **more: Any,
    ) -> Polls:
        """Poll at a time, and restore the memory as after a restart of the exporter."""
        self._car = self._car if car is None else car
        self._meter = self._meter if meter is None else meter
        self._counter = self._counter if counter is None else counter
        self._plugged = more.pop("plugged", self._plugged)
        self._booted = more.pop("booted", self._booted)
        self._more |= more
        known = {IDLE: False, CHARGING: True, WAITING: True, COMPLETE: True}
        mark = None if self._plugged is None or self._api == 1 else self._plugged - self._booted
        found = Observation(
            Moment(time, self._clock + time, self._boot, self._trusted),
            self._api,
            15.1,
            known.get(self._car),
            charging=self._car == CHARGING,
            meter_wh=self._meter,
            counter_wh=self._counter,
            uptime=time - self._booted,
            mark=mark,
        )
        found = dataclasses.replace(found, **self._more)
        self.memory, events = track("garage", "7", self.memory, found)
        self.events += events
        assert self.memory is None or Memory.from_json(self.memory.to_json()) == self.memory
        self._check_books()
        return self

    def clock(self, ahead: float, *, trusted: bool = True, boot: str = "boot-1") -> Polls:
        """Set how far the clock is ahead of the uptime, and the boot of the machine."""
        self._clock, self._trusted, self._boot = ahead, trusted, boot
        return self

    def steady(self, since: int, until: int, wh: int = 10) -> Polls:
        """Poll every 5 s, and let both counters rise by the same amount each time."""
        for time in range(since, until + 1, 5):
            self.poll(time, meter=self._meter + wh, counter=self._counter + wh)
        return self

    def leave(self, time: int, *, meter: int | None = None) -> Polls:
        """Poll the charger while the plug is pulled at the car, then at the charger."""
        self.poll(time, IDLE, meter, card=None)
        self.poll(time + 5, IDLE, cable=False)
        self.poll(time + 10, IDLE)
        return self

    @property
    def sessions(self) -> list[Session]:
        return [event for event in self.events if isinstance(event, Session)]

    @property
    def unassigned(self) -> list[tuple[int, int]]:
        """Return (seconds after midnight, Wh) of unassigned energy."""
        found = [event for event in self.events if isinstance(event, Unassigned)]
        return [(event.start - MIDNIGHT, event.energy_wh) for event in found]

    @property
    def corrections(self) -> list[Correction]:
        return [event for event in self.events if isinstance(event, Correction)]

    def booked(self) -> list[tuple[int, int, int]]:
        """Return (beginning, end, Wh) of the sessions, in seconds after midnight."""
        return [
            (each.started - MIDNIGHT, each.ended - MIDNIGHT, each.energy_wh)
            for each in self.sessions
        ]

    def _check_books(self) -> None:
        """Check that slots add up to sessions, and on v2 that the books close to the Wh."""
        if self.memory is None:
            return
        for session in (*self.sessions, *([self.memory.session] if self.memory.session else [])):
            assert sum(energy for _, energy in session.slots) == session.energy_wh
            assert all(start % 900 == 0 and energy > 0 for start, energy in session.slots)
        total = sum(session.energy_wh for session in self.sessions)
        total += self.memory.session.energy_wh if self.memory.session else 0
        total += sum(energy for _, energy in self.unassigned)
        total += sum(each.energy_wh for each in self.corrections)
        if self._api == 2:
            assert self.memory.last.meter_wh is not None
            assert total == self.memory.last.meter_wh - self.memory.first_wh


def charged(**more: Any) -> Polls:
    """Return polls of a car plugged in at 100 s that charged 100 Wh until 155 s."""
    return (
        Polls()
        .poll(90)
        .poll(95, **more)
        .poll(100, WAITING, counter=0.0, plugged=98.5)
        .poll(105, CHARGING, card=1, power_w=7_200.0)
        .steady(110, 155)
    )


def test_session() -> None:
    """A session begins at the plug-in and ends when the car was first seen idle."""
    polls = charged().leave(160)
    assert polls.sessions == [
        Session(
            id="7_1767225698",
            charger="garage",
            serial="7",
            api=2,
            started=MIDNIGHT + 98,
            ended=MIDNIGHT + 160,
            energy_wh=100,
            meter_start_wh=1_000,
            meter_end_wh=1_100,
            slots=((MIDNIGHT, 100),),
            card=1,
            charging_seconds=55,
            counter_wh=100,
            meter_wh=100,
            max_power_w=7_200,
        )
    ]
    assert polls.unassigned == []


def test_one_idle_poll_is_enough_if_the_last_is_old() -> None:
    """A car that is idle ten seconds after the last poll has left; sooner, it may not have."""
    assert charged(gap_seconds=60.0).poll(164, IDLE).booked() == []
    assert charged(gap_seconds=60.0).poll(165, IDLE).booked() == [(98, 165, 100)]
    assert charged().poll(160, IDLE).poll(169.9).booked() == []
    assert charged().poll(160, IDLE).poll(170).booked() == [(98, 160, 100)]


def test_states_that_do_not_tell() -> None:
    """Unknown, error and initializing neither end nor begin a session."""
    polls = Polls().poll(0).poll(5, "error").poll(10, "error")
    assert polls.memory is not None
    assert polls.memory.session is None
    polls = charged().poll(160, "error", 1_110, 110).poll(165, "error").poll(300, "unknown", 1_120)
    assert polls.booked() == []
    assert polls.leave(305).booked() == [(98, 305, 120)]


def test_car_stuck_at_complete() -> None:
    """The state stays complete after the plug was pulled at the car; a new plug-in ends it."""
    polls = charged().poll(160, COMPLETE).poll(7_200, gap_seconds=1e9)
    assert polls.booked() == []
    polls.poll(7_205, WAITING, counter=0.0, plugged=7_203)
    assert polls.booked() == [(98, 7_203, 100)]
    polls.poll(7_210, CHARGING, 1_130, 30, gap_seconds=15.1).leave(7_215)
    assert polls.booked()[1] == (7_203, 7_215, 30)
    assert polls.sessions[1].flags == ("begin_inferred",)


def test_phase_switch() -> None:
    """A phase switch ends no session, although the counter restarts and the car looks idle."""
    polls = charged(phase_mode="auto")
    polls.poll(160, CHARGING, 1_115, 115, phase_mode="single")
    polls.poll(165, COMPLETE, 1_120, -0.0015).poll(170, IDLE).poll(180, IDLE)
    polls.poll(185, CHARGING, plugged=182).steady(190, 205).leave(210)
    assert polls.booked() == [(98, 210, 160)]
    assert polls.sessions[0].flags == ("counter_restarted",)
    assert polls.sessions[0].counter_wh == 155


def test_phase_switch_by_its_reason() -> None:
    """The charging reason indicates a phase switch too."""
    polls = charged(cable=False).poll(160, IDLE, interrupted=True).poll(170).poll(175)
    polls.poll(180, CHARGING, interrupted=False).steady(185, 185).leave(190)
    assert polls.booked() == [(98, 190, 110)]


def test_car_that_leaves_after_a_phase_switch() -> None:
    """Without the cable, or after a minute, an idle car left at the first idle poll."""
    switched = charged(phase_mode="auto").poll(160, phase_mode="single")
    assert switched.poll(165, IDLE, cable=False).booked() == [(98, 165, 100)]
    switched = charged(phase_mode="auto").poll(160, phase_mode="single").poll(165, IDLE)
    for time in range(170, 225, 5):
        assert switched.poll(time).booked() == []
    assert switched.poll(225).booked() == [(98, 165, 100)]


def test_simulated_unplugging() -> None:
    """A new plug-in time does not begin a session if the counter keeps rising."""
    polls = charged().poll(160, plugged=158, meter=1_110, counter=110.0).leave(165)
    assert polls.booked() == [(98, 165, 110)]


def test_replug_between_two_polls() -> None:
    """A car that is replugged within 2 s begins a session, with the energy of its counter."""
    polls = charged().poll(160, CHARGING, 1_107, 2.6, plugged=157).steady(165, 165).leave(170)
    assert polls.booked() == [(98, 157, 104), (157, 170, 13)]
    first, second = polls.sessions
    assert (first.flags, second.flags) == ((), ("begin_inferred",))
    assert (first.meter_end_wh, second.meter_start_wh, second.meter_end_wh) == (1_104, 1_104, 1_117)


def test_counter_of_the_former_car() -> None:
    """Until a car charges, the counter may still show the last car's energy."""
    polls = charged().leave(160).poll(300, gap_seconds=1e9).poll(305, WAITING, plugged=303)
    polls.poll(310, CHARGING, 1_103, 3.0, cable=True).poll(315, meter=1_107, counter=7.0).leave(320)
    assert polls.booked()[1] == (303, 320, 7)
    assert polls.sessions[1].counter_wh == 7
    assert polls.sessions[1].flags == ()


def test_first_sight() -> None:
    """A car that is plugged in at the first poll has charged the energy that the counter shows."""
    polls = Polls().poll(3_600, CHARGING, 9_000, 2_000.4, plugged=0, card=2).leave(3_605)
    assert polls.booked() == [(0, 3_605, 2_000)]
    session = polls.sessions[0]
    assert (session.meter_start_wh, session.unobserved_wh) == (7_000, 2_000)
    assert session.slots == tuple((MIDNIGHT + 900 * quarter, 500) for quarter in range(4))
    assert session.flags == ("begin_inferred",)


def test_first_sight_without_the_plug_in_time() -> None:
    """Without a plug-in time, or with that of the charger's start, the beginning was not seen."""
    polls = Polls().poll(3_600, CHARGING, 9_000, 2_000).leave(3_605)
    assert polls.booked() == [(3_600, 3_605, 2_000)]
    assert polls.sessions[0].flags == ("start_not_seen",)
    polls = Polls().poll(3_600, CHARGING, 9_000, 2_000, plugged=6, booted=0).leave(3_605)
    assert polls.booked() == [(6, 3_605, 2_000)]
    assert polls.sessions[0].flags == ("start_not_seen",)


def test_counter_beyond_what_is_possible() -> None:
    """The counter is limited to 32 kW since the plug-in."""
    polls = Polls().poll(100, WAITING, 9_000, 2_000, plugged=91).leave(105)
    assert polls.booked() == [(91, 105, 81)]  # 1 Wh and 9 s of 32 kW


def test_replug_in_an_outage() -> None:
    """Energy from before the new plug-in is unassigned; the rest is spread over the time since."""
    polls = charged().poll(4_500, CHARGING, 5_100, 3_000, plugged=1_800, card=2).leave(4_505)
    assert polls.booked() == [(98, 1_800, 100), (1_800, 4_505, 3_000)]
    first, second = polls.sessions
    assert first.flags == ("end_not_seen",)
    assert second.flags == ("begin_inferred",)
    assert [energy for _, energy in second.slots] == [1_000, 1_000, 1_000]
    assert (second.unobserved_wh, second.meter_start_wh) == (3_000, 2_100)
    # 1000 Wh between 155 s and 4500 s: 745 s, four quarter hours, nothing of the last one.
    assert polls.unassigned == [(0, 171), (900, 208), (1_800, 207), (2_700, 207), (3_600, 207)]


def test_replug_in_an_outage_with_the_same_card() -> None:
    """With the same card before and after, the energy before the plug-in belongs to its session."""
    polls = charged()
    polls.poll(4_500, CHARGING, 5_100, 3_000, plugged=1_800, card=1).leave(4_505)
    assert polls.booked() == [(98, 1_800, 1_100), (1_800, 4_505, 3_000)]


def test_replug_in_an_outage_with_a_restart_of_the_charger() -> None:
    """After a restart, the same card before and after does not prove who charged in between."""
    polls = charged()
    polls.poll(4_500, CHARGING, 5_100, 3_000, booted=900, plugged=1_800, card=1).leave(4_505)
    assert polls.booked() == [(98, 1_800, 100), (1_800, 4_505, 3_000)]
    assert sum(energy for _, energy in polls.unassigned) == 1_000


def test_replug_in_an_outage_after_the_car_was_full() -> None:
    """If the car had finished charging, another car charged before the same card came back."""
    polls = charged().poll(160, COMPLETE)
    polls.poll(4_500, CHARGING, 5_100, 3_000, plugged=1_800, card=1).leave(4_505)
    assert polls.booked() == [(98, 1_800, 100), (1_800, 4_505, 3_000)]
    assert sum(energy for _, energy in polls.unassigned) == 1_000


def test_replug_soon_after_the_last_poll() -> None:
    """Energy from the minute before the plug-in belongs to the session that was under way."""
    polls = charged().poll(900, CHARGING, 1_500, 300, plugged=215, card=2)
    assert polls.booked() == [(98, 215, 200)]
    polls = charged().poll(900, CHARGING, 1_500, 300, plugged=216, card=2)
    assert polls.booked() == [(98, 216, 100)]


def test_counter_that_restarts_after_a_replug_in_an_outage() -> None:
    """Energy before the plug-in is limited to what is possible: the counter restarted after it."""
    polls = charged().poll(900, CHARGING, 1_500, 30, plugged=173, card=2).leave(905)
    # 18 s of 32 kW and a Wh: 161 Wh of 400.
    assert polls.booked() == [(98, 173, 261), (173, 905, 239)]
    assert polls.sessions[1].flags == ("begin_inferred", "counter_restarted")
    polls = Polls().poll(100).poll(1_000, CHARGING, 1_400, 30, plugged=118).leave(1_005)
    assert polls.booked() == [(118, 1_005, 239)]
    assert sum(energy for _, energy in polls.unassigned) == 161


@pytest.mark.parametrize("card", [None, 0, 2])
def test_replug_in_an_outage_with_another_card(card: int | None) -> None:
    """With another card, or none, it does not."""
    polls = charged()
    polls.poll(4_500, CHARGING, 5_100, 3_000, plugged=1_800, card=card).leave(4_505)
    assert polls.booked() == [(98, 1_800, 100), (1_800, 4_505, 3_000)]
    assert sum(energy for _, energy in polls.unassigned) == 1_000


def test_session_that_nobody_saw() -> None:
    """A new plug-in time at an idle charger is a complete session."""
    polls = charged().leave(160).poll(4_000, IDLE, 1_600, 450.0, plugged=3_000)
    assert polls.booked()[1] == (3_000, 4_000, 450)
    assert polls.sessions[1].flags == ("begin_inferred", "end_not_seen")
    assert sum(energy for _, energy in polls.unassigned) == 50


def test_end_in_an_outage() -> None:
    """Without another plug-in, the energy of an outage belongs to the session under way."""
    polls = charged().poll(1_055, IDLE, 1_190, 190)
    assert polls.booked() == [(98, 1_055, 190)]
    session = polls.sessions[0]
    assert session.flags == ("end_not_seen",)
    assert (session.unobserved_wh, session.unobserved_seconds) == (90, 900)
    # 745 s of the gap's 900 s are in the first quarter hour: 74.5 Wh.
    assert session.slots == ((MIDNIGHT, 174), (MIDNIGHT + 900, 16))


def test_outage_after_the_car_was_seen_idle() -> None:
    """A session ends at the first idle poll, even if no second one follows."""
    polls = charged().poll(160, IDLE).poll(1_000, IDLE, 1_105)
    assert polls.booked() == [(98, 160, 100)]
    assert polls.sessions[0].flags == ()
    assert polls.unassigned == [(0, 4), (900, 1)]


def test_restart_of_the_charger() -> None:
    """A restart of the charger does not end a session; a plug-in time close to it is ignored."""
    polls = charged().poll(160, "initializing", booted=157, plugged=None)
    polls.poll(165, CHARGING, 1_110, 10, plugged=163).steady(170, 175).leave(180)
    assert polls.booked() == [(98, 180, 130)]
    assert polls.sessions[0].flags == ("charger_restarted", "counter_restarted")


def test_restart_of_the_charger_in_an_outage() -> None:
    """The energy is unassigned, unless the counter counted all of it."""
    polls = charged().poll(1_000, CHARGING, 1_500, 300, booted=900, plugged=906, card=2)
    assert polls.booked() == [(98, 1_000, 100)]
    assert sum(energy for _, energy in polls.unassigned) == 400
    polls = charged().poll(1_000, IDLE, 1_500, 300, booted=900, plugged=None, card=None)
    assert polls.booked() == [(98, 1_000, 100)]
    polls = charged().poll(1_000, IDLE, 1_500, 30, booted=900, plugged=None, card=None)
    assert polls.booked() == [(98, 1_000, 100)]
    polls = charged().poll(1_000, IDLE, 1_500, 500, booted=900, plugged=None, card=None)
    assert polls.booked() == [(98, 1_000, 500)]
    polls = charged().poll(1_000, CHARGING, 1_500, 300, booted=900, plugged=906, card=1)
    assert polls.leave(1_005).booked() == [(98, 1_005, 500)]
    assert polls.sessions[0].flags == ("charger_restarted", "may_be_two")


def test_plug_in_after_a_restart_in_an_outage() -> None:
    """From two minutes after the charger's start, a plug-in time is evidence again."""
    polls = charged().poll(1_500, CHARGING, 1_500, 300, booted=900, plugged=1_021, card=2)
    assert polls.booked() == [(98, 1_021, 100)]
    polls.leave(1_505)
    assert polls.booked()[1] == (1_021, 1_505, 300)


def test_meter_reset() -> None:
    """A meter that falls is corrected; the session continues with the counter."""
    polls = charged().poll(160, meter=7, counter=107).steady(165, 165).leave(170)
    assert polls.booked() == [(98, 170, 117)]
    assert polls.sessions[0].flags == ("meter_reset",)
    assert polls.corrections == [
        Correction("garage", "7", MIDNIGHT + 160, 1_100, 7, -1_100, "meter_reset")
    ]


def test_meter_jump() -> None:
    """A meter that rises by more than a charger can supply is corrected."""
    # In 5 s, 1000 Wh and 5 s of 32 kW are possible: 1044.4 Wh.
    assert charged().poll(160, meter=2_144).corrections == []
    polls = charged().poll(160, meter=2_145, counter=108).leave(165)
    assert polls.booked() == [(98, 165, 108)]
    assert polls.corrections == [
        Correction("garage", "7", MIDNIGHT + 160, 1_100, 2_145, 1_037, "meter_jump")
    ]


def test_jump_that_polling_held_back() -> None:
    """After a jump, the rise of the counter while the meter was absent counts."""
    polls = charged()
    for time, counter in ((160, 110), (165, 120)):
        polls.poll(time, counter=counter, meter_wh=None)
    polls.poll(170, meter=900_000, counter=130, meter_wh=900_000).leave(175, meter=900_000)
    assert polls.booked() == [(98, 175, 130)]
    assert polls.corrections[0].energy_wh == 900_000 - 1_100 - 30


def test_meter_that_is_absent_for_a_while() -> None:
    """The next reading of the meter covers what it missed."""
    polls = charged()
    for time in range(160, 300, 5):
        polls.poll(time, meter_wh=None)
    polls.poll(300, meter_wh=1_400, counter=400).poll(305, IDLE).poll(315, IDLE)
    assert polls.booked() == [(98, 305, 400)]


def test_power_that_is_zero_while_charging() -> None:
    """Sessions do not depend on the power (docs/protocol.md §5.2)."""
    polls = charged(power_w=None).poll(160, power_w=0.0).leave(165)
    assert polls.booked() == [(98, 165, 100)]


def test_counters_that_differ() -> None:
    """A difference of more than 3 % and two steps of the meter is flagged."""
    assert charged().poll(160, meter=1_110, counter=105.0).leave(165).sessions[0].flags == ()
    polls = charged().poll(160, meter=1_110, counter=104.0).leave(165)
    assert polls.sessions[0].flags == ("energy_check",)


def test_card_that_is_read_after_plugging_in() -> None:
    """A card that is read before the car charges is not a change of card."""
    polls = Polls().poll(0).poll(5, WAITING, plugged=3, card=None).poll(10, card=0)
    polls.poll(15, CHARGING, card=0).poll(20, card=3).steady(25, 25).leave(30)
    assert [session.card for session in polls.sessions] == [3]


def test_card_that_changes() -> None:
    """Another card while charging begins another session, which gets all energy from then on."""
    polls = charged().poll(160, meter=1_110, counter=110, card=2).steady(165, 165).leave(170)
    assert polls.booked() == [(98, 160, 100), (160, 170, 20)]
    assert [session.card for session in polls.sessions] == [1, 2]
    assert all(session.flags == ("card_changed",) for session in polls.sessions)
    assert polls.sessions[1].meter_start_wh == 1_100


def test_card_that_changes_in_an_outage() -> None:
    """The energy of the outage is unassigned."""
    polls = charged().poll(500, meter=1_400, counter=400, card=2).leave(505)
    assert polls.booked() == [(98, 500, 100), (500, 505, 0)]
    assert polls.unassigned == [(0, 300)]


def test_card_that_disappears() -> None:
    """The end of a transaction is not a change of card."""
    polls = charged().poll(160, COMPLETE, card=None).poll(165, CHARGING, card=0).poll(170, card=1)
    assert [each.card for each in charged().poll(160, COMPLETE, card=None).leave(165).sessions] == [
        1
    ]
    assert polls.booked()[0] == (98, 165, 100)


def test_v1_card_kept_while_idle() -> None:
    """API v1 reports the last card while no car charges; the card counts once a car charges."""
    polls = Polls(api=1).poll(0, card=3).poll(5, WAITING, card=3).poll(10, CHARGING, card=5)
    polls.steady(15, 20)
    for time in (25, 30, 35):
        polls.poll(time, IDLE, card=5)
    assert [session.card for session in polls.sessions] == [5]


def test_v1_meter_of_whole_kwh() -> None:
    """On API v1, energy comes from the session counter; the meter moves in whole kWh."""
    polls = Polls(api=1).poll(0, meter=1_020_000, counter=223.0).poll(5, WAITING)
    polls.poll(10, CHARGING, counter=12.5).poll(15, counter=1_300.3, meter=1_021_000)
    polls.leave(20)
    session = polls.sessions[0]
    assert (session.energy_wh, session.counter_wh, session.meter_wh) == (1_300, 1_300, 1_000)
    assert (session.meter_start_wh, session.meter_end_wh) == (1_020_000, 1_021_000)
    assert session.flags == ()  # 223 Wh were those of the session before


def test_v1_counter_that_fell_in_an_outage() -> None:
    """After an outage, a lower counter means another car; otherwise there may have been one."""
    polls = Polls(api=1).poll(0, meter=50_000, counter=0.0).poll(5, CHARGING, card=0)
    polls.poll(10, counter=900.0).poll(2_000, counter=800.0, meter=52_000)
    assert polls.booked() == [(5, 2_000, 900)]
    assert polls.sessions[0].flags == ("end_not_seen",)
    assert sum(energy for _, energy in polls.unassigned) == 1_200
    polls.poll(4_000, counter=1_000.0).leave(4_005)
    assert polls.booked()[1] == (2_000, 4_005, 1_000)
    assert polls.sessions[1].flags == ("may_be_two", "start_not_seen")


@pytest.mark.parametrize(("counter", "energy_wh"), [(865.0, 5_201), (5_110.0, 5_110)])
def test_v1_counter_that_restarted_in_an_outage(counter: float, energy_wh: int) -> None:
    """Energy that a counter lost is taken from the meter; less than a step of it is not."""
    polls = Polls(api=1).poll(0, meter=9_200, counter=0.0).poll(5, CHARGING, card=2)
    polls.poll(10, counter=1.0).poll(2_100, IDLE, meter=14_400, counter=counter, card=0)
    assert polls.booked() == [(5, 2_100, energy_wh)]
    assert polls.sessions[0].meter_wh == 5_200


def test_v1_meter_that_was_absent_before_an_outage() -> None:
    """Energy that was counted while the meter was absent is not lost."""
    polls = Polls(api=1).poll(0, meter=9_200, counter=0.0).poll(5, CHARGING)
    polls.poll(10, counter=5_000.0, meter_wh=None)
    polls.poll(2_100, meter=14_400, counter=5_150.0, meter_wh=14_400).leave(2_105)
    assert polls.booked() == [(5, 2_105, 5_150)]


def test_v1_car_that_left_in_an_outage() -> None:
    """A card that disappears with the car is not another card: the session gets the energy."""
    polls = Polls(api=1).poll(0, meter=50_000).poll(5, CHARGING, card=1).poll(10, counter=900.0)
    polls.poll(600, IDLE, counter=958.0, card=0)
    assert polls.booked() == [(5, 600, 958)]
    assert (polls.sessions[0].card, polls.sessions[0].flags) == (1, ("end_not_seen",))


def test_v1_other_person_who_left_in_an_outage() -> None:
    """Another card at an idle charger belongs to a later session, which was not observed."""
    polls = Polls(api=1).poll(0, meter=50_000).poll(5, CHARGING, card=1).poll(10, counter=900.0)
    polls.poll(3_600, IDLE, 52_000, 1_900.0, card=2)
    assert polls.booked() == [(5, 3_600, 900)]
    assert sum(energy for _, energy in polls.unassigned) == 2_000


def test_v1_charger_that_comes_back() -> None:
    """Energy booked before another charger took the name is not booked again."""
    polls = Polls(api=1).poll(0, meter=50_000).poll(5, CHARGING, card=0).poll(10, counter=900.0)
    assert polls.memory is not None
    polls.memory = dataclasses.replace(polls.memory, session=None)  # as the bookkeeper ends it
    soon = dataclasses.replace(polls.memory)
    polls.poll(2_000, counter=1_000.0).leave(2_005)
    assert polls.booked() == [(2_000, 2_005, 100)]
    assert polls.sessions[0].flags == ("start_not_seen",)
    polls.memory, polls.events = soon, []
    polls.poll(15, CHARGING, counter=910.0).leave(20)
    assert polls.booked() == [(15, 20, 10)]
    assert polls.sessions[0].flags == ("start_not_seen",)


def test_clock_in_1970() -> None:
    """A session that begins before the clock is set gets its times once it is."""
    polls = Polls().clock(0.0, trusted=False)
    polls.poll(1_000).poll(1_005, CHARGING, plugged=1_003).poll(1_010, meter=1_010, counter=10)
    polls.clock(MIDNIGHT).poll(1_015, meter=1_020, counter=20).leave(1_020)
    assert polls.booked() == [(1_003, 1_020, 20)]
    assert polls.sessions[0].slots == ((MIDNIGHT + 900, 20),)
    assert polls.sessions[0].flags == ()


def test_clock_that_is_never_right() -> None:
    """A session that ends before the clock is set is flagged."""
    polls = Polls().clock(0.0, trusted=False).poll(1_000).poll(1_005, CHARGING, plugged=1_003)
    assert polls.leave(1_010).sessions[0].flags == ("clock_unsure",)
    polls = Polls().clock(0.0, trusted=False).poll(1_000).poll(1_005, CHARGING, plugged=1_003)
    polls.clock(MIDNIGHT, boot="boot-2").poll(1_200, meter=1_100, counter=100).leave(1_205)
    assert polls.sessions[0].flags == ("clock_unsure",)


def test_machine_that_restarts() -> None:
    """The length of a restart of the machine is measured in Unix time."""
    polls = charged().clock(MIDNIGHT + 900.0, boot="boot-2")
    polls.poll(20.0, meter=1_200, counter=200, booted=BOOTED - 900, plugged=98.5 - 900)
    assert polls.memory is not None
    assert polls.memory.session is not None
    assert polls.memory.session.unobserved_seconds == 765
    polls.leave(25)
    assert polls.booked() == [(98, 925, 200)]


def test_machine_that_restarts_months_earlier() -> None:
    """If the clock was ahead in the former boot, the length of the restart is unknown."""
    polls = charged().clock(MIDNIGHT - 60 * 86_400, boot="boot-2")
    polls.poll(20.0, meter=6_100, counter=5_100, booted=BOOTED - 900, plugged=98.5 - 900)
    polls.leave(25)
    assert polls.corrections == []
    assert [session.energy_wh for session in polls.sessions] == [5_100]


def test_midnight() -> None:
    """A session over midnight has its energy in the quarter hours in which it was charged."""
    polls = Polls().poll(86_370).poll(86_380, CHARGING, plugged=86_375)
    polls.poll(86_395, meter=1_030, counter=30).poll(86_400, meter=1_040, counter=40)
    polls.poll(86_405, meter=1_050, counter=50).leave(86_410)
    day = MIDNIGHT + 86_400
    assert polls.sessions[0].slots == ((day - 900, 30), (day, 20))


def test_energy_by_source() -> None:
    """The energy by source is the charger's last report, not that of the last session."""
    stale, own = {"solar": 900}, {"solar": 30, "grid": 70}
    polls = charged(sources=stale)
    assert polls.leave(160).sessions[0].sources == {}
    polls = charged(sources=stale).poll(160, gap_seconds=1e9).poll(220, sources=own).leave(225)
    assert polls.sessions[0].sources == own
