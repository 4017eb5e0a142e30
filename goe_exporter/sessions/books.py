"""Whether the books close: sessions + unassigned energy + corrections = the rise of the meter.

On API v1, the energy of sessions comes from the charger's session counter, because the meter moves
in steps. There the rises of the meter must close, and the counter must agree with them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from goe_exporter.sessions.energy import v1_step_wh
from goe_exporter.sessions.ledger import Entry, Period, entry, meter_rise
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import (
    SLOT_SECONDS,
    Book,
    Correction,
    DayReading,
    Session,
    Unassigned,
)

NEAR_SECONDS = 120
"""A reading this soon after midnight counts as the reading at midnight."""

AGREEMENT = 0.01
"""How far the session counter may differ from the meter, in addition to the meter's steps."""

ROUNDING_WH = 2
"""Energy that was spread over a gap is rounded to whole Wh in each quarter hour."""


@dataclass(frozen=True)
class Account:
    """The account of one charger in a period, in Wh.

    `since` and `until` (Unix seconds) are the times of the meter readings. A reading is calculated
    from the books unless the meter was read then (`start_read`, `end_read`). `entries` are the
    sessions, including one under way, in which the meter rose by `metered_wh`. `latest` is the last
    daily reading, with what the charger reported about itself.
    """

    book: Book
    since: int
    until: int
    meter_start_wh: int
    meter_end_wh: int
    start_read: bool
    end_read: bool
    entries: tuple[Entry, ...]
    metered_wh: int
    unassigned_wh: int
    corrections_wh: int
    latest: DayReading | None = None

    @property
    def sessions_wh(self) -> int:
        """The energy of the sessions; on API v1, that of the session counter."""
        return sum(each.energy_wh for each in self.entries)

    @property
    def meter_wh(self) -> int:
        """How far the meter rose."""
        return self.meter_end_wh - self.meter_start_wh

    @property
    def difference_wh(self) -> int:
        """The rise of the meter that is in no account; 0 if the books close."""
        return self.meter_wh - self.metered_wh - self.unassigned_wh - self.corrections_wh

    @property
    def counter_wh(self) -> int:
        """How far the energy of the sessions exceeds the rise of the meter in them; 0 on API v2."""
        return self.sessions_wh - self.metered_wh

    @property
    def tolerance_wh(self) -> int:
        """How far the session counter of API v1 may differ from the meter."""
        if self.book.api != 1:
            return 0
        ends = (each.session.meter_end_wh for each in self.entries)
        step = v1_step_wh(self.book.first_wh, self.book.last_wh, *ends)
        return round(AGREEMENT * self.metered_wh) + step * 2 * len(self.entries)

    @property
    def agrees(self) -> bool:
        """Whether the session counter agrees with the meter."""
        return abs(self.counter_wh) <= self.tolerance_wh

    @property
    def closes(self) -> bool:
        """Whether the books close, and the counter agrees with the meter."""
        return not self.difference_wh and self.agrees


@dataclass
class _Charger:
    """The records of a charger in a period, and the energies before it (Wh)."""

    book: Book
    sessions: list[Session] = field(default_factory=list)
    readings: list[DayReading] = field(default_factory=list)
    others_before_wh: int = 0
    unassigned_wh: int = 0
    corrections_wh: int = 0


def accounts(records: Records, period: Period, serials: Collection[str] = ()) -> list[Account]:
    """Return the account of every charger that was tracked in a period; `serials` select some."""
    known = {
        book.serial: _Charger(book)
        for book in records.books(serials)
        if (period.since is None or book.last_time > period.since)
        and (period.until is None or book.first_time < period.until)
    }
    since, until = period.since, period.until
    for session in records.sessions(since, until, serials=serials):
        if session.serial in known:
            known[session.serial].sessions.append(session)
    for reading in records.readings(*_days(period), serials=serials):
        if reading.serial in known:
            known[reading.serial].readings.append(reading)
    others: list[Unassigned | Correction] = [
        *records.unassigned(until=until, serials=serials),
        *records.corrections(until=until, serials=serials),
    ]
    for each in others:
        charger = known.get(each.serial)
        if charger is None:
            continue
        if since is not None and _time(each) < since:
            charger.others_before_wh += each.energy_wh
        elif isinstance(each, Unassigned):
            charger.unassigned_wh += each.energy_wh
        else:
            charger.corrections_wh += each.energy_wh
    return [_account(records, charger, period) for charger in known.values()]


