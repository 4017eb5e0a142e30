"""One decision: from the situation and the memory to the writes and the next memory. Pure.

The first state of the charger that rules out charging with the surplus ends the decision; only a
charger that may be controlled, with a usable sample, comes to `charging.Step`.
"""

from __future__ import annotations

from goe_exporter.surplus.charging import Step
from goe_exporter.surplus.limits import Limits
from goe_exporter.surplus.memory import Car, Memory, Target
from goe_exporter.surplus.person import compared
from goe_exporter.surplus.settings import (
    CHARGING_W,
    DRAWING_A,
    DRAWING_W,
    HEADROOM_A,
    SETTLE_S,
    UNREACHABLE_INTERVALS,
    Settings,
)
from goe_exporter.surplus.situation import (
    COMPLETE,
    FORCE,
    MIN_PAUSE,
    NEUTRAL,
    SWITCHING_PHASES,
    THREE,
    Decision,
    Situation,
    View,
    Write,
)
from goe_exporter.surplus.supply import Quality, observed
from goe_exporter.surplus.writes import Desk, shown, wanted

CLOSED_S = 40.0
"""A car uses all its phases this long after the contactor closed."""


def decide(settings: Settings, memory: Memory, situation: Situation) -> tuple[Memory, Decision]:
    """Return the memory and the decision of one step; it never raises.

    Whatever is decided, the lease of the returned memory must be on disk before the writes are
    sent.
    """
    now, sample, view, failed = situation
    memory = memory._replace(supply=observed(memory.supply, settings, situation))
    if view is None or now - view.polled_at > UNREACHABLE_INTERVALS * settings.refresh_s:
        supply = memory.supply.without_points()
        return memory._replace(supply=supply, stepped_at=None), Decision("unreachable")
    if memory.expected is None or view.polled_at > memory.polled_at:
        memory = _learnt(compared(memory, view, now), view, now)
    gate = _gate(settings, memory, view, now)
    if gate is not None:
        return gate
    quality = memory.supply.quality(settings, now, sample)
    if quality is Quality.STALE or memory.proof.failed:
        return _blind(settings, memory, view, now, proven=not memory.proof.failed)
    may_rise = quality is Quality.GOOD and not failed
    return _step(settings, memory, view, now, may_rise=may_rise)


def _step(
    settings: Settings, memory: Memory, view: View, now: float, *, may_rise: bool
) -> tuple[Memory, Decision]:
    """Decide with a usable sample."""
    step = Step(settings, memory, view, now, may_rise=may_rise)
    memory, reason = step.decided()
    desk = Desk(settings, memory, view, now)
    writes = desk.due(wanted(memory.target, view), may_rise=may_rise)
    memory, target = desk.memory, desk.memory.target
    state = "charging" if target.charge else "paused" if memory.car.charged else "waiting"
    return memory, Decision(
        state="unconfirmed" if _unconfirmed(memory) else state,
        reason=reason,
        writes=writes,
        surplus_w=step.surplus_w,
        phases=target.phases if target.charge else None,
        amps=target.amps if target.charge else None,
        budget_wh=max(0.0, memory.pause_wh) if target.charge else None,
    )


def _unconfirmed(memory: Memory) -> bool:
    return any(each.tries > 1 for each in memory.pending)


def _blind(
    settings: Settings, memory: Memory, view: View, now: float, *, proven: bool
) -> tuple[Memory, Decision]:
    """Pause without a usable sample."""
    reason = "no_response" if not proven else "frozen" if memory.supply.frozen else "stale"
    memory = memory._replace(
        supply=memory.supply.without_points(),
        target=memory.target._replace(charge=False),
        stepped_at=None,
    )
    desk = Desk(settings, memory, view, now)
    writes = desk.due(wanted(memory.target, view), may_rise=False)
    return desk.memory, Decision("blind", reason, writes)


def _gate(
    settings: Settings, memory: Memory, view: View, now: float
) -> tuple[Memory, Decision] | None:
    """Return the decision for a charger that cannot be controlled now, None for any other."""
    if memory.plugged and memory.person.channel:
        return _give_back(settings, memory, view, now)
    if view.error:
        return _anew(memory), Decision("charger_error")
    if not memory.plugged:
        return _without_car(settings, memory, view, now)
    car, charge = memory.car, memory.target.charge
    if charge and car.is_refused(now):
        return memory._replace(stepped_at=None), Decision("not_allowed", view.reason)
    if charge and car.is_full(now):
        return memory._replace(stepped_at=None), Decision("car_full")
    return None


