"""Reading the session store, while another process may write it.

Every period is half open: from `since` (Unix seconds, included) to `until` (excluded); None means
no limit. Empty collections select everything.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from goe_exporter.sessions import schema
from goe_exporter.sessions.session import Book, Correction, DayReading, Session, Unassigned

R = TypeVar("R", bound=Unassigned | Correction | DayReading)

Limit = int | str
"""A limit of a period: Unix seconds, or a day as in 2026-01-31."""

CHECKED_STEPS = 10_000
"""Steps of SQLite between two looks at the clock: about a millisecond."""


class Records:
    """The records of the store at `path`: a context manager that reads one state of it.

    Every method raises `UsageError` if the file cannot be read, or not within `seconds`: the
    process that writes it waits meanwhile.
    """

    def __init__(self, path: Path, seconds: float | None = None) -> None:
        """Open the file; raises `UsageError` if there is none, or a newer release wrote it."""
        self._path = path
        with self._errors():
            self._connection = schema.connect_to_store(path, seconds)
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("BEGIN")
            if seconds is not None:
                end = time.monotonic() + seconds
                self._connection.set_progress_handler(lambda: time.monotonic() > end, CHECKED_STEPS)

    def __enter__(self) -> Self:
        """Return the records."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def sessions(
        self,
        since: int | None = None,
        until: int | None = None,
        *,
        serials: Collection[str] = (),
        cards: Collection[int] = (),
        last: int | None = None,
    ) -> Iterator[Session]:
        """Yield the closed sessions with a part in the period, in the order of their beginning.

        `serials` and `cards` (numbers) select some; empty ones select all.
        `last` limits the result to the sessions that began last.
        """
        where, values = _selected(since, until, serial=serials, card=cards)
        if last is None:
            query = f"SELECT doc FROM session WHERE {where} ORDER BY started, id"  # noqa: S608
        else:
            values.append(last)
            query = (
                f"SELECT doc FROM (SELECT * FROM session WHERE {where}"  # noqa: S608
                " ORDER BY started DESC, id DESC LIMIT ?) ORDER BY started, id"
            )
        yield from self._sessions(query, values)

    def latest(
        self,
        since: int | None = None,
        until: int | None = None,
        *,
        serials: Collection[str] = (),
        cards: Collection[int] = (),
        before: str = "",
        limit: int,
    ) -> list[Session]:
        """Return at most `limit` of the closed sessions that `sessions` yields, by their end.

        They are those that ended last, the latest first, or those before the session with the id
        `before`; raises `LookupError` if there is none.
        """
        where, values = _selected(since, until, serial=serials, card=cards)
        if before:
            known = list(self._rows("SELECT ended, id FROM session WHERE id = ?", [before]))
            if not known:
                raise LookupError(before)
            where += " AND (ended, id) < (?, ?)"
            values.extend(known[0])
        query = f"SELECT doc FROM session WHERE {where} ORDER BY ended DESC, id DESC LIMIT ?"  # noqa: S608
        return list(self._sessions(query, [*values, limit]))

    def count(
        self, since: int | None = None, until: int | None = None, *, serials: Collection[str] = ()
    ) -> int:
        """Return how many sessions `sessions` yields, without reading them."""
        where, values = _selected(since, until, serial=serials)
        ((found,),) = self._rows(f"SELECT count(*) FROM session WHERE {where}", values)  # noqa: S608
        return int(found)

    def metered_wh(self, serial: str, until: float = math.inf) -> int:
        """Return how far a meter rose (Wh) in the sessions that ended before a time."""
        query = "SELECT coalesce(sum(meter_wh), 0) FROM session WHERE serial = ? AND ended < ?"
        ((found,),) = self._rows(query, [serial, until])
        return int(str(found))

    def readings(
        self,
        since_day: str | None = None,
        until_day: str | None = None,
        *,
        serials: Collection[str] = (),
    ) -> Iterator[DayReading]:
        """Yield the first readings of local days, as in 2026-01-31, by charger and day."""
        yield from self._all(DayReading, "reading", "day", since_day, until_day, serials)

    def unassigned(
        self, since: int | None = None, until: int | None = None, *, serials: Collection[str] = ()
    ) -> Iterator[Unassigned]:
        """Yield the energy of quarter hours that begin in the period, by charger and time."""
        yield from self._all(Unassigned, "unassigned", "start", since, until, serials)

    def corrections(
        self, since: int | None = None, until: int | None = None, *, serials: Collection[str] = ()
    ) -> Iterator[Correction]:
        """Yield the corrections of meters in the period, by charger and time."""
        yield from self._all(Correction, "correction", "time", since, until, serials)

    def books(self, serials: Collection[str] = ()) -> Iterator[Book]:
        """Yield the books of every charger that was tracked, by name."""
        query = (
            "SELECT charger, serial, api, first_time, first_wh, last_time, last_wh, session"  # noqa: S608
            f" FROM tracked WHERE 1{_among('serial', serials)} ORDER BY charger, serial"
        )
        with self._errors():
            for *numbers, session in self._rows(query, [*serials]):
                book = Book(*numbers)
                yield replace(book, under_way=Session.from_json(session)) if session else book

    def _all(
        self,
        kind: type[R],
        table: str,
        column: str,
        since: Limit | None,
        until: Limit | None,
        serials: Collection[str],
    ) -> Iterator[R]:
        """Yield the rows of a table, whose columns are the fields of a kind of record.

        The period limits the values in `column`; empty `serials` select all.
        """
        where, values = _period(f"{column} >= ?", f"{column} < ?", since, until)
        names = ", ".join(each.name for each in fields(kind))
        query = (
            f"SELECT {names} FROM {table} WHERE {where}{_among('serial', serials)}"  # noqa: S608
            f" ORDER BY charger, serial, {column}"
        )
        yield from (kind(*row) for row in self._rows(query, [*values, *serials]))

    def _sessions(self, query: str, values: list[object]) -> Iterator[Session]:
        with self._errors():
            for (doc,) in self._rows(query, values):
                yield Session.from_json(doc)

    def _rows(self, query: str, values: list[object]) -> Iterator[tuple[Any, ...]]:
        with self._errors(), closing(self._connection.execute(query, values)) as rows:
            yield from rows

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise schema.cannot_read(self._path, error) from error


def _among(column: str, wanted: Collection[object]) -> str:
    """Return the condition that a column has one of the wanted values, if there are any."""
    return f" AND {column} IN ({', '.join('?' * len(wanted))})" if wanted else ""


def _selected(
    since: int | None, until: int | None, **wanted: Collection[object]
) -> tuple[str, list[object]]:
    """Return the condition of a period and of the wanted values by column, and its values."""
    where, values = _period("ended >= ?", "started < ?", since, until)
    for column, some in wanted.items():
        where += _among(column, some)
        values.extend(some)
    return where, values


def _period(
    after: str, before: str, since: Limit | None, until: Limit | None
) -> tuple[str, list[object]]:
    """Return a condition and its values; the limits that are None are left out."""
    limits = [(after, since), (before, until)]
    given = [(text, limit) for text, limit in limits if limit is not None]
    return " AND ".join(text for text, _ in given) or "1", [limit for _, limit in given]
