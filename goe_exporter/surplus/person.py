"""What the charger shows compared with what was written: confirmed, or changed by a person."""

from __future__ import annotations

from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.memory import Memory, Person
from goe_exporter.surplus.settings import PHASE_SWITCH_S, UNPLUGGED_AFTER_S
from goe_exporter.surplus.situation import (
    CHARGING,
    CURRENT,
    FORCE,
    IDLE,
    NEUTRAL,
    OFF,
    PHASES,
    SWITCHING_PHASES,
    View,
)
from goe_exporter.surplus.writes import adopted, shown

RESTART_S = 1.0
FULL_WH = float("inf")
"""More than any budget."""


def compared(memory: Memory, view: View, now: float) -> Memory:
    """Return the memory after a poll: confirmed writes, a new car, a person's changes."""
    if memory.expected is None:
        return _first(memory, view)
    memory = _after_restart(memory, view)
    memory = _confirmed(memory, view)
    was_plugged = memory.plugged
    memory = _plugged(memory, view, now)
    memory = memory._replace(uptime_s=view.uptime_s, polled_at=view.polled_at)
    if not memory.plugged:
        return _changed_without_car(memory, view)
    if not was_plugged:
        return memory
    return _changed(memory, view)


def _first(memory: Memory, view: View) -> Memory:
    """Begin: with a lease where it ended, without one with what is found."""
    found, lease = Baseline.of(view), memory.lease
    plugged = view.car != IDLE
    same_car = lease.is_of(view)
    lease = lease._replace(baseline=_found(lease, found))
    handed_over = lease.still_handed_over(view)
    person = _forced(lease, view) if plugged else Person()
    if handed_over and not person.channel:
        person = Person(channel=handed_over, give_back=lease.give_back(view))
    proven = lease.proven and same_car
    lease = lease._replace(plugged_at=view.plugged_at, proven=proven, handed_over=handed_over)
    # A charge whose meter is proven goes on after a crash; any other begins with a pause.
    charging = proven and view.car == CHARGING and view.force == NEUTRAL
    target = memory.target._replace(charge=charging, phases=view.phases, amps=view.amps)
    return memory._replace(
        lease=lease,
        expected=found,
        plugged=plugged,
        person=person,
        proof=memory.proof._replace(proven=proven),
        target=target,
        car=memory.car._replace(charged=charging),
        pause_wh=FULL_WH,
        phases_wh=FULL_WH,
        uptime_s=view.uptime_s,
        polled_at=view.polled_at,
    )


def _forced(lease: Lease, view: View) -> Person:
    """Return who has forced the charger, with the other settings to give back, or nobody."""
    if view.force == NEUTRAL or (view.force == OFF and FORCE in lease.owned):
        return Person()
    rest = lease._replace(owned=lease.owned - {FORCE})
    return Person(channel=FORCE, until_neutral=True, give_back=rest.give_back(view))


def _found(lease: Lease, shown: Baseline) -> Baseline:
    """Return the settings as a person left them: what is not on loan is what the charger shows."""
    before = lease.baseline
    if before is None:
        return shown
    amps = before.amps if CURRENT in lease.owned else shown.amps
    return Baseline(amps, before.mode if PHASES in lease.owned else shown.mode, shown.force)


def _after_restart(memory: Memory, view: View) -> Memory:
    """Return the memory after a restart of the charger, which may have lost what was written."""
    before, after = memory.uptime_s, view.uptime_s
    if before is None or after is None or after >= before - RESTART_S:
        return memory
    return memory._replace(
        expected=Baseline.of(view),
        pending=(),
        phases_fixed=False,
        person=memory.person._replace(suspected=""),
    )


def _confirmed(memory: Memory, view: View) -> Memory:
    """Return the memory without the writes that the charger shows."""
    assert memory.expected is not None
    for pending in memory.pending:
        channel, value = pending.write
        if shown(view, channel) != value:
            continue
        rest = tuple(each for each in memory.pending if each is not pending)
        memory = memory._replace(pending=rest, expected=adopted(memory.expected, view, channel))
        if pending.write == (FORCE, NEUTRAL):
            owned = memory.lease.owned - {FORCE}
            memory = memory._replace(lease=memory.lease._replace(owned=owned))
        assert memory.expected is not None
    return memory


def _plugged(memory: Memory, view: View, now: float) -> Memory:
    """Return the memory with the car plugged in, unplugged or replaced by another."""
    switching = view.reason == SWITCHING_PHASES or now - memory.phase_write_at < PHASE_SWITCH_S
    if view.car == IDLE:
        since = now if memory.car.idle_since is None else memory.car.idle_since
        memory = memory._replace(car=memory.car._replace(idle_since=since))
        # During a phase switch the charger shows idle for some seconds.
        gone = view.reason != SWITCHING_PHASES and (
            not switching or now - since >= UNPLUGGED_AFTER_S
        )
        return memory._replace(plugged=False) if gone else memory
    memory = memory._replace(car=memory.car._replace(idle_since=None))
    mark = memory.lease.plugged_at
    another = None not in (mark, view.plugged_at) and not memory.lease.is_of(view)
    if memory.plugged and not (another and not switching):
        if mark != view.plugged_at:
            lease = memory.lease._replace(plugged_at=view.plugged_at)
            memory = memory._replace(lease=lease)
        return memory
    return _new_car(memory, view)


