"""Charging sessions of the last month or two for the demo, as if it had been running.

The cars are invented, but the tracker makes the sessions, and the books close: the history ends
with what the simulated charger's meter shows now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from random import Random
from typing import NamedTuple

from goe_exporter.durable.clock import TrustedClock, boot, uptime
from goe_exporter.sessions.ledger import midnight
from goe_exporter.sessions.memory import Memory
from goe_exporter.sessions.observation import Moment, Observation
from goe_exporter.sessions.session import DayReading
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.sessions.store import Record, Store, Tracked
from goe_exporter.sessions.tracker import track
from goe_exporter.simulator import Charger

CARDS = {"1": "Anna", "2": "Ben", "3": "ABC-E 123 (company car)"}
SETTINGS = {
    "web": True,
    "tariffs": [
        {
            "since": "2020-01-01",
            "price": 0.32,
            "basis": "Example of a contract",
            "windows": [{"from": "22:00", "to": "06:00", "price": 0.24}],
        }
    ],
    "report": ["Employee: Anna Example", "Employer: Example GmbH"],
}

QUARTER, HOUR = 900.0, 3600.0
STAY_HOURS = 6
"""Hours for which a car that is full when the demo starts has been plugged in."""

FULL_SHARE = 0.95
"""A car charges for at most this share of its stay."""

NEVER_SECONDS = 1e9
OUTAGE_SECONDS = 60.0
"""After this time without an answer, the one outage of the history is a gap."""

API = 2


class Habit(NamedTuple):
    """When a car comes: on which weekdays, when (hours), for how long, and what it takes (Wh)."""

    weekdays: Sequence[int]
    comes: tuple[float, float]
    stays: tuple[float, float]
    takes_wh: tuple[float, float]
    watts: float
    cards: Sequence[int]


HABITS = (
    Habit((0, 1, 3, 4, 6), (17.0, 20.5), (9.0, 12.5), (5_000, 32_000), 10_800.0, (1, 1, 2)),
    Habit((0, 1, 2, 3), (7.5, 9.0), (4.0, 9.0), (8_000, 38_000), 7_200.0, (0,)),
    Habit((2, 5), (10.0, 18.0), (2.0, 5.0), (3_000, 20_000), 10_800.0, (3,)),
)
"""The cars of the first chargers of the demo; the others have no history."""


class Stay(NamedTuple):
    """A car at a charger: from when to when (Unix time), what it takes (Wh), and its card."""

    begins: float
    ends: float
    energy_wh: int
    watts: float
    card: int


def settings(folder: Path) -> SessionSettings:
    """Return the settings of a store in a folder."""
    return SessionSettings.model_validate({**SETTINGS, "store": str(folder / "sessions.db")})


def write(chosen: SessionSettings, chargers: Mapping[str, Charger], now: float) -> None:
    """Write the store, with the history of the first of the chargers, by name, until `now`.

    The clock is saved as trusted, so that the sessions that follow are not flagged.
    """
    # The confirmed time is saved beside the store, where the exporter finds it.
    TrustedClock(Path(f"{chosen.store}.clock"), boot()).compare(time.time())
    records: list[Record] = []
    tracked = {}
    for place, (habit, (name, charger)) in enumerate(zip(HABITS, chargers.items(), strict=False)):
        history = _History(name, charger, now, chosen.time_zone)
        history.live(habit, Random(f"{place}"))  # noqa: S311  (variety, not a secret)
        records += history.records
        tracked[charger.serial] = Tracked(name, history.memory)
    store = Store(chosen.path)
    try:
        store.write(records, tracked)
    finally:
        store.close()


class _History:
    """What the tracker made of a charger until `now`."""

    def __init__(self, name: str, charger: Charger, now: float, zone: tzinfo) -> None:
        self.records: list[Record] = []
        self._name = name
        self._charger = charger
        self._now = now
        self._zone = zone
        self._uptime = uptime() - now
        self._boot = boot()
        self._memory: Memory | None = None
        self._meter = int(charger.energy_wh)
        self._counter = 0.0
        self._seen_wh = 0
        self._day = date.min

    @property
    def memory(self) -> Memory:
        """What the tracker remembers at the end."""
        assert self._memory is not None
        return self._memory

    def live(self, habit: Habit, chance: Random) -> None:
        """Let cars come and go from the day before the first of the last month."""
        today = datetime.fromtimestamp(self._now, self._zone).date()
        last_month = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
        first = last_month - timedelta(days=1)
        stays = list(self._stays(habit, chance, first, today))
        self._meter -= sum(each.energy_wh for each in stays)
        self._day = first
        self._see(midnight(first, self._zone))
        for number, each in enumerate(stays):
            # Once, the exporter does not run for a while.
            self._stay(each, outage=number == len(stays) // 2)
        if self.memory.last.moment.time < self._now:
            self._see(self._now)

    def _stays(self, habit: Habit, chance: Random, first: date, today: date) -> Iterator[Stay]:
        """Yield the cars in their order, and at last the one that is there."""
        present_wh = int(self._charger.session_wh) if self._charger.car is not None else 0
        present = self._now - STAY_HOURS * HOUR
        day = first
        while day < today:
            begins = midnight(day, self._zone) + chance.uniform(*habit.comes) * HOUR
            seconds = chance.uniform(*habit.stays) * HOUR
            ends, card = begins + seconds, chance.choice(habit.cards)
            possible_wh = habit.watts * seconds / HOUR
            energy_wh = round(min(chance.uniform(*habit.takes_wh), FULL_SHARE * possible_wh))
            if day.weekday() in habit.weekdays and ends < present - HOUR:
                yield Stay(begins, ends, energy_wh, habit.watts, card)
            day += timedelta(days=1)
        if present_wh:
            yield Stay(present, self._now, present_wh, habit.watts, habit.cards[0])

    def _stay(self, stay: Stay, *, outage: bool) -> None:
        """Let a car charge, with a poll at each quarter hour; it leaves unless it is there now."""
        full = stay.begins + stay.energy_wh / stay.watts * HOUR
        first = stay.begins // QUARTER + 1
        quarters = [QUARTER * number for number in range(int(first), int(full // QUARTER) + 1)]
        before, self._counter = self._meter, 0.0
        self._see(stay.begins, stay)
        skipped = range(2, 5) if outage else ()
        for number, moment in enumerate(quarters):
            if number in skipped:
                continue
            gap = OUTAGE_SECONDS if number - 1 in skipped else NEVER_SECONDS
            self._charge(before, round(stay.watts * (moment - stay.begins) / HOUR))
            self._see(moment, stay, gap_seconds=gap)
        self._charge(before, stay.energy_wh)
        self._see(full, stay, charging=False)
        if stay.ends < self._now:
            self._see(stay.ends)
        else:
            self._see(self._now, stay, charging=False, is_last=True)

    def _charge(self, before: int, energy_wh: int) -> None:
        self._counter = energy_wh
        self._meter = before + energy_wh

    def _see(
        self,
        moment: float,
        stay: Stay | None = None,
        *,
        charging: bool = True,
        gap_seconds: float = NEVER_SECONDS,
        is_last: bool = False,
    ) -> None:
        """Give the tracker a poll; the charger's clock is known for the last one."""
        charging = charging and stay is not None
        left_idle = self._charger.left_idle_ms
        seen = Observation(
            Moment(self._uptime + moment, moment, self._boot, trusted=True),
            API,
            gap_seconds,
            plugged=stay is not None,
            charging=charging,
            meter_wh=self._meter,
            counter_wh=self._counter,
            uptime=self._charger.uptime_ms / 1000 if is_last else None,
            mark=left_idle / 1000 if is_last and left_idle is not None else None,
            card=stay.card if stay is not None else None,
            cable=stay is not None,
            power_w=stay.watts if stay is not None and charging else 0.0,
        )
        self._memory, events = track(self._name, self._charger.serial, self._memory, seen)
        self.records += events
        self._note_days(moment)

    def _note_days(self, moment: float) -> None:
        """Record the meter's reading at each midnight until `moment`; no car charged in between."""
        hardware = self._charger.hardware
        while (begins := midnight(self._day, self._zone)) <= moment:
            self.records.append(
                DayReading(
                    self._name,
                    self._charger.serial,
                    self._day.isoformat(),
                    begins,
                    self._meter if begins == moment else self._seen_wh,
                    certification="mid" if hardware.mid else None,
                    model=hardware.type_name,
                    firmware=self._charger.firmware,
                )
            )
            self._day += timedelta(days=1)
        self._seen_wh = self._meter
