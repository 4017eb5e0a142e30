"""The rules that divide a charger's energy into sessions.

Pure: `track` takes the memory and an observation, and returns the next memory and what happened.
The meter decides: its rise is added to the session under way, or is unassigned if there is none. A
failed poll is not an observation.
"""

from __future__ import annotations

import math
from dataclasses import replace

from goe_exporter.sessions.energy import (
    MAX_WATTS,
    added,
    restarted_since,
    rise,
    since_plug_in,
    spread,
    v1_step_wh,
)
from goe_exporter.sessions.memory import Memory, Open
from goe_exporter.sessions.observation import Observation, completed
from goe_exporter.sessions.opening import first_memory, is_plug_in
from goe_exporter.sessions.session import Correction, Session, Unassigned
from goe_exporter.sessions.step import MARK_SECONDS, restarted_counting, step, switched_at

Event = Session | Unassigned | Correction
"""A session was closed, energy belongs to no session, or the meter was corrected."""

IDLE_SECONDS = 10.0
"""How long the car must be idle before the session ends."""

HANDOVER_SECONDS = 60.0
"""Too short for a third car to come and go between two others."""

SOURCES_SECONDS = 120.0
"""The energy by source is requested once a minute; until then, it may be another session's."""


def track(
    charger: str, serial: str, memory: Memory | None, seen: Observation
) -> tuple[Memory | None, tuple[Event, ...]]:
    """Return the memory after an observation of a charger, and what happened.

    The memory is None until the first observation with a reading of the meter.
    """
    if memory is None:
        return first_memory(seen), ()
    turn = _Turn(charger, serial, memory.on_time(seen.moment), seen)
    return turn.memory(), tuple(turn.events)


