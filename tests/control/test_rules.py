"""Mode `follow` in the loop: what is on loan."""

from __future__ import annotations

from goe_exporter.control.rules import NOTHING, FollowRule, Input
from goe_exporter.surplus.follow import FollowSettings, Number
from goe_exporter.surplus.lease import Lease
from goe_exporter.surplus.situation import View, Write


class Charger:
    """A charger that is polled before each step of 10 s."""

    def __init__(self) -> None:
        self.rule = FollowRule(FollowSettings(16), Lease())
        self.amps, self.car, self.now = 14, "charging", 100.0
        self.plugged_at = 50.0

    def step(self, number: float | None = None) -> tuple[Write, ...]:
        """Take a step, and do what is written."""
        self.now += 10
        read = NOTHING if number is None else Input(Number(number, self.now))
        view = View(self.now, self.car, "neutral", 0, self.amps, 3000.0, (8.0,), uptime_s=self.now)
        view = view._replace(plugged_at=self.plugged_at)
        writes = self.rule.decided(self.now, read, view).writes
        for write in writes:
            self.amps = int(write.value)
        return writes

    @property
    def given_back(self) -> tuple[Write, ...]:
        """What a stop would write."""
        return self.rule.lease.give_back(None)


def test_gives_back_what_was_found() -> None:
    """The first write borrows the current; later ones change nothing of that."""
    charger = Charger()
    assert charger.given_back == ()
    assert charger.step(10) == (Write("max_current", 10),)
    charger.step(10)
    charger.step(8)
    assert charger.given_back == (Write("max_current", 14),)


def test_a_persons_current_stays() -> None:
    """A current that a person has set while charging is not given back."""
    charger = Charger()
    charger.step(10)
    charger.step(10)
    charger.amps = 12
    charger.step(9)
    charger.step(9)
    assert charger.amps == 12
    assert charger.given_back == ()


def test_a_current_that_was_set_without_a_car() -> None:
    """It is what the next car finds, and what is given back after that."""
    charger = Charger()
    charger.step(10)
    charger.step(10)
    charger.car = "idle"
    charger.step()
    assert charger.given_back == (Write("max_current", 14),)
    charger.amps = 12
    charger.step()
    assert charger.given_back == ()
    charger.car = "charging"
    assert charger.step(8) == (Write("max_current", 8),)
    assert charger.given_back == (Write("max_current", 12),)


def test_hand_over_survives_a_crash() -> None:
    """A person's current stays for this car after a restart, and is borrowed with the next."""
    charger = Charger()
    charger.step(10)
    charger.step(10)
    charger.amps = 12
    charger.step(9)
    charger.step(9)
    charger.rule = FollowRule(FollowSettings(16), charger.rule.lease)
    assert (charger.step(9), charger.step(9), charger.amps) == ((), (), 12)
    charger.rule = FollowRule(FollowSettings(16), charger.rule.lease)
    charger.plugged_at = 150.0
    assert charger.step(9) == (Write("max_current", 9),)


def test_a_current_that_was_not_sent() -> None:
    """It is decided again, and the present one is not taken for a limit of the charger."""
    charger = Charger()
    charger.step(10)
    for _ in range(5):
        assert charger.step(16) == (Write("max_current", 16),)
        charger.rule.unsent(Write("max_current", 16))
        charger.amps = 10
        charger.now += 10
    charger.step(16)
    assert charger.amps == 16


def test_another_process_goes_on() -> None:
    """After a crash, what was found before is given back."""
    charger = Charger()
    charger.step(10)
    charger.rule = FollowRule(FollowSettings(16), charger.rule.lease)
    charger.step(8)
    assert charger.given_back == (Write("max_current", 14),)
