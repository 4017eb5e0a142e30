"""The rule of mode `feed`: what is passed on, and when nothing is."""

from __future__ import annotations

import json
from itertools import product

import pytest

from goe_exporter.surplus.feed import FeedRule, FeedView
from goe_exporter.surplus.source import Reading

NOTHING = None


class Meters:
    """A charger with a car and its meters, in steps of 4 s, with a poll before each.

    `powers` are what the sources give (W), None for a failed read; `age_s` is their known age,
    None if it is unknown. `shows` is the power of the grid that the charger shows, "sent" for the
    last one that was sent.
    """

    def __init__(self, stale_after_s: float = 60.0, refresh_s: float = 5.0) -> None:
        self.rule = FeedRule(stale_after_s, refresh_s)
        self.now = 1000.0
        self.powers: dict[str, float | None] = {"grid": -3210.0}
        self.age_s: float | None = 0.0
        self.car, self.api, self.reachable = "charging", 2, True
        self.shows: float | str | None = "sent"
        self.rejects = False
        self.fails = False
        self.last: float | None = None
        self.state, self.reason = "", ""

    def step(self) -> dict[str, float] | None:
        """Take a step, and return the powers that are sent."""
        self.now += 4
        if self.reachable:
            shown = self.last if self.shows == "sent" else self.shows
            self.rule.polled(FeedView(self.now, self.car, self.api, shown))  # type: ignore[arg-type]
        if self.rule.begins(self.now):
            measured_at = self.now - (self.age_s or 0.0)
            known = self.age_s is not None
            self.rule.read(
                self.now,
                {
                    name: Reading(value, measured_at, known)
                    for name, value in self.powers.items()
                    if value is not None
                },
            )
        decision = self.rule.decided(self.now)
        self.state, self.reason = decision.state, decision.reason
        if decision.ids is None:
            return None
        if self.rejects:
            self.rule.rejected(self.now)
        elif self.fails:
            self.last = None
        else:
            self.rule.sent(self.now, decision.ids)
            self.last = decision.ids["pGrid"]
        return dict(decision.ids)

    def run(self, seconds: float) -> list[dict[str, float] | None]:
        """Take steps for a time."""
        return [self.step() for _ in range(round(seconds / 4))]


@pytest.mark.parametrize(
    ("powers", "ids"),
    [
        ({"grid": -3210.44}, {"pGrid": -3210.4}),
        ({"grid": 250.0, "battery": -500.0}, {"pGrid": 250.0, "pAkku": -500.0}),
        ({"grid": 0.0, "pv": 0.0}, {"pGrid": 0.0, "pPv": 0.0}),
        (
            {"grid": 12.0, "battery": 1500.0, "pv": 4100.0},
            {"pGrid": 12.0, "pPv": 4100.0, "pAkku": 1500.0},
        ),
        ({"grid": 12.0, "battery": None, "pv": 4100.0}, {"pGrid": 12.0, "pPv": 4100.0}),
        ({"grid": 12.0, "battery": 1500.0, "pv": None}, {"pGrid": 12.0, "pAkku": 1500.0}),
        ({"grid": None, "battery": 1500.0, "pv": 4100.0}, NOTHING),
        ({}, NOTHING),
    ],
)
def test_powers(powers: dict[str, float | None], ids: dict[str, float] | None) -> None:
    """Import, discharging and production are positive; what is not measured is left out."""
    meters = Meters()
    meters.powers = powers
    assert meters.step() == ids
    assert meters.state == ("blind" if ids is NOTHING else "feeding")


def test_an_unknown_number_is_never_zero() -> None:
    """Of all combinations, a power is 0 only if its meter measures 0."""
    for grid, battery, pv in product((None, 0.0, -1.0), repeat=3):
        meters = Meters()
        meters.powers = {"grid": grid, "battery": battery, "pv": pv}
        ids = meters.step() or {}
        for name, power_w in (("pGrid", grid), ("pAkku", battery), ("pPv", pv)):
            assert ids.get(name, power_w) == power_w
            assert power_w is not None or name not in ids