class _Turn:
    """One observation: it changes the session under way, and collects the events."""

    def __init__(self, charger: str, serial: str, memory: Memory, seen: Observation) -> None:
        self.events: list[Event] = []
        self._charger = charger
        self._serial = serial
        self._before = memory
        self._last = memory.last
        self._seen = seen
        self._now = seen.moment.time
        self._step = step(memory, seen)
        self._unmetered = memory.unmetered_seconds + self._step.seconds
        self._rise = rise(memory.last, seen, self._unmetered, memory.unmetered_wh)
        self._session = memory.session
        self._idle_since = memory.idle_since
        self._meter = memory.meter_wh if seen.meter_wh is None else seen.meter_wh
        self._take()

    def memory(self) -> Memory:
        """Return the memory for the next observation."""
        seen = self._seen
        metered = seen.meter_wh is not None
        mark = None if self._step.restarted else self._before.mark
        return replace(
            self._before,
            last=completed(seen, self._last, self._meter, self._step.seconds),
            mark=mark if seen.mark is None else seen.mark,
            unmetered_seconds=0.0 if metered else self._unmetered,
            unmetered_wh=0.0 if metered else self._before.unmetered_wh + self._rise.counter_wh,
            session=self._session,
            idle_since=self._idle_since,
            switched_at=switched_at(self._before, seen, self._rise) if self._session else None,
        )

    def _take(self) -> None:
        seen, gap = self._seen, self._step.gap
        if self._rise.reason:
            self._correct()
        if self._session is not None and gap and self._idle_since is not None:
            stayed = seen.plugged and seen.mark is not None and not self._step.replugged
            if not stayed:
                self._close(self._idle_since, self._before.meter_wh)
        if self._step.replugged and (self._session is not None or gap):
            self._replug()
        elif self._session is not None:
            self._go_on(self._session)
        elif seen.plugged:
            self._arrive()
        else:
            self._unassign(self._rise.meter_wh)
        self._note()

    def _correct(self) -> None:
        reason = self._rise.reason
        self.events.append(
            Correction(
                self._charger,
                self._serial,
                int(self._now),
                self._before.meter_wh,
                self._meter,
                self._rise.correction_wh,
                reason,
            )
        )
        if self._session is not None:
            self._session = self._session.flagged(reason)

    def _replug(self) -> None:
        """End the session and begin another; the counter shows what rose after the plug-in."""
        seen, gap, session = self._seen, self._step.gap, self._session
        counter, before = self._boundary()
        boundary = self._meter - (self._rise.meter_wh - before)
        if session is not None:
            # A car that had finished charging took no more energy, even if the same card follows.
            # After a restart, the charger does not know of earlier plug-ins.
            same_card = session.card and session.card == seen.card
            went_on = same_card and self._last.charging and not self._step.restarted
            unobserved = self._plugged_at() - self._step.since
            if went_on or unobserved <= HANDOVER_SECONDS:
                self._give(before, float(before))
            else:
                self._unassign(before)
            end, flags = self._idle_since, ("end_not_seen",) if gap else ()
            self._close(self._plugged_at() if end is None else end, boundary, *flags)
        else:
            self._unassign(before)
        after = self._rise.meter_wh - before
        if seen.plugged is False and seen.mark is None and not (after or counter):
            return  # the car left; there is no evidence of another one in between
        begin = "begin_inferred" if is_plug_in(seen) else "start_not_seen"
        self._begin(boundary, begin, *restarted_since(after, counter))
        self._give(after, counter, since=self._plugged_at())
        if seen.plugged is False:
            self._close(self._now, self._meter, "end_not_seen")

    def _arrive(self) -> None:
        """Begin a session: a car has been plugged in."""
        if not self._step.gap:
            flags = ("start_not_seen",) if self._last.plugged else ()
            self._begin(self._meter - self._rise.meter_wh, *flags)
            self._give(self._rise.meter_wh, self._first_counter())
            return
        counter, before = self._boundary()
        self._unassign(before)
        after = self._rise.meter_wh - before
        self._begin(self._meter - after, "start_not_seen", *restarted_since(after, counter))
        self._give(after, counter, since=self._plugged_at())

    def _go_on(self, session: Open) -> None:
        """Continue the session under way, or end it if its car has left."""
        seen, step_ = self._seen, self._step
        flags = [
            *(["charger_restarted"] if step_.restarted else ()),
            *(["counter_restarted"] if restarted_counting(session, self._rise) else ()),
        ]
        self._session = session = session.flagged(*flags)
        if self._other_card(session):
            self._change_card()
            return
        lost_track = step_.gap and not self._rise.counted_through
        if lost_track and self._is_anothers(session):
            # It is unknown whose energy this was.
            self._unassign(self._rise.meter_wh)
            self._give(0, 0.0)
        else:
            self._give(self._rise.meter_wh, self._rise.counter_wh + self._lost_wh())
        if seen.plugged:
            self._idle_since = None
            if lost_track and (seen.mark is None or step_.restarted):
                self._session = self._session.flagged("may_be_two")
        elif seen.plugged is False:
            self._leave()

    def _lost_wh(self) -> float:
        """Return what the counter of API v1 lost by restarting in a gap (Wh), by the meter."""
        lost = self._rise.meter_wh - self._rise.counter_wh - self._before.unmetered_wh
        possible = self._seen.api == 1 and self._step.gap
        step_wh = v1_step_wh(self._before.meter_wh, self._meter)
        return lost if possible and lost > step_wh else 0.0

    def _is_anothers(self, session: Open) -> bool:
        """Return whether part of the energy of a gap may be another person's.

        API v1 reports the last card while no car charges.
        """
        before, now = session.card or 0, self._seen.card or 0
        if self._step.restarted:
            return before != now
        return self._seen.plugged is False and 0 < before != now > 0

    def _leave(self) -> None:
        """End the session if the car has been idle for long enough."""
        now = self._now
        since = now if self._idle_since is None else self._idle_since
        self._idle_since = since
        unplugged = self._last.cable and not self._seen.cable
        if self._step.switching and not unplugged:
            return
        if self._step.gap:
            self._close(now, self._meter, "end_not_seen")
        elif unplugged or self._step.seconds >= IDLE_SECONDS or not 0 <= now - since < IDLE_SECONDS:
            self._close(since, self._meter)

    def _other_card(self, session: Open) -> bool:
        """Return whether another card charges from now on.

        A car may be plugged in before its card is read.
        """
        seen = self._seen
        if session.card is None or seen.card is None or session.card == seen.card:
            return False
        authorised_now = session.card == 0 and session.energy_wh == 0
        may_tell = seen.charging or (self._step.gap and seen.plugged is not False)
        return may_tell and not authorised_now

    def _change_card(self) -> None:
        gap = self._step.gap
        after = 0 if gap else self._rise.meter_wh
        if gap:
            self._unassign(self._rise.meter_wh)
        self._close(self._now, self._meter - after, "card_changed")
        self._begin(self._meter - after, "card_changed", started=self._now)
        if not gap:
            self._give(after, self._rise.counter_wh)

    def _boundary(self) -> tuple[float, int]:
        """Return the counter of a new session (Wh), and how far the meter rose before it (Wh).

        The latter is limited to what is possible: the counter may have restarted after the plug-in.
        """
        counter = self._first_counter()
        seconds = max(self._plugged_at() - (self._now - self._unmetered), 0.0)
        before = min(self._rise.meter_wh - counter, 1 + MAX_WATTS * seconds / 3600)
        return counter, max(round(before), 0)

    def _first_counter(self) -> float:
        """Return the counter of a session that has just begun (Wh).

        A counter that did not change still shows the last session. If the car was plugged in all
        the time, because another charger had this one's name meanwhile, part of it was booked.
        """
        before, now = self._last.counter_wh or 0.0, self._seen.counter_wh or 0.0
        if self._last.plugged and not self._step.replugged:
            return self._rise.counter_wh
        return 0.0 if abs(now - before) < 1.0 else since_plug_in(self._seen)

    def _plugged_at(self) -> float:
        """Return the Unix time at which the car was plugged in; now if unknown."""
        since = self._seen.since_plug_in
        if since is None or since > self._step.seconds + MARK_SECONDS:
            return self._now
        return self._now - since

    def _begin(self, meter_wh: int, *flags: str, started: float | None = None) -> None:
        self._session = Open(
            self._seen.api,
            self._plugged_at() if started is None else started,
            meter_wh,
            flags=frozenset(flags),
        )
        self._idle_since = None

    def _close(self, ended: float, meter_wh: int, *flags: str) -> None:
        session = self._session
        assert session is not None
        if not self._seen.moment.trusted:
            flags = (*flags, "clock_unsure")
        session = session.flagged(*flags)
        self.events.append(session.closed(self._charger, self._serial, ended, meter_wh))
        self._session = self._idle_since = None

    def _give(self, meter_wh: int, counter_wh: float, since: float | None = None) -> None:
        """Add energy to the session under way."""
        session = self._session
        assert session is not None
        counter = session.counter_wh + counter_wh
        energy = round(counter) - session.energy_wh if session.api == 1 else meter_wh
        begin = self._since(since)
        gap = self._step.gap
        self._session = replace(
            session,
            slots=added(session.slots, spread(energy, begin, self._now)),
            energy_wh=session.energy_wh + energy,
            counter_wh=counter,
            meter_wh=session.meter_wh + meter_wh,
            unobserved_wh=session.unobserved_wh + (energy if gap else 0),
            unobserved_seconds=session.unobserved_seconds + (self._now - begin if gap else 0.0),
        )

    def _unassign(self, energy_wh: int) -> None:
        self.events += (
            Unassigned(self._charger, self._serial, start, energy)
            for start, energy in spread(energy_wh, self._since(None), self._now)
        )

    def _since(self, since: float | None) -> float:
        """Return the Unix time since which the energy rose; now if there was no gap."""
        if not self._step.gap and self._unmetered <= self._seen.gap_seconds:
            return self._now
        return self._step.since if since is None else since

    def _note(self) -> None:
        """Update the card, sources, power and charging time of the session under way."""
        session, seen, step_ = self._session, self._seen, self._step
        if session is None:
            return
        seconds = 0.0 if math.isinf(step_.seconds) else step_.seconds
        seconds = min(seconds, max(self._now - session.started, 0.0))
        charging = seen.charging and (self._last.charging or not step_.gap)
        card, sources, power = session.card, session.sources, session.max_power_w
        if seen.charging and seen.card is not None and (card is None or not session.energy_wh):
            card = seen.card
        if seen.sources and self._now - session.started >= SOURCES_SECONDS:
            sources = seen.sources
        if seen.power_w is not None:
            power = max(round(seen.power_w), power or 0)
        self._session = replace(
            session,
            card=card,
            sources=sources,
            max_power_w=power,
            charging_seconds=session.charging_seconds + (seconds if charging else 0.0),
        )
