"""Energy between two observations: how far the meter and the session counter rose, and when."""

from __future__ import annotations

from typing import NamedTuple

from goe_exporter.sessions.observation import Observation
from goe_exporter.sessions.session import SLOT_SECONDS, Slots

MAX_WATTS = 32_000
"""Slightly more than three phases at 32 A and 250 V."""

JUMP_MARGIN_WH = 1_000
"""The meter of V1 and V2 hardware moves in whole kWh."""

COUNTER_STEP_WH = 1.0
"""A counter that falls further has restarted; it can dip below zero (docs/protocol.md §3.5)."""

ROUNDING_WH = 2.0

V1_STEPS_WH = (100, 1_000)
"""The steps of the meter on API v1: of V3 and later, and of V1 and V2 (docs/protocol.md §5.3)."""


class Rise(NamedTuple):
    """How far the energy rose between two observations (Wh).

    `meter_wh` is the rise of the meter, `counter_wh` that of the session counter if the session
    continued. If the meter changed in a way that is not energy, `reason` says how, and
    `correction_wh` is the part of the change that `meter_wh` leaves out. `restarted` is whether the
    counter restarted.
    """

    meter_wh: int
    counter_wh: float
    restarted: bool = False
    correction_wh: int = 0
    reason: str = ""

    @property
    def counted_through(self) -> bool:
        """Whether the counter rose as far as the meter, so that no car was plugged in meanwhile."""
        return not self.restarted and abs(self.counter_wh - self.meter_wh) <= ROUNDING_WH


def rise(last: Observation, seen: Observation, seconds: float, unmetered_wh: float) -> Rise:
    """Return the rise between two observations; the meter was last read `seconds` ago.

    The rise of a meter that fell or jumped is replaced by that of the session counter, including
    its rise while the meter was not read, `unmetered_wh`.
    """
    before, now = max(last.counter_wh or 0.0, 0.0), max(seen.counter_wh or 0.0, 0.0)
    restarted = seen.counter_wh is not None and now < before - COUNTER_STEP_WH
    counter = 0.0 if seen.counter_wh is None else now if restarted else max(now - before, 0.0)
    if last.meter_wh is None or seen.meter_wh is None:
        return Rise(0, counter, restarted)
    change = seen.meter_wh - last.meter_wh
    highest = JUMP_MARGIN_WH + MAX_WATTS * seconds / 3600
    if 0 <= change <= highest:
        return Rise(change, counter, restarted)
    counted = round(min(unmetered_wh + counter, highest))
    reason = "meter_reset" if change < 0 else "meter_jump"
    return Rise(counted, counter, restarted, change - counted, reason)


def v1_step_wh(*readings: int) -> int:
    """Return the step of the meter on API v1 (Wh) by its readings, of which some are calculated."""
    fine, coarse = V1_STEPS_WH
    return fine if any(wh % coarse and not wh % fine for wh in readings) else coarse


def since_plug_in(seen: Observation) -> float:
    """Return the session counter (Wh), limited to what is possible since the plug-in.

    A counter may keep the last session's value until the car charges.
    """
    counter = max(seen.counter_wh or 0.0, 0.0)
    seconds = seen.since_plug_in
    return counter if seconds is None else min(counter, 1 + MAX_WATTS * max(seconds, 0.0) / 3600)


def restarted_since(meter_wh: int, counter_wh: float) -> tuple[str, ...]:
    """Return the flag of a session whose meter rose further than its counter, () otherwise."""
    return ("counter_restarted",) if meter_wh > counter_wh + ROUNDING_WH else ()


def spread(energy_wh: int, since: float, until: float) -> Slots:
    """Spread energy evenly over the quarter hours between two Unix times, in whole Wh."""
    if energy_wh <= 0:
        return ()
    first = int(min(since, until) // SLOT_SECONDS) * SLOT_SECONDS
    last = int(until // SLOT_SECONDS) * SLOT_SECONDS
    if first == last:
        return ((last, energy_wh),)
    slots, given = [], 0
    for start in range(first, last + 1, SLOT_SECONDS):
        passed = min(start + SLOT_SECONDS, until) - since
        total = round(energy_wh * passed / (until - since)) if start < last else energy_wh
        if total > given:
            slots.append((start, total - given))
            given = total
    return tuple(slots)


def added(slots: Slots, more: Slots) -> Slots:
    """Return the energies of both, by quarter hour."""
    if not more:
        return slots
    if not slots or slots[-1][0] < more[0][0]:
        return slots + more
    if len(more) == 1 and slots[-1][0] == more[0][0]:
        return (*slots[:-1], (more[0][0], slots[-1][1] + more[0][1]))
    total = dict(slots)
    for start, energy in more:
        total[start] = total.get(start, 0) + energy
    return tuple(sorted(total.items()))


def moved(slots: Slots, seconds: float) -> Slots:
    """Return the slots after a correction of the clock, to the nearest quarter hour."""
    shift = round(seconds / SLOT_SECONDS) * SLOT_SECONDS
    return tuple((start + shift, energy) for start, energy in slots)
