"""The bookkeeper: a sink that takes every poll, tracks sessions and writes them to the store.

Taking a poll does not wait for the disk. Once a second, a thread writes the records of all chargers
in one transaction; if the disk fails, it keeps them in memory and retries.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.durable.clock import TrustedClock, boot
from goe_exporter.logs import Incident, Pace, logger
from goe_exporter.polling.view import Poll
from goe_exporter.sessions.condenser import Condenser
from goe_exporter.sessions.memory import Memory
from goe_exporter.sessions.observation import Moment, Observation
from goe_exporter.sessions.outbox import Outlet
from goe_exporter.sessions.session import DayReading, Session, Unassigned
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.sessions.store import Record, Store, StoreError, Tracked
from goe_exporter.sessions.tally import Tally
from goe_exporter.sessions.tracker import track

WRITE_SECONDS = 1.0
"""Time between two transactions."""

SAVE_SECONDS = {True: 60.0, False: 900.0}
"""How often the memory of a charger with a session under way is saved, and of one without."""

MAX_WAITING = 1_000
"""Maximum number of closed sessions in memory while the disk fails; the oldest are lost first."""

MAX_OTHERS = 10_000
"""Maximum number of readings and corrections in memory; 5,000 chargers have 5,000 at midnight."""

_log = logger(__name__)


class StoreStats(NamedTuple):
    """The store's size, and counts since the start.

    `failures` counts transactions that failed, `lost` closed sessions that were never written, and
    `damaged` files that were set aside; `waiting` sessions are not written yet. `chargers` has the
    counts of each charger by its name.
    """

    size_bytes: int
    failures: int
    lost: int
    damaged: int
    waiting: int
    chargers: Mapping[str, Tally] = MappingProxyType({})


class Bookkeeper:
    """Tracks the sessions of all chargers, and writes them to `store`.

    Local days are those of `time_zone`. `clock` tells the time, and whether it can be trusted;
    `monotonic` decides when memories are saved.
    """

    def __init__(
        self,
        store: Store,
        clock: TrustedClock,
        time_zone: tzinfo,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Go on where the store ends; raises `UsageError` if it cannot be read."""
        self._store = store
        self._clock = clock
        self._time_zone = time_zone
        self._monotonic = monotonic
        self._tracked = store.tracked()
        self._tallies = store.tallies()
        latest = sorted(self._tracked.items(), key=lambda item: item[1].memory.last.moment.time)
        self._serials = {each.charger: serial for serial, each in latest}
        self._trusted = clock.trusted() is not None
        self._lock = threading.Lock()
        self._condensers: defaultdict[str, Condenser] = defaultdict(Condenser)
        self._records: list[Record] = []
        self._due: dict[str, Tracked] = {}
        self._saved: dict[str, float] = {}
        self._days: dict[str, float] = {}
        self._failures = self._lost = 0
        self._incident = Incident(
            _log, "session store failed", "session store available again", Pace(monotonic)
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sessions", daemon=True)

    def take(self, poll: Poll) -> None:
        """Track a poll; failed polls are ignored."""
        snapshot, serial = poll.snapshot, poll.serial
        if snapshot is None or not serial:
            return
        age, trusted = snapshot.age_seconds, self._trusted
        uptime = self._clock.uptime() - age
        moment = Moment(uptime, snapshot.time, self._clock.boot, trusted)
        with self._lock:
            former = self._serials.get(poll.charger, serial)
            known = self._tracked.get(former)
            if former != serial and known is not None and known.charger == poll.charger:
                self._replaced(former)
            self._serials[poll.charger] = serial
            condenser = self._condensers[serial]
            for seen in condenser.take(snapshot, moment, poll.interval_seconds):
                self._track(poll.charger, serial, seen)
            if trusted and snapshot.time >= self._days.get(serial, -math.inf):
                self._note_day(poll, snapshot)

    def _track(self, charger: str, serial: str, seen: Observation) -> None:
        before = self._tracked.get(serial)
        memory, events = track(charger, serial, before and before.memory, seen)
        if memory is None:
            return
        now = self._tracked[serial] = Tracked(charger, memory)
        self._records += events
        if events or self._is_due(serial, before, memory):
            self._due[serial] = now
            self._saved[serial] = self._monotonic()

    def _track_rest(self, serial: str) -> None:
        """Track the last poll of a charger if it was left out."""
        for seen in self._condensers[serial].rest():
            self._track(self._tracked[serial].charger, serial, seen)

    def _replaced(self, serial: str) -> None:
        """End the session of a charger because another one answers in its place."""
        self._track_rest(serial)
        charger, memory = self._tracked[serial]
        session = memory.closed(charger, serial, "charger_replaced", "end_not_seen")
        if session is None:
            return
        self._records.append(session)
        ended = Tracked(charger, replace(memory, session=None, idle_since=None))
        self._tracked[serial] = self._due[serial] = ended

    def _is_due(self, serial: str, before: Tracked | None, memory: Memory) -> bool:
        under_way = memory.session is not None
        if before is None or under_way != (before.memory.session is not None):
            return True
        saved = self._saved.get(serial, -math.inf)
        return self._monotonic() - saved >= SAVE_SECONDS[under_way]

    def _note_day(self, poll: Poll, snapshot: Snapshot) -> None:
        """Note the first reading of a local day."""
        values = {reading.channel.name: reading.value for reading in snapshot.readings}
        meter, mid = values.get("energy"), values.get("mid_energy")
        if meter is None:
            return
        local = datetime.fromtimestamp(snapshot.time, self._time_zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self._days[poll.serial] = midnight.timestamp()
        self._records.append(
            DayReading(
                poll.charger,
                poll.serial,
                local.date().isoformat(),
                int(snapshot.time),
                round(float(meter)),
                None if mid is None else round(float(mid)),
                *(_text(values, name) for name in ("meter_certification", "model", "firmware")),
            )
        )

    def write(self) -> None:
        """Write what waits, in one transaction, and hand over what the other sink lacks.

        Keep what fails for the next time.
        """
        with self._lock:
            records, self._records = self._records, []
            due, self._due = self._due, {}
        if (records or due) and not self._is_written(records, due):
            return
        try:
            self._store.hand_over()
        except StoreError as error:
            self._failures += 1
            self._incident.begins("sessions not handed over", error=str(error))
        else:
            self._incident.ends()

    def _is_written(self, records: list[Record], due: dict[str, Tracked]) -> bool:
        try:
            self._store.write(records, due)
        except StoreError as error:
            self._failures += 1
            lost = self._lost
            with self._lock:
                self._records = self._kept(records) + self._records
                self._due = due | self._due
            reason = "sessions are lost" if self._lost > lost else "sessions wait in memory"
            self._incident.begins(reason, error=str(error))
            return False
        self._count(records)
        return True

    def _count(self, records: list[Record]) -> None:
        """Count what was written, so that no scrape reads the store."""
        with self._lock:
            for record in records:
                before = self._tallies.get(record.charger, Tally())
                self._tallies[record.charger] = before.counted(record)

    def _chargers(self) -> dict[str, Tally]:
        found = {name: tally for name, tally in self._tallies.items() if name in self._serials}
        for name, serial in self._serials.items():
            tracked = self._tracked.get(serial)
            if tracked is not None:
                under_way = tracked.memory.session
                found[name] = replace(found.get(name, Tally()), under_way=under_way)
        return found

    def _kept(self, records: list[Record]) -> list[Record]:
        """Return the records to keep for the next try, with unassigned energy added up.

        Readings and corrections have a limit of their own, so that they do not displace sessions.
        """
        unassigned: dict[tuple[str, int], Unassigned] = {}
        sessions: list[Record] = []
        others: list[Record] = []
        for record in records:
            if isinstance(record, Unassigned):
                key = record.serial, record.start
                energy = unassigned[key].energy_wh if key in unassigned else 0
                unassigned[key] = Unassigned(
                    record.charger, record.serial, record.start, energy + record.energy_wh
                )
            else:
                (sessions if isinstance(record, Session) else others).append(record)
        self._lost += max(len(sessions) - MAX_WAITING, 0)
        return [*unassigned.values(), *sessions[-MAX_WAITING:], *others[-MAX_OTHERS:]]

    def stats(self) -> StoreStats:
        """Return the statistics of the store."""
        with self._lock:
            waiting = sum(isinstance(record, Session) for record in self._records)
            chargers = self._chargers()
        size, damaged = self._store.size_bytes(), self._store.damaged
        return StoreStats(size, self._failures, self._lost, damaged, waiting, chargers)

    def is_stalled(self) -> bool:
        """Return whether the thread has ended without being stopped."""
        return not self._stopping.is_set() and not self._thread.is_alive()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Write all memories, and release the store; give up after `grace_seconds`.

        Whatever is not written by then is a gap for the next start.
        """
        self._stopping.set()
        if not self._thread.ident:
            self._write_all()
        elif self._thread.is_alive():
            self._thread.join(grace_seconds)
        if self._thread.is_alive():
            _log.warning("sessions not saved in time; the next start continues from the last save")
        else:
            self._store.close()

    def _write_all(self) -> None:
        with self._lock:
            for serial in self._tracked:
                self._track_rest(serial)
            self._due = dict(self._tracked)
        self.write()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(WRITE_SECONDS)
            try:
                self._trusted = self._clock.trusted() is not None
                if stopping:
                    self._write_all()
                else:
                    self.write()
            except Exception:  # noqa: BLE001, the top of a thread
                _log.exception("writing sessions aborted by an internal error")


def _text(values: Mapping[str, object], name: str) -> str | None:
    found = values.get(name)
    return None if found is None else str(found)


def open_bookkeeper(
    settings: SessionSettings, clock: TrustedClock | None = None, outlet: Outlet | None = None
) -> Bookkeeper:
    """Return the bookkeeper of a configuration; raises `UsageError`.

    Without a `clock` that is confirmed by others, too, the time is kept beside the store. `outlet`
    is another sink of closed sessions.
    """
    store = Store(settings.path, outlet=outlet)
    try:
        clock = clock or TrustedClock(Path(f"{settings.path}.clock"), boot())
        return Bookkeeper(store, clock, settings.time_zone)
    except BaseException:
        store.close()
        raise