@pytest.mark.parametrize("value", [-0.0, -0.04])
def test_no_negative_zero(value: float) -> None:
    """A power that is nearly 0 is sent as 0.0, without a sign that means export."""
    meters = Meters()
    meters.powers = {"grid": value, "battery": value, "pv": value}
    assert json.dumps(meters.step()) == '{"pGrid": 0.0, "pPv": 0.0, "pAkku": 0.0}'


@pytest.mark.parametrize(
    ("age_s", "stale_after_s", "state"),
    [
        (59.0, 60.0, "feeding"),
        (61.0, 60.0, "blind"),
        (29.0, 30.0, "feeding"),
        (31.0, 30.0, "blind"),
    ],
)
def test_age(age_s: float, stale_after_s: float, state: str) -> None:
    """A value that is older than `stale_after` is not passed on."""
    meters = Meters(stale_after_s)
    meters.age_s = age_s
    assert (meters.step() is None) is (state == "blind")
    assert meters.state == state
    assert meters.reason == ("stale" if state == "blind" else "")


def test_an_old_battery() -> None:
    """A value of the battery that is too old is left out, and the grid is passed on."""
    meters = Meters()
    now = meters.now + 4
    meters.rule.read(now, {"battery": Reading(-500.0, now - 61, age_known=True)})
    assert meters.step() == {"pGrid": -3210.0}


def test_failed_reads() -> None:
    """A value is repeated for 10 s while its source fails, and then nothing is sent."""
    meters = Meters()
    meters.step()
    meters.powers["grid"] = None
    assert meters.run(8) == [{"pGrid": -3210.0}, {"pGrid": -3210.0}]
    assert meters.run(8) == [None, None]
    assert (meters.state, meters.reason) == ("blind", "stale")
    meters.powers["grid"] = -100.0
    assert meters.step() == {"pGrid": -100.0}
    assert meters.state == "feeding"


def test_frozen() -> None:
    """Of an unknown age, a value is passed on for 5 minutes while it does not change at all."""
    meters = Meters()
    meters.age_s = None
    sent = meters.run(600)
    assert [ids is not None for ids in sent] == [True] * 75 + [False] * 75
    assert (meters.state, meters.reason) == ("blind", "frozen")
    meters.powers["grid"] = -3210.5
    assert meters.step() == {"pGrid": -3210.5}


def test_a_frozen_battery() -> None:
    """It is left out, whatever its value, also if that is 0."""
    meters = Meters()
    meters.age_s = None
    meters.powers["battery"] = 0.0
    for number in range(80):
        meters.powers["grid"] = -3000.0 - number
        ids = meters.step()
        assert ids is not None
        assert ("pAkku" in ids) is (number < 75)


def test_a_known_age_never_freezes() -> None:
    """With a known age, the same value may be measured again and again."""
    meters = Meters()
    assert None not in meters.run(600)


def test_a_car_comes_and_leaves() -> None:
    """Powers are sent while a car is plugged in, and 30 s more: a phase switch may show idle."""
    meters = Meters()
    meters.car = "idle"
    assert meters.run(20) == [None] * 5
    assert meters.state == "no_car"
    assert not meters.rule.begins(meters.now)
    meters.car = "wait"
    assert meters.step() is not None
    meters.car = "idle"
    assert None not in meters.run(28)
    meters.car = "charging"
    assert None not in meters.run(40)
    meters.car = "idle"
    meters.run(36)
    assert meters.state == "no_car"
    assert meters.step() is None


@pytest.mark.parametrize("car", ["charging", "wait", "complete", "error", "unknown"])
def test_every_other_state_is_a_car(car: str) -> None:
    """A car that waits or is full needs the powers too: the charger decides when to start."""
    meters = Meters()
    meters.car = car
    assert meters.step() == {"pGrid": -3210.0}


