"""The writes that lead from what the charger shows to the target, in a safe order."""

from __future__ import annotations

from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.memory import Memory, Pending, Target
from goe_exporter.surplus.settings import POLLS_TO_CONFIRM, Settings
from goe_exporter.surplus.situation import (
    CURRENT,
    FORCE,
    NEUTRAL,
    OFF,
    PHASES,
    THREE,
    View,
    Write,
)
from goe_exporter.surplus.wear import SWITCHES, last_hour

RETRY_S = (10.0, 20.0, 40.0, 60.0)
MAX_SWITCH_TRIES = 3


def shown(settings: View | Baseline, channel: str) -> int | str:
    """Return what the charger shows, or should show, for a channel, as `Write.value`."""
    if channel == CURRENT:
        return settings.amps
    if channel == FORCE:
        return settings.force
    return "auto" if settings.mode == 0 else settings.mode


def adopted(settings: Baseline, view: View, channel: str) -> Baseline:
    """Return the settings with what the charger shows for one channel."""
    if channel == CURRENT:
        return settings._replace(amps=view.amps)
    if channel == PHASES:
        return settings._replace(mode=view.mode)
    return settings._replace(force=view.force)


def wanted(target: Target, view: View) -> tuple[Write, ...]:
    """Return the next writes towards a target.

    One that lowers the power comes first; one that raises it waits until the others are shown.
    """
    phases = () if view.phases == target.phases else (Write(PHASES, target.phases),)
    current = () if view.amps == target.amps else (Write(CURRENT, target.amps),)
    if not target.charge:
        return () if view.force == OFF else (Write(FORCE, OFF),)
    lower = current if target.amps < view.amps else ()
    if view.force == OFF:
        return (*phases, *lower) or (Write(FORCE, NEUTRAL),)
    if not phases:
        return current
    if target.phases == THREE:
        return lower or phases
    return (*lower, *phases)


def raises(write: Write, view: View) -> bool:
    """Return whether a write may raise the power."""
    if write.channel == CURRENT:
        return int(write.value) > view.amps
    if write.channel == FORCE:
        return write.value != OFF
    return write.value != 1


def _renewed(pending: Pending | None, write: Write, now: float) -> Pending:
    """Return what is pending after a write, with what was pending before."""
    if pending is None:
        return Pending(write, now)
    if pending.write == write:
        return pending._replace(since=now, tries=pending.tries + 1)
    return Pending(write, now, earlier=(*pending.earlier, pending.write.value))


class Desk:
    """Decides which wanted writes are due, and remembers them."""

    def __init__(self, settings: Settings, memory: Memory, view: View, now: float) -> None:
        """Begin with the memory of this step."""
        self.settings, self.view, self.now = settings, view, now
        self.memory = memory

    def due(self, wishes: tuple[Write, ...], *, may_rise: bool) -> tuple[Write, ...]:
        """Return the writes to send now; the others wait for their turn or their confirmation."""
        sent = []
        for write in wishes:
            pending = self.memory.pending_write(write.channel)
            if self._held(write, pending, may_rise=may_rise):
                continue
            again = pending is not None and pending.write == write
            if again and pending is not None and self._given_up(pending):
                continue
            self._remember(_renewed(pending, write, self.now), again=again)
            sent.append(write)
        return tuple(sent)

    def _held(self, write: Write, pending: Pending | None, *, may_rise: bool) -> bool:
        # An unexpected value is not overwritten until the next poll confirms that it is a person's;
        # that person may have changed other settings too. Only a pause does not wait for that.
        suspected = self.memory.person.suspected
        if suspected and (write.channel != FORCE or suspected == FORCE):
            return True
        if raises(write, self.view) and not may_rise:
            return True
        if not self._has_room(write, pending):
            return True
        if pending is None:
            return False
        if pending.write != write and self._lowers(write, pending):
            return False
        wait_s = RETRY_S[min(max(pending.tries, 1), len(RETRY_S)) - 1]
        wait_s = max(wait_s, POLLS_TO_CONFIRM * self.settings.refresh_s)
        return self.now - pending.since < wait_s

    def _lowers(self, write: Write, pending: Pending) -> bool:
        if write.channel == CURRENT:
            return int(write.value) < int(pending.write.value)
        return not raises(write, self.view)

    def _has_room(self, write: Write, pending: Pending | None) -> bool:
        """Return whether the limits of an hour allow a write."""
        if write.channel == CURRENT:
            return self.memory.current_writes_left(self.now) > 0
        if write.channel != PHASES or pending is not None or not self.view.closed_phases:
            return True
        return self.memory.lease.wear.allows(self.now, SWITCHES)

    def _given_up(self, pending: Pending) -> bool:
        """Return whether the charger ignores its phases; they count as fixed from now on."""
        if pending.write.channel != PHASES or pending.tries < MAX_SWITCH_TRIES:
            return False
        target = self.memory.target._replace(phases=self.view.phases)
        rest = tuple(each for each in self.memory.pending if each is not pending)
        self.memory = self.memory._replace(phases_fixed=True, target=target, pending=rest)
        return True

    def _remember(self, pending: Pending, *, again: bool) -> None:
        memory, write = self.memory, pending.write
        rest = tuple(each for each in memory.pending if each.write.channel != write.channel)
        memory = memory._replace(pending=(*rest, pending))
        if write.channel == CURRENT:
            recent = last_hour(memory.current_writes, self.now)
            memory = memory._replace(current_writes=(*recent, self.now))
        if write.channel == PHASES:
            memory = memory._replace(phase_write_at=self.now)
        self.memory = memory if again else memory._replace(lease=self._lease(write))

    def _lease(self, write: Write) -> Lease:
        """Return the lease with the ownership and the wear of a new write."""
        lease, wear = self.memory.lease, self.memory.lease.wear
        if lease.baseline is not None and write.channel not in lease.owned:
            # It may be a person's value of a hand-over that ended.
            lease = lease._replace(baseline=adopted(lease.baseline, self.view, write.channel))
        owned = lease.owned | {write.channel}
        if write.channel == PHASES:
            closed = self.view.force != OFF and self.memory.plugged
            if closed or write.value == THREE:
                wear = wear.switched(self.now, closed=closed)
        elif write == Write(FORCE, OFF):
            wear = wear.paused(self.now, self.settings.min_pause_s)
        elif write.channel == FORCE and self.memory.plugged:
            wear = wear.started(self.now)
        return lease._replace(owned=owned, wear=wear)
