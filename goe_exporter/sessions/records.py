"""Reading the session store, while another process may write it.

Every period is half open: from `since` (Unix seconds, included) to `until` (excluded); None means
no limit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from goe_exporter.sessions import schema
from goe_exporter.sessions.session import Book, Correction, DayReading, Session, Unassigned


class Records:
    """The records of the store at `path`: a context manager whose reads see one moment.

    Every method raises `UsageError` if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises `UsageError` if there is none, or a newer release wrote it."""
        self._path = path
        with self._errors():
            self._connection = schema.connect_to_store(path)
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("BEGIN")

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
        chargers: Collection[str] = (),
        serials: Collection[str] = (),
        cards: Collection[int] = (),
        last: int | None = None,
    ) -> Iterator[Session]:
        """Yield the closed sessions of which a part is in the period, by their beginning.

        `chargers` (names), `serials` and `cards` (numbers) select some; empty ones select all.
        `last` limits the result to the sessions that began last.
        """
        where, values = _period("ended >= ?", "started < ?", since, until)
        for column, wanted in (("charger", chargers), ("serial", serials), ("card", cards)):
            where += _among(column, wanted)
            values.extend(wanted)
        if last is None:
            query = f"SELECT doc FROM session WHERE {where} ORDER BY started, id"  # noqa: S608
        else:
            values.append(last)
            query = (
                f"SELECT doc FROM (SELECT * FROM session WHERE {where}"  # noqa: S608
                " ORDER BY started DESC, id DESC LIMIT ?) ORDER BY started, id"
            )
        for (doc,) in self._rows(query, values):
            with self._errors():
                yield Session.from_json(doc)

    def metered_wh(self, serial: str, until: int) -> int:
        """Return by how much a meter rose (Wh) in the sessions that ended before a time."""
        query = "SELECT coalesce(sum(meter_wh), 0) FROM session WHERE serial = ? AND ended < ?"
        ((found,),) = self._rows(query, [serial, until])
        return int(str(found))

    def readings(self, since_day: str = "", until_day: str = "9999") -> Iterator[DayReading]:
        """Yield the first readings of local days, as in 2026-01-31, by charger and day."""
        query = (
            "SELECT charger, serial, day, time, meter_wh, mid_wh, certification, model, firmware"
            " FROM reading WHERE day >= ? AND day < ? ORDER BY charger, serial, day"
        )
        yield from (DayReading(*row) for row in self._rows(query, [since_day, until_day]))

    def unassigned(
        self, since: int | None = None, until: int | None = None, *, serials: Collection[str] = ()
    ) -> Iterator[Unassigned]:
        """Yield the energy of quarter hours that begin in the period, by charger and time."""
        where, values = _period("start >= ?", "start < ?", since, until)
        where, values = where + _among("serial", serials), [*values, *serials]
        query = (
            "SELECT charger, serial, start, energy_wh"  # noqa: S608
            f" FROM unassigned WHERE {where} ORDER BY charger, serial, start"
        )
        yield from (Unassigned(*row) for row in self._rows(query, values))

    def corrections(
        self, since: int | None = None, until: int | None = None, *, serials: Collection[str] = ()
    ) -> Iterator[Correction]:
        """Yield the corrections of meters in the period, by charger and time."""
        where, values = _period("time >= ?", "time < ?", since, until)
        where, values = where + _among("serial", serials), [*values, *serials]
        query = (
            "SELECT charger, serial, time, before_wh, after_wh, energy_wh, reason"  # noqa: S608
            f" FROM correction WHERE {where} ORDER BY charger, serial, time"
        )
        yield from (Correction(*row) for row in self._rows(query, values))

    def books(self) -> Iterator[Book]:
        """Yield the books of every charger that was tracked, by name."""
        query = (
            "SELECT charger, serial, api, first_time, first_wh, last_time, last_wh, session"
            " FROM tracked ORDER BY charger, serial"
        )
        for *numbers, session in self._rows(query, []):
            book = Book(*numbers)
            with self._errors():
                yield replace(book, under_way=Session.from_json(session)) if session else book

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


def _period(
    after: str, before: str, since: int | None, until: int | None
) -> tuple[str, list[object]]:
    """Return a condition and its values; the limits that are None are left out."""
    limits = [(after, since), (before, until)]
    given = [(text, limit) for text, limit in limits if limit is not None]
    return " AND ".join(text for text, _ in given) or "1", [limit for _, limit in given]
