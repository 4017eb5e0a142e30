"""A scripted day for demonstrations: everything a dashboard wants to show, in under an hour."""

from __future__ import annotations

from collections.abc import Iterator

from .car import Car
from .charger import Charger
from .logic import CAR_COMPLETE

MINUTE = 60.0
PATIENCE = 90
GROUND_FAULT = 8
PHASES_AUTOMATIC, PHASES_SINGLE = 0, 1


def story(charger: Charger) -> Iterator[float]:
    """Play a repeating day of about 50 simulated minutes on this charger.

    Yields after each event the simulated seconds until the next one; whoever advances the charger
    asks for the next event when they have passed.
    """
    while True:
        charger.unplug()
        yield MINUTE
        yield from _eventful_charge(charger)
        yield 2 * MINUTE
        yield from _quick_charge(charger)
        yield 2 * MINUTE


def _eventful_charge(charger: Charger) -> Iterator[float]:
    """Charge a car on three phases, on one for a while, and through a fault, until it is full."""
    charger.plug(Car(battery_wh=4_500.0, soc=0.1, phases=3, max_current_a=16.0, wait_s=MINUTE))
    yield 8 * MINUTE
    yield from _phases(charger, PHASES_SINGLE, 5 * MINUTE)
    yield from _phases(charger, PHASES_AUTOMATIC, 2 * MINUTE)
    charger.inject(GROUND_FAULT)
    yield 2 * MINUTE
    charger.clear_error()
    yield from _until_full(charger)
    charger.unplug()


def _quick_charge(charger: Charger) -> Iterator[float]:
    """Charge a second, single-phase car until it is full."""
    charger.plug(Car(battery_wh=900.0, soc=0.4, phases=1, max_current_a=16.0, wait_s=20.0))
    yield from _until_full(charger)
    charger.unplug()


def _phases(charger: Charger, mode: int, seconds: float) -> Iterator[float]:
    """Switch the phases and stay there; V2 hardware cannot, there the time just passes."""
    if charger.hardware.v2:
        charger.write("psm", mode)
    yield seconds


def _until_full(charger: Charger) -> Iterator[float]:
    """Wait for the battery, a minute longer than it takes, but not for ever if it is stopped."""
    for _ in range(PATIENCE):
        if charger.car_state == CAR_COMPLETE:
            break
        yield MINUTE / 2
    yield MINUTE
