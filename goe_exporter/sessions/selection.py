"""Sessions selected by period, charger and card, and the energy that is in no session."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from goe_exporter.errors import UsageError
from goe_exporter.sessions.ledger import Entry, Period, entry
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Session


def entries(
    records: Records,
    period: Period,
    chargers: Collection[str] = (),
    cards: Collection[int] = (),
    last: int | None = None,
) -> list[Entry]:
    """Return the sessions in a period in the order of their beginning, including those under way.

    `chargers` (names) and `cards` (numbers) select some; empty ones select all. `last` limits the
    result to the sessions that began last.
    """
    closed = records.sessions(period.since, period.until, chargers=chargers, cards=cards, last=last)
    found = [entry(each, period) for each in closed]
    for book in records.books():
        session = book.under_way
        if session is not None and _selected(session, period, chargers, cards):
            found.append(entry(session, period, under_way=True))
    known = sorted(
        (each for each in found if each is not None), key=lambda each: each.session.started
    )
    return known if last is None else known[-last:]


def _selected(
    session: Session, period: Period, chargers: Collection[str], cards: Collection[int]
) -> bool:
    return (
        (not chargers or session.charger in chargers)
        and (not cards or session.card in cards)
        and (period.since is None or session.ended >= period.since)
        and (period.until is None or session.started < period.until)
    )


def serials(records: Records, chargers: Sequence[str]) -> list[str]:
    """Return the serial numbers of chargers; raises `UsageError` for an unknown name."""
    books = list(records.books())
    names = {book.charger for book in books}
    for name in chargers:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise UsageError(f"--charger: no charger {name!r} in the store; known are {known}")
    return [book.serial for book in books if book.charger in chargers]


def rest(records: Records, period: Period, serials: Collection[str] = ()) -> tuple[int, int]:
    """Return the energy (Wh) in no session and the corrections of meters (Wh) in a period."""
    limits = period.since, period.until
    unassigned = records.unassigned(*limits, serials=serials)
    corrections = records.corrections(*limits, serials=serials)
    return sum(each.energy_wh for each in unassigned), sum(each.energy_wh for each in corrections)
