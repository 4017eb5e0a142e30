"""A fleet for demonstrations: chargers in different situations, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from random import Random
from typing import NamedTuple

from .car import Car
from .charger import Charger
from .story import MINUTE, until_full

MODELS = ("V4", "PRO", "V3", "V4", "V2")
ERRORS = (8, 3, 1)
"""Codes that mean the same on all hardware: ground fault, phase fault, residual current (AC)."""

CARD = 1
RATED_A = 16.0

Story = Callable[[Charger, Random], Iterator[float]]


class Member(NamedTuple):
    """A charger, what happens to it, and its fault in `FAULTS`, None if it answers."""

    charger: Charger
    story: Iterator[float]
    fault: str | None


def fleet(number: int) -> Iterator[Member]:
    """Yield chargers. At first, the first of them charges, the second is full, the third errs."""
    for place in range(1, number + 1):
        chance = Random(f"{place}")  # noqa: S311  (variety, not a secret)
        model = MODELS[(place - 1) % len(MODELS)]
        serial = f"{200_000 + place}"
        charger = Charger(model, serial=serial, name=f"Demo {place}", seed=place)
        charger.energy_wh = chance.uniform(200_000.0, 9_000_000.0)
        story, fault = _SITUATIONS[(place - 1) % len(_SITUATIONS)]
        yield Member(charger, story(charger, chance), fault)


def _charging(charger: Charger, chance: Random) -> Iterator[float]:
    """Charge one car after another, with and without load balancing."""
    while True:
        phases = chance.choice((3, 3, 3, 2, 1))
        yield from _charge(charger, Car(soc=chance.uniform(0.1, 0.5), phases=phases), chance)
        yield chance.uniform(3, 10) * MINUTE


def _charge(charger: Charger, car: Car, chance: Random) -> Iterator[float]:
    charger.plug(car)
    for limit in (None, chance.choice((8, 10, 12)), None, chance.choice((6, 7)), None):
        charger.load_limit_a = limit
        yield chance.uniform(6, 14) * MINUTE
    charger.unplug()


def _full(charger: Charger, chance: Random) -> Iterator[float]:
    """Keep a full car plugged in for most of the time, and charge a nearly full one."""
    soc = 1.0
    while True:
        charger.plug(Car(battery_wh=10_000.0, soc=soc, wait_s=20.0))
        charger.session_wh = chance.uniform(4_000.0, 38_000.0)
        yield from until_full(charger)
        yield chance.uniform(20, 35) * MINUTE
        charger.unplug()
        yield chance.uniform(3, 8) * MINUTE
        soc = chance.uniform(0.8, 0.9)


def _faulty(charger: Charger, chance: Random) -> Iterator[float]:
    """Report an error, charge once it has gone, and report the next one."""
    for code in cycle(ERRORS):
        charger.plug(Car(soc=0.3, wait_s=20.0))
        charger.inject(code)
        yield chance.uniform(15, 25) * MINUTE
        charger.clear_error()
        yield chance.uniform(8, 15) * MINUTE
        charger.unplug()
        yield chance.uniform(1, 4) * MINUTE


def _idle(charger: Charger, chance: Random) -> Iterator[float]:
    """Wait for a car, which comes rarely and charges for a short time."""
    while True:
        yield chance.uniform(25, 90) * MINUTE
        charger.plug(Car(soc=0.6, phases=chance.choice((1, 3)), max_current_a=RATED_A))
        yield chance.uniform(8, 15) * MINUTE
        charger.unplug()


def _waiting(charger: Charger, chance: Random) -> Iterator[float]:
    """Wait for a card, which is presented after some time."""
    charger.access = 1
    while True:
        charger.plug(Car(soc=0.4))
        yield chance.uniform(15, 30) * MINUTE
        charger.transaction = CARD
        yield chance.uniform(10, 20) * MINUTE
        charger.unplug()
        yield chance.uniform(2, 6) * MINUTE


_SITUATIONS: tuple[tuple[Story, str | None], ...] = (
    *((_charging, None), (_full, None), (_faulty, None), (_idle, None), (_charging, None)),
    *((_waiting, None), (_charging, None), (_idle, None), (_full, None), (_charging, None)),
    *((_idle, None), (_charging, None), (_full, None), (_idle, "not_found"), (_charging, None)),
    *((_idle, None), (_charging, None), (_full, None), (_idle, None), (_charging, None)),
)
"""What happens to each charger of twenty; one of them does not answer."""
