"""The simple rule: the current follows a number, and nothing is ever paused. Pure.

It works with API v1 too, because it writes one channel only: `max_current`, instead of which API v1
has the temporary current, which is not written to flash (docs/protocol.md §5.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from goe_exporter.surplus.settings import (
    LOWEST_A,
    MAX_CURRENT_WRITES,
    POLLS_TO_CONFIRM,
    SETTLE_S,
    STALE_AFTER_S,
    UNREACHABLE_INTERVALS,
)
from goe_exporter.surplus.situation import CURRENT, IDLE, Decision, View, Write
from goe_exporter.surplus.wear import last_hour


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """How the current of one charger follows a number.

    `unit` is that of the number: `A` or `W`. `max_current_a` and `min_current_a` limit the current
    (A). A number older than `stale_after_s` (s) does not count, and
    `refresh_s` is the interval at which the charger is polled (s).
    """

    max_current_a: int
    unit: str = "A"
    min_current_a: int = LOWEST_A
    stale_after_s: float = STALE_AFTER_S
    refresh_s: float = 5.0


class Number(NamedTuple):
    """The number that is followed, in A or W, measured at `measured_at` (s)."""

    value: float
    measured_at: float


class FollowMemory(NamedTuple):
    """What is remembered: the last written current (A), and whether the charger has shown it.

    `bound_a` is a lower current (A) that the charger keeps to. `writes` are the times of the last
    hour. `seen_at` is the poll in which another current was seen first, and `handed_over` whether
    it was a person's.
    """

    written: int | None = None
    confirmed: bool = False
    bound_a: int | None = None
    writes: tuple[float, ...] = ()
    seen_at: float | None = None
    handed_over: bool = False
    uptime_s: float | None = None
    polled_at: float = float("-inf")


def follow(
    settings: FollowSettings,
    memory: FollowMemory,
    now: float,
    number: Number | None,
    view: View | None,
) -> tuple[FollowMemory, Decision]:
    """Return the memory and the decision of one step; it never raises."""
    if view is None or now - view.polled_at > UNREACHABLE_INTERVALS * settings.refresh_s:
        return memory, Decision("unreachable")
    if view.car == IDLE:
        fresh = FollowMemory(writes=memory.writes, uptime_s=view.uptime_s)
        return fresh, Decision("no_car")
    if view.polled_at > memory.polled_at:
        memory = _compared(settings, memory, view, now)
    if memory.handed_over:
        return memory, Decision("handed_over", CURRENT)
    age_s = float("inf") if number is None else now - number.measured_at
    blind = number is None or age_s > settings.stale_after_s or not math.isfinite(number.value)
    value = 0.0 if blind or number is None else number.value
    amps = _amps(settings, memory, view, value)
    writes: tuple[Write, ...] = ()
    rising = amps > view.amps
    may_rise = not blind and age_s <= settings.stale_after_s / 2
    if amps != view.amps and (may_rise or not rising) and _ready(memory, now):
        recent = (*last_hour(memory.writes, now), now)
        memory = memory._replace(written=amps, confirmed=False, writes=recent)
        writes = (Write(CURRENT, amps),)
    state, reason = ("blind", "stale") if blind else ("following", "")
    return memory, Decision(state, reason, writes, amps=amps)


def _amps(settings: FollowSettings, memory: FollowMemory, view: View, value: float) -> int:
    """Return whole amperes within the limits."""
    if settings.unit == "W":
        value /= view.volts * max(1, view.closed_phases or min(view.phases, view.live_phases))
    top = min(settings.max_current_a, view.limit_a)
    if memory.bound_a is not None:
        top = min(top, memory.bound_a)
    return max(settings.min_current_a, min(top, math.floor(value)))


def _ready(memory: FollowMemory, now: float) -> bool:
    """Return whether the current may be changed: not too soon, and not too often."""
    soon = bool(memory.writes) and now - memory.writes[-1] < SETTLE_S
    left = MAX_CURRENT_WRITES - len(last_hour(memory.writes, now))
    return memory.seen_at is None and not soon and left > 0


def _compared(
    settings: FollowSettings, memory: FollowMemory, view: View, now: float
) -> FollowMemory:
    """Return the memory after a poll: the current is confirmed, lost, bound or a person's."""
    before, after = memory.uptime_s, view.uptime_s
    memory = memory._replace(uptime_s=after, polled_at=view.polled_at)
    if before is not None and after is not None and after < before:
        return memory._replace(written=None, confirmed=False, bound_a=None, seen_at=None)
    if memory.written is None or view.amps == memory.written:
        return memory._replace(confirmed=memory.written is not None, seen_at=None)
    if not memory.confirmed:
        return _bound(settings, memory, view, now)
    if memory.seen_at is None:
        return memory._replace(seen_at=view.polled_at)
    return memory._replace(handed_over=True)


def _bound(settings: FollowSettings, memory: FollowMemory, view: View, now: float) -> FollowMemory:
    """Return the memory with the charger's own current if that is lower than the written one.

    The temporary current cannot exceed the configured one.
    """
    waited_s = now - memory.writes[-1] if memory.writes else 0.0
    lower = memory.written is not None and view.amps < memory.written
    if not lower or waited_s < POLLS_TO_CONFIRM * settings.refresh_s:
        return memory
    return memory._replace(bound_a=view.amps, written=view.amps, confirmed=True)
