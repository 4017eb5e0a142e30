"""What the tracker of a charger remembers; it is saved with every event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from goe_exporter.sessions.energy import moved
from goe_exporter.sessions.observation import Moment, Observation
from goe_exporter.sessions.session import Session, Slots

CLOCK_STEP_SECONDS = 1.0
CHECK_RATIO = 0.03
CHECK_STEP_WH = {1: 1_000, 2: 1}
"""API → the step of the meter (Wh); V1 and V2 hardware counts whole kWh."""


@dataclass(frozen=True, slots=True)
class Open:
    """The session under way; fields as in `Session`, `counter_wh` with fractions."""

    api: int
    started: float
    meter_start_wh: int
    slots: Slots = ()
    energy_wh: int = 0
    card: int | None = None
    flags: frozenset[str] = frozenset()
    charging_seconds: float = 0.0
    unobserved_wh: int = 0
    unobserved_seconds: float = 0.0
    counter_wh: float = 0.0
    meter_wh: int = 0
    max_power_w: int | None = None
    sources: Mapping[str, int] = field(default_factory=dict)

    def closed(self, charger: str, serial: str, ended: float, meter_wh: int) -> Session:
        """Return the session with its end, and the meter's reading then."""
        flags = set(self.flags)
        difference = abs(self.counter_wh - self.meter_wh)
        allowed = CHECK_RATIO * self.meter_wh + 2 * CHECK_STEP_WH[self.api]
        if difference > allowed and not flags & {"counter_restarted", "charger_restarted"}:
            flags.add("energy_check")
        started = int(self.started)
        return Session(
            id=f"{serial}_{started}",
            charger=charger,
            serial=serial,
            api=self.api,
            started=started,
            ended=max(int(ended), started),
            energy_wh=self.energy_wh,
            meter_start_wh=self.meter_start_wh,
            meter_end_wh=meter_wh,
            slots=self.slots,
            card=self.card,
            flags=tuple(sorted(flags)),
            charging_seconds=round(self.charging_seconds),
            unobserved_wh=self.unobserved_wh,
            unobserved_seconds=round(self.unobserved_seconds),
            counter_wh=round(self.counter_wh),
            meter_wh=self.meter_wh,
            max_power_w=self.max_power_w,
            sources=self.sources,
        )

    def flagged(self, *flags: str) -> Open:
        """Return the session with more flags."""
        return self if self.flags.issuperset(flags) else replace(self, flags=self.flags | {*flags})


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known from the observations so far.

    The books begin with the meter's reading `first_wh` at the Unix time `first_time`. `last` is the
    last observation, with the latest values of the meter and the counter. `unmetered_seconds` is
    how long before it the meter was read, and `unmetered_wh` how far the counter has risen since.
    `mark` is the latest plug-in on the charger's clock, None after a restart of the charger.
    `session` is the session under way; its car has been idle since `idle_since` (Unix time), and
    its phases were switched at `switched_at` (the machine's uptime).
    """

    first_time: float
    first_wh: int
    last: Observation
    mark: float | None = None
    unmetered_seconds: float = 0.0
    unmetered_wh: float = 0.0
    session: Open | None = None
    idle_since: float | None = None
    switched_at: float | None = None

    @property
    def meter_wh(self) -> int:
        """The latest reading of the meter; the books begin with one."""
        assert self.last.meter_wh is not None
        return self.last.meter_wh

    def closed(self, charger: str, serial: str, *flags: str) -> Session | None:
        """Return the session under way, ended with the last observation; None without one."""
        if self.session is None:
            return None
        session, ended = self.session.flagged(*flags), self.last.moment.time
        return session.closed(charger, serial, ended, self.meter_wh)

    def on_time(self, now: Moment) -> Memory:
        """Return the memory with its times corrected, if the clock was set and was not trusted."""
        last, session, idle = self.last.moment, self.session, self.idle_since
        if last.trusted:
            return self
        if last.boot != now.boot:
            return replace(self, session=session and session.flagged("clock_unsure"))
        change = (now.time - now.uptime) - (last.time - last.uptime)
        if not now.trusted or abs(change) < CLOCK_STEP_SECONDS:
            return self
        if session is not None:
            slots = moved(session.slots, change)
            session = replace(session, started=session.started + change, slots=slots)
        return replace(
            self,
            first_time=self.first_time + change,
            session=session,
            idle_since=None if idle is None else idle + change,
        )

    def to_json(self) -> str:
        """Return the memory as JSON."""
        return json.dumps(self, separators=(",", ":"), default=_plain)

    @classmethod
    def from_json(cls, text: str) -> Memory:
        """Return the memory that `to_json` wrote; raises ValueError for anything else."""
        try:
            found: dict[str, Any] = json.loads(text)
            last, session = found.pop("last"), found.pop("session")
            last = Observation(**{**last, "moment": Moment(**last["moment"])})
            if session is not None:
                slots = tuple((int(start), int(energy)) for start, energy in session["slots"])
                session = Open(**{**session, "slots": slots, "flags": frozenset(session["flags"])})
            return cls(**found, last=last, session=session)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a tracker's memory: {text:.80}") from error


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return {name: getattr(value, name) for name in _NAMES[type(value)]}


_NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(each.name for each in fields(kind)) for kind in (Memory, Open, Observation, Moment)
}