def _time(each: Unassigned | Correction) -> int:
    return each.start if isinstance(each, Unassigned) else each.time


def _days(period: Period) -> tuple[str | None, str | None]:
    """Return the days of the readings from the beginning to the end of a period, as text."""
    first = None if period.first is None else period.first.isoformat()
    return first, None if period.last is None else (period.last + timedelta(days=2)).isoformat()


def _account(records: Records, charger: _Charger, period: Period) -> Account:
    book, sessions = charger.book, charger.sessions
    since, until = period.since, period.until
    entries = [entry(each, period) for each in sessions]
    if book.under_way is not None:
        sessions = [*sessions, book.under_way]
        if since is None or book.under_way.ended >= since:
            entries.append(entry(book.under_way, period, under_way=True))
    before = 0 if since is None else sum(meter_rise(each, since) for each in sessions)
    metered = sum(meter_rise(each, until) for each in sessions) - before
    if since is None or since <= book.first_time:
        start, started = book.first_wh, book.first_time
    else:
        earlier = records.metered_wh(book.serial, since)
        start, started = book.first_wh + earlier + before + charger.others_before_wh, since
    if until is None or until >= book.last_time:
        end, ended = book.last_wh, book.last_time
    else:
        end = start + metered + charger.unassigned_wh + charger.corrections_wh
        ended = until
    looked = [each.time for each in charger.readings]
    return Account(
        book,
        started,
        ended,
        start,
        end,
        started == book.first_time or _near(looked, started),
        ended == book.last_time or _near(looked, ended),
        tuple(each for each in entries if each is not None),
        metered,
        charger.unassigned_wh,
        charger.corrections_wh,
        max(charger.readings, key=lambda each: each.time, default=None),
    )


def _near(looked: Iterable[int], moment: int) -> bool:
    return any(0 <= time - moment <= NEAR_SECONDS for time in looked)


def difference_wh(records: Records, book: Book) -> int:
    """Return the rise of a meter (Wh), over all time, that is in no account.

    Unlike `accounts`, it does not read the sessions.
    """
    serials = [book.serial]
    return (
        (book.last_wh - book.first_wh)
        - records.metered_wh(book.serial)
        - (book.under_way.meter_wh if book.under_way else 0)
        - sum(each.energy_wh for each in records.unassigned(serials=serials))
        - sum(each.energy_wh for each in records.corrections(serials=serials))
    )


def faults(records: Records, account: Account) -> list[str]:
    """Return where the books of a charger do not close, a line for each fault.

    `account` must span all of its time.
    """
    found = []
    if account.difference_wh:
        found.append(
            f"{account.difference_wh:+,} Wh of the meter are in no account"
            f"{_first_break(records, account)}"
        )
    if not account.agrees:
        found.append(
            f"the session counter differs from the meter by {account.counter_wh:+,} Wh;"
            f" {account.tolerance_wh:,} Wh are allowed"
        )
    last: Session | None = None
    for each in account.entries:
        session = each.session
        if sum(energy_wh for _, energy_wh in session.slots) != session.energy_wh:
            found.append(f"session {session.id}: the energies of its quarter hours do not add up")
        if last is not None and session.started < last.ended:
            found.append(f"session {session.id} begins before session {last.id} ends")
        last = session
    return found


def _first_break(records: Records, account: Account) -> str:
    """Return between which daily readings the books of API v2 first break, "" if unknown."""
    book = account.book
    if book.api == 1:
        return ""
    energies: Counter[int] = Counter()
    for each in account.entries:
        energies.update(dict(each.slots))
    others: list[Unassigned | Correction] = [
        *records.unassigned(serials=[book.serial]),
        *records.corrections(serials=[book.serial]),
    ]
    for other in others:
        energies[_time(other) // SLOT_SECONDS * SLOT_SECONDS] += other.energy_wh
    slots = deque(sorted(energies.items()))
    done, day = book.first_wh, "the first poll"
    for reading in records.readings(serials=[book.serial]):
        while slots and slots[0][0] + SLOT_SECONDS <= reading.time:
            done += slots.popleft()[1]
        inside = slots[0][1] if slots and slots[0][0] <= reading.time else 0
        low, high = sorted((done, done + inside))
        if not low - ROUNDING_WH <= reading.meter_wh <= high + ROUNDING_WH:
            return f", between the readings of {day} and {reading.day}"
        day = reading.day
    return f", after the reading of {day}"
