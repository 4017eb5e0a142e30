"""Closed sessions on their way to another sink: lines that wait in the store until it has them.

A line is written in the transaction that inserts its session, and deleted after the sink has
accepted it. A crash in between hands the same line over again, which the sink must tolerate.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from goe_exporter.sessions import schema
from goe_exporter.sessions.session import Session

MAX_LINES = 1_000
"""How many lines are handed over at once."""


class Outlet(Protocol):
    """Another sink of closed sessions."""

    def line(self, session: Session) -> str:
        """Return the line about a session."""

    def take(self, lines: Sequence[str]) -> int:
        """Accept lines for good; return how many of them, from the first on, were accepted."""


class Outbox:
    """The table `outbox` of the store, for an `outlet`; without one no line is written.

    `waiting` is whether the table may have lines for the outlet.
    """

    def __init__(self, outlet: Outlet | None) -> None:
        self.waiting = outlet is not None
        self._outlet = outlet
        self._accepted: dict[str, str] = {}

    def put(self, connection: sqlite3.Connection, session: Session) -> None:
        """Write the line about a session, in the transaction under way."""
        if self._outlet is not None:
            values = session.id, self._outlet.line(session)
            connection.execute("INSERT INTO outbox (session, line) VALUES (?, ?)", values)
            self.waiting = True

    def hand_over(self, connection: sqlite3.Connection) -> None:
        """Hand lines over, the oldest first, and delete those that were accepted.

        Raises `sqlite3.Error`; lines that could not be deleted are not handed over again.
        """
        if self._outlet is None or not self.waiting or not schema.is_current(connection):
            return
        query = "SELECT session, line FROM outbox ORDER BY rowid LIMIT ?"
        found: dict[str, str] = dict(connection.execute(query, (MAX_LINES,)))
        new = {key: line for key, line in found.items() if self._accepted.get(key) != line}
        count = self._outlet.take(tuple(new.values())) if new else 0
        self._accepted |= dict(tuple(new.items())[:count])
        done = [(key,) for key, line in found.items() if self._accepted.get(key) == line]
        if done:
            with schema.transaction(connection):
                connection.executemany("DELETE FROM outbox WHERE session = ?", done)
        self._accepted.clear()
        self.waiting = count < len(new) or len(found) == MAX_LINES