def _new_car(memory: Memory, view: View) -> Memory:
    """Return the memory for a car that was just plugged in: nothing is known about it."""
    lease = _as_left(memory, view)._replace(plugged_at=view.plugged_at, proven=False)
    lease = lease._replace(wear=lease.wear._replace(started_at=None))
    fresh = Memory(lease)
    return memory._replace(
        lease=lease,
        plugged=True,
        proof=fresh.proof,
        car=fresh.car,
        person=_forced(lease, view),
        target=memory.target._replace(charge=False),
        expected=Baseline.of(view),
        pending=tuple(each for each in memory.pending if each.write.channel != FORCE),
    )


def _changed_without_car(memory: Memory, view: View) -> Memory:
    """Return the memory with a person's settings, which hold for the next car."""
    lease = _as_left(memory, view)
    return memory._replace(lease=lease, expected=Baseline.of(view), person=Person())


def _as_left(memory: Memory, view: View) -> Lease:
    """Return the lease, in which a person's changes without a car count as found."""
    lease, found = memory.lease, memory.lease.baseline
    for channel in (CURRENT, PHASES):
        if found is not None and _differs(memory, view, channel):
            found = adopted(found, view, channel)
    owned = lease.owned if view.force == OFF else lease.owned - {FORCE}
    return lease._replace(baseline=found, owned=owned, handed_over="")


def _changed(memory: Memory, view: View) -> Memory:
    """Return the memory after a check for a person's change, which must be in two polls."""
    person = memory.person
    if person.channel:
        ended = person.until_neutral and view.force == NEUTRAL and not person.give_back
        if not ended:
            return memory
        target = memory.target._replace(charge=False)
        return memory._replace(
            person=Person(), expected=Baseline.of(view), target=target, pending=()
        )
    for channel in (FORCE, PHASES, CURRENT):
        if _differs(memory, view, channel):
            return _suspected(memory, view, channel)
    return memory._replace(person=person._replace(suspected="")) if person.suspected else memory


def _differs(memory: Memory, view: View, channel: str) -> bool:
    """Return whether a channel shows neither what it should nor what was written since."""
    assert memory.expected is not None
    value, pending = shown(view, channel), memory.pending_write(channel)
    written = () if pending is None else (pending.write.value, *pending.earlier)
    return value != shown(memory.expected, channel) and value not in written


def _suspected(memory: Memory, view: View, channel: str) -> Memory:
    assert memory.expected is not None
    person = memory.person
    if channel == CURRENT and _limited(memory, view):
        return memory._replace(expected=adopted(memory.expected, view, channel))
    if channel == FORCE and _freed_itself(memory, view) and not person.repaused:
        expected = adopted(memory.expected, view, channel)
        return memory._replace(expected=expected, person=person._replace(repaused=True))
    if person.suspected != channel:
        suspicion = person._replace(suspected=channel, seen_at=view.polled_at)
        return memory._replace(person=suspicion)
    if view.polled_at <= person.seen_at:
        return memory
    return _handed_over(memory, view, channel)


def _freed_itself(memory: Memory, view: View) -> bool:
    """Return whether a forced state may have ended by itself, as it does when a car leaves."""
    assert memory.expected is not None
    off = memory.expected.force == OFF and view.force == NEUTRAL
    return off and view.plugged_at is None


def _handed_over(memory: Memory, view: View, channel: str) -> Memory:
    """End the control; what was changed and the person did not touch is given back."""
    touched = {
        channel,
        *(each for each in (FORCE, PHASES, CURRENT) if _touched(memory, view, each)),
    }
    until_neutral = channel == FORCE and view.force != NEUTRAL
    lease = memory.lease._replace(
        owned=memory.lease.owned - touched, handed_over="" if until_neutral else channel
    )
    person = Person(
        channel=channel,
        until_neutral=until_neutral,
        give_back=lease.give_back(view),
    )
    return memory._replace(lease=lease, person=person, pending=(), expected=Baseline.of(view))


def _touched(memory: Memory, view: View, channel: str) -> bool:
    """Return whether a person has changed a channel."""
    return _differs(memory, view, channel) and not (channel == CURRENT and _limited(memory, view))


def _limited(memory: Memory, view: View) -> bool:
    """Return whether the charger itself shows the current that it is limited to."""
    assert memory.expected is not None
    pending = memory.pending_write(CURRENT)
    written_a = 0 if pending is None else int(pending.write.value)
    return view.limit_a == view.amps < max(memory.expected.amps, written_a)
