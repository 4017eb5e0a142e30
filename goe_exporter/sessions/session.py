"""A charging session: from plugging in a car to unplugging it.

Times are Unix seconds, energies whole Wh. What is stored is energy per quarter hour, never money.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

SLOT_SECONDS = 900
"""The length of a slot: a quarter hour, aligned to :00, :15, :30 and :45 UTC."""

Slots = tuple[tuple[int, int], ...]
"""Energy by quarter hour: (start, Wh) in order, without quarter hours of 0 Wh."""

FLAGS = {
    "start_not_seen": "the car was plugged in when it was first seen; the beginning may be earlier",
    "begin_inferred": "the beginning is known only from the charger's own clock (lccfi)",
    "end_not_seen": "the car left while the charger was not observed; the end may be earlier",
    "may_be_two": "the car may have been replugged while the charger was not observed",
    "charger_restarted": "the charger restarted",
    "counter_restarted": "the charger's session counter restarted",
    "meter_reset": "the charger's meter fell",
    "meter_jump": "the charger's meter rose faster than possible",
    "card_changed": "another card took over; the session was split",
    "energy_check": "the charger's two counters differ by more than 3 %",
    "clock_unsure": "the clock was not confirmed; the times may be wrong",
    "charger_replaced": "another charger answered under the same name",
}
"""What was unusual about a session, by flag."""


@dataclass(frozen=True)
class Session:
    """A session of one charger.

    `id` is `SERIAL_UNIXSTART`. `energy_wh` is the sum of `slots`: on API v2 the rise of the meter
    (`eto`), `meter_wh`; on API v1, whose meter may move in whole kWh, the sum of the session
    counter, `counter_wh`. `meter_start_wh` and `meter_end_wh` are the meter's readings. `card` is
    the number of the RFID card, 0 without a card, None if unknown. `flags` are keys of `FLAGS`, in
    alphabetical order. Of `energy_wh`, `unobserved_wh` rose between two polls that were too far
    apart; `unobserved_seconds` is how long those gaps were. `sources` is the energy (Wh) by source
    as the charger reports it, if it does. `max_power_w` is None if the charger reports no power.
    """

    id: str
    charger: str
    serial: str
    api: int
    started: int
    ended: int
    energy_wh: int
    meter_start_wh: int
    meter_end_wh: int
    slots: Slots = ()
    card: int | None = None
    flags: tuple[str, ...] = ()
    charging_seconds: int = 0
    unobserved_wh: int = 0
    unobserved_seconds: int = 0
    counter_wh: int = 0
    meter_wh: int = 0
    max_power_w: int | None = None
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> int:
        """How long the car was plugged in."""
        return self.ended - self.started

    def to_json(self) -> str:
        """Return the session as a JSON object, with the fields' names."""
        return json.dumps(vars(self), separators=(",", ":"), default=dict)

    @classmethod
    def from_json(cls, text: str) -> Session:
        """Return the session that `to_json` wrote; raises ValueError for anything else.

        Unknown fields are ignored, so that a later release can add some.
        """
        found = json.loads(text)
        try:
            known = {name: found[name] for name in _FIELDS if name in found}
            slots = tuple([(start, energy) for start, energy in known.pop("slots", ())])
            flags = tuple(known.pop("flags", ()))
            return cls(slots=slots, flags=flags, **known)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a session: {text:.80}") from error


_FIELDS = tuple(each.name for each in dataclasses.fields(Session))


@dataclass(frozen=True)
class Unassigned:
    """Energy (Wh) that belongs to no session, in the quarter hour from `start`."""

    charger: str
    serial: str
    start: int
    energy_wh: int


@dataclass(frozen=True)
class Correction:
    """A change of the meter that is not energy: it fell, or rose faster than possible.

    It read `before_wh`, then `after_wh`; `reason` is a flag. `energy_wh` is the part of the change
    that is neither in a session nor unassigned.
    """

    charger: str
    serial: str
    time: int
    before_wh: int
    after_wh: int
    energy_wh: int
    reason: str


@dataclass(frozen=True)
class DayReading:
    """The first reading of the meter on a local `day`, as in 2026-01-31, taken at `time`.

    `mid_wh` is the MID meter's reading, and `certification`, `model` and `firmware` are what the
    charger reports; None if it does not.
    """

    charger: str
    serial: str
    day: str
    time: int
    meter_wh: int
    mid_wh: int | None = None
    certification: str | None = None
    model: str | None = None
    firmware: str | None = None


@dataclass(frozen=True)
class Book:
    """The books of a charger: the first and the last reading of its meter, and their times.

    sessions + `under_way` + unassigned + corrections = `last_wh` - `first_wh`: to the Wh on API v2,
    roughly on API v1, whose sessions are counted by another counter. `under_way` is the session of
    the car that is plugged in, with the last poll that was saved as its end.
    """

    charger: str
    serial: str
    api: int
    first_time: int
    first_wh: int
    last_time: int
    last_wh: int
    under_way: Session | None = None