@pytest.mark.parametrize("refresh_s", [1.0, 5.0])
def test_unreachable(refresh_s: float) -> None:
    """Nothing is sent after 15 s without an answer, also if polls are more frequent than that."""
    meters = Meters(refresh_s=refresh_s)
    meters.step()
    meters.reachable = False
    assert [ids is not None for ids in meters.run(20)] == [True, True, True, False, False]
    assert meters.state == "unreachable"
    meters.reachable = True
    assert meters.step() is not None


def test_unreachable_with_rare_polls() -> None:
    """Nothing is sent after three refresh intervals without an answer."""
    meters = Meters(refresh_s=10.0)
    meters.step()
    meters.reachable = False
    assert [ids is not None for ids in meters.run(36)] == [True] * 7 + [False] * 2


def test_api_v1() -> None:
    """API v1 has no such key."""
    meters = Meters()
    meters.api = 1
    assert meters.step() is None
    assert meters.state == "not_supported"


def test_a_firmware_that_rejects() -> None:
    """After three rejected requests it is tried once a minute, until it accepts the powers."""
    meters = Meters()
    meters.rejects = True
    assert [ids is not None for ids in meters.run(136)] == [
        *(True, True),
        *([True, *[False] * 14] * 2),
        *(True, False),
    ]
    assert meters.state == "not_supported"
    meters.rejects = False
    meters.run(60)
    assert meters.state == "feeding"


def test_a_rejected_request_now_and_then() -> None:
    """It is repeated as a failed one: a charger that accepts powers in between supports them."""
    meters = Meters()
    for rejects in (False, True, True, False, True, True, False):
        meters.rejects = rejects
        assert meters.step() == {"pGrid": -3210.0}
        assert meters.state != "not_supported"


@pytest.mark.parametrize(
    ("shows", "state"),
    [("sent", "feeding"), (-3209.2, "feeding"), (-3212.0, "unconfirmed"), (None, "unconfirmed")],
)
def test_confirmation(shows: float | str | None, state: str) -> None:
    """After three polls that do not show what was sent, the state says so; sending goes on."""
    meters = Meters()
    meters.shows = shows
    sent = meters.run(12)
    assert meters.state == "feeding"
    sent += meters.run(4)
    assert meters.state == state
    assert None not in sent


def test_three_polls_end_the_state_unconfirmed() -> None:
    """The state does not change with each poll while two programs feed the charger in turn."""
    meters = Meters()
    meters.shows = None
    meters.run(16)
    assert meters.state == "unconfirmed"
    states = []
    for shows in ("sent", 900.0, "sent", "sent", 900.0, "sent", "sent", "sent"):
        meters.shows = shows
        meters.step()
        states.append(meters.state)
    assert states == [*["unconfirmed"] * 7, "feeding"]


def test_powers_that_do_not_arrive() -> None:
    """After 10 s without a request that succeeds, the charger has forgotten the powers."""
    meters = Meters()
    meters.fails = True
    states = []
    for _ in range(5):
        assert meters.step() == {"pGrid": -3210.0}
        states.append(meters.state)
    assert states == [*["feeding"] * 3, *["unconfirmed"] * 2]
    meters.fails = False
    meters.run(12)
    assert meters.state == "unconfirmed"
    meters.step()
    assert meters.state == "feeding"


def test_one_request_that_fails() -> None:
    """The charger still has the powers before."""
    meters = Meters()
    meters.run(40)
    meters.fails = True
    meters.run(8)
    assert meters.state == "feeding"


def test_a_poll_long_after_the_powers_confirms_nothing() -> None:
    """The charger has forgotten them, as it should."""
    meters = Meters()
    meters.step()
    meters.powers["grid"] = None
    meters.shows = None
    meters.run(40)
    assert (meters.state, meters.reason) == ("blind", "stale")
    meters.powers["grid"] = -10.0
    meters.shows = "sent"
    meters.step()
    assert meters.state == "feeding"