def _anew(memory: Memory) -> Memory:
    """Return the memory as for a newly plugged-in car, but with what is known about the car."""
    car = memory.car._replace(not_allowed_since=None, empty_since=None)
    target = memory.target._replace(charge=False)
    return memory._replace(car=car, target=target, stepped_at=None)


def _give_back(
    settings: Settings, memory: Memory, view: View, now: float
) -> tuple[Memory, Decision]:
    """Give back, once, the settings that a person did not change; write nothing else."""
    person = memory.person
    desk = Desk(settings, memory, view, now)
    writes = desk.due(_not_shown(person.give_back, view), may_rise=True)
    memory = desk.memory
    left = _not_shown(person.give_back, view)
    lease = memory.lease if left else memory.lease._replace(owned=frozenset())
    memory = memory._replace(person=person._replace(give_back=left), lease=lease)
    return memory, Decision("handed_over", person.channel, writes)


def _not_shown(writes: tuple[Write, ...], view: View) -> tuple[Write, ...]:
    return tuple(write for write in writes if shown(view, write.channel) != write.value)


def _without_car(
    settings: Settings, memory: Memory, view: View, now: float
) -> tuple[Memory, Decision]:
    """Prepare the charger for the next car: neutral, with the lowest power."""
    phases = Limits(settings, memory, view).lowest_mode
    ready = Target(charge=True, phases=phases, amps=settings.min_current_a)
    wishes = wanted(ready, view)
    if FORCE not in memory.lease.owned:
        wishes = tuple(each for each in wishes if each != Write(FORCE, NEUTRAL))
    desk = Desk(settings, memory, view, now)
    writes = desk.due(wishes, may_rise=True)
    target = ready._replace(charge=False)
    memory = desk.memory._replace(
        target=target,
        car=Car(idle_since=memory.car.idle_since),
        stepped_at=None,
    )
    return memory, Decision("no_car", writes=writes)


def _learnt(memory: Memory, view: View, now: float) -> Memory:
    """Return the memory with what a poll shows about the car."""
    before = car = memory.car
    if view.closed_phases != car.closed_phases:
        car = car._replace(closed_phases=view.closed_phases, closed_since=now)
    neutral = view.force == NEUTRAL
    excused = view.allowed or view.reason in (SWITCHING_PHASES, MIN_PAUSE) or not neutral
    car = car._replace(not_allowed_since=_since(car.not_allowed_since, now, not excused))
    empty = neutral and view.car == COMPLETE and view.power_w < DRAWING_W
    car = car._replace(empty_since=_since(car.empty_since, now, empty))
    car = car._replace(ceiling_a=_ceiling(memory, view, now))
    settled = car.closed_since is not None and now - car.closed_since >= CLOSED_S
    if settled and view.closed_phases == THREE and view.power_w > CHARGING_W:
        used = sum(each > DRAWING_A for each in view.currents_a)
        car = car._replace(phases=used or None)
    memory = memory._replace(car=car)
    ended = (before.is_refused(now) and car.not_allowed_since is None) or (
        before.is_full(now) and car.empty_since is None
    )
    return _anew(memory) if ended and memory.target.charge else memory


def _since(before: float | None, now: float, holds: bool) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _ceiling(memory: Memory, view: View, now: float) -> int | None:
    """Return the current (A) beyond which the car takes no more, None if it is unknown."""
    car, taken_a = memory.car, max(view.currents_a, default=0.0)
    if car.ceiling_a is not None and taken_a > car.ceiling_a - 1:
        return None
    writes = memory.current_writes
    since = max(writes[-1] if writes else 0.0, car.closed_since or now)
    drawing = view.closed_phases and taken_a > DRAWING_A and now - since >= 2 * SETTLE_S
    if drawing and taken_a <= view.amps - HEADROOM_A:
        return round(taken_a + HEADROOM_A)
    return car.ceiling_a
