"""What happened between two observations of a charger."""

from __future__ import annotations

import math
from typing import NamedTuple

from goe_exporter.sessions.energy import COUNTER_STEP_WH, Rise
from goe_exporter.sessions.memory import Memory, Open
from goe_exporter.sessions.observation import Observation

BOOT_SECONDS = 120.0
"""A plug-in time this soon after the charger's start may be that of the start.

It is not if a car was already plugged in `UP_SECONDS` after the start.
"""

UP_SECONDS = 30.0

SWITCH_SECONDS = 60.0
"""How long after a phase switch the state idle does not mean that the car left."""

RESTART_SECONDS = 5.0
MARK_SECONDS = 1.0


class Step(NamedTuple):
    """What happened between the last observation and this one.

    `seconds` have passed, infinite if unknown, since the Unix time `since` by the current clock.
    `gap` is whether the charger was not observed for too long, `restarted` whether it restarted,
    and `replugged` whether a car was plugged in, by other evidence than its state. While
    `switching`, a car that is idle is still plugged in.
    """

    seconds: float
    since: float
    gap: bool
    restarted: bool
    replugged: bool
    switching: bool


def step(memory: Memory, seen: Observation) -> Step:
    """Compare an observation with the last one."""
    last, now = memory.last, seen.moment
    if last.moment.boot == now.boot:
        seconds = max(now.uptime - last.moment.uptime, 0.0)
    elif last.moment.trusted and now.trusted and now.time > last.moment.time:
        seconds = now.time - last.moment.time
    else:
        seconds = math.inf
    passed = 0.0 if math.isinf(seconds) else seconds
    gap = seconds > seen.gap_seconds
    restarted = (
        seen.uptime is not None
        and last.uptime is not None
        and seen.uptime < last.uptime + passed - RESTART_SECONDS
    )
    switching = _switching(memory, seen)
    replugged = (gap or not switching) and _replugged(
        memory, seen, seconds, gap=gap, same_boot=not restarted
    )
    return Step(seconds, now.time - passed, gap, restarted, replugged, switching)


def _replugged(
    memory: Memory, seen: Observation, seconds: float, *, gap: bool, same_boot: bool
) -> bool:
    """Return whether a car was plugged in, by the charger's own clock.

    The session counter can refute it if the charger was observed all the time: the counter keeps
    rising after a simulated unplugging.
    """
    if seen.plugged is None:
        return False
    mark = memory.mark if same_boot else None
    before, now = memory.last.counter_wh or 0.0, seen.counter_wh or 0.0
    if seen.mark is None:
        # API v1 has no plug-in time. After a gap, a lower counter is the evidence, unless the
        # charger restarted, since its counter may have restarted with it.
        return same_boot and mark is None and gap and now < before - COUNTER_STEP_WH
    last = memory.last
    up = last.plugged and last.uptime is not None and last.uptime >= UP_SECONDS
    if seen.mark < BOOT_SECONDS and not (same_boot and up):
        return False
    if mark is None:
        since = seen.since_plug_in
        return since is not None and since < seconds + MARK_SECONDS
    if abs(seen.mark - mark) <= MARK_SECONDS:
        return False
    going_on = memory.session is not None and now > before >= 1
    return gap or not going_on


def _switching(memory: Memory, seen: Observation) -> bool:
    """Return whether a phase switch is under way or recent, and the cable still plugged in."""
    if seen.interrupted:
        return True
    switched = memory.switched_at
    return (
        seen.cable
        and switched is not None
        and 0 <= seen.moment.uptime - switched <= SWITCH_SECONDS
        and memory.last.moment.boot == seen.moment.boot
    )


def switched_at(memory: Memory, seen: Observation, rise: Rise) -> float | None:
    """Return the machine's uptime at the last phase switch of the session under way."""
    last = memory.last
    if memory.session is None:
        return None
    pairs = (last.phase_mode, seen.phase_mode), (last.phases, seen.phases)
    changed = any(before and now and before != now for before, now in pairs)
    if seen.interrupted or changed or restarted_counting(memory.session, rise):
        return seen.moment.uptime
    return memory.switched_at


def restarted_counting(session: Open, rise: Rise) -> bool:
    """Return whether the counter restarted in a session.

    The first value of a session may be lower than the one before, which was the last session's.
    """
    return rise.restarted and session.counter_wh > 0
