"""Sessions selected by period, charger and card, and the energy that is in no session.

A charger is selected by its present name, and with it the sessions from before it was renamed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from goe_exporter.errors import UsageError
from goe_exporter.sessions.ledger import Entry, Period, entry
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book, Session


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
    books = books_of(records, chargers)
    if chargers and not books:
        return []
    closed = records.sessions(
        period.since, period.until, serials=_serials(books, chargers), cards=cards, last=last
    )
    found = [*_inside(closed, period), *_under_way(books, period, cards)]
    known = sorted(found, key=lambda each: each.session.started)
    return known if last is None else known[-last:]


class Part(NamedTuple):
    """A part of a list of sessions, the latest first; `last` is the id to continue after, or ""."""

    entries: list[Entry]
    last: str


def latest(
    records: Records,
    period: Period,
    chargers: Collection[str] = (),
    cards: Collection[int] = (),
    *,
    before: str = "",
    limit: int,
) -> Part:
    """Return the sessions in a period that ended last, or before that with the id `before`.

    There are at most `limit`, and at the beginning of the list those under way, which are at most
    one for each charger. Raises `LookupError` if there is no session `before`.
    """
    books = books_of(records, chargers)
    if chargers and not books:
        return Part([], "")
    closed = records.latest(
        period.since, period.until,
        serials=_serials(books, chargers), cards=cards, before=before, limit=limit + 1,
    )  # fmt: skip
    last = closed[limit - 1].id if len(closed) > limit else ""
    first = [] if before else _under_way(books, period, cards)
    return Part([*first, *_inside(closed[:limit], period)], last)


def _inside(sessions: Iterable[Session], period: Period) -> list[Entry]:
    found = (entry(each, period) for each in sessions)
    return [each for each in found if each is not None]


def books_of(records: Records, chargers: Collection[str]) -> list[Book]:
    """Return the books of chargers, by their present names; of all if there are no `chargers`."""
    return [each for each in records.books() if not chargers or each.charger in chargers]


def _serials(books: Sequence[Book], chargers: Collection[str]) -> list[str]:
    """Return the serial numbers of the selected `books`; none select all."""
    return [each.serial for each in books] if chargers else []


def _under_way(books: Sequence[Book], period: Period, cards: Collection[int]) -> list[Entry]:
    """Return the selected sessions under way, the latest first."""
    sessions = [book.under_way for book in books if book.under_way is not None]
    found = (
        entry(each, period, under_way=True) for each in sessions if _selected(each, period, cards)
    )
    known = [each for each in found if each is not None]
    return sorted(known, key=lambda each: each.session.started, reverse=True)


def _selected(session: Session, period: Period, cards: Collection[int]) -> bool:
    return (
        (not cards or session.card in cards)
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
