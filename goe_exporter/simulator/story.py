"""A scripted day for demonstrations, with every state of a dashboard in under an hour."""

from __future__ import annotations

from collections.abc import Iterator

from .car import Car
from .charger import Charger
from .logic import CAR_COMPLETE

MINUTE = 60.0
MAX_WAITS = 90
GROUND_FAULT = 8
PHASES_AUTOMATIC, PHASES_SINGLE = 0, 1


def story(charger: Charger) -> Iterator[float]:
    """Play a repeating day of about 50 simulated minutes on a charger.

    Each iteration causes an event and yields the simulated seconds until the next one.
    """
    while True:
        charger.unplug()
        yield MINUTE
        yield from _eventful_charge(charger)
        yield 2 * MINUTE
        yield from _quick_charge(charger)
        yield 2 * MINUTE


def _eventful_charge(charger: Charger) -> Iterator[float]:
    """Charge a car until it is full: on three phases, for a while on one, and with a fault."""
    charger.plug(Car(battery_wh=4_500.0, soc=0.1, phases=3, max_current_a=16.0, wait_s=MINUTE))
    yield 8 * MINUTE
    yield from _phases(charger, PHASES_SINGLE, 5 * MINUTE)
    yield from _phases(charger, PHASES_AUTOMATIC, 2 * MINUTE)
    charger.inject(GROUND_FAULT)
    yield 2 * MINUTE
    charger.clear_error()
    yield from until_full(charger)
    charger.unplug()


def _quick_charge(charger: Charger) -> Iterator[float]:
    """Charge a single-phase car until it is full."""
    charger.plug(Car(battery_wh=900.0, soc=0.4, phases=1, max_current_a=16.0, wait_s=20.0))
    yield from until_full(charger)
    charger.unplug()


def _phases(charger: Charger, mode: int, seconds: float) -> Iterator[float]:
    """Switch the phases for a while; V2 hardware cannot switch, so only time passes."""
    if charger.hardware.v2:
        charger.write("psm", mode)
    yield seconds


def until_full(charger: Charger) -> Iterator[float]:
    """Wait until a minute after the car is full, or for at most 45 minutes."""
    for _ in range(MAX_WAITS):
        if charger.car_state == CAR_COMPLETE:
            break
        yield MINUTE / 2
    yield MINUTE
