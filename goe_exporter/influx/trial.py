"""The trial of parked lines: whether the server rejects them, or rejects anything at times.

Each is sent in random order with another line, until the server accepts it, or has accepted the
other line twenty times and rejected this one every time, the last time after that. With several
servers behind one address, some of them broken, a good line is rejected only if chance sends it to
broken servers alone and the other line to sound ones alone: once in 2²⁰ (a million) cases, in
whatever order they answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from goe_exporter.influx.parked import ParkedLine
from goe_exporter.influx.write_api import WriteResult

MIN_ACCEPTED = 20
"""How often the server must accept another line before a parked line counts as rejected."""

MAX_CONSECUTIVE_REJECTIONS = 10
"""Rejections in a row of a line that it accepted before end the trial: the server is broken."""

MAX_SECONDS = 60.0
"""Maximum time in which parked lines delay others; the next trial continues with the counts."""


class Undelivered(Exception):  # noqa: N818, it ends an attempt and is not an error
    """The server does not accept lines now."""

    def __init__(self, result: WriteResult) -> None:
        super().__init__(result.message)
        self.result = result


class Trial:
    """A trial of `lines` against `accepted`, a line that the server accepted.

    `write` sends lines, `reject` receives a line that is rejected for good, and `toss` returns a
    random number below its argument. `undecided` holds the lines that are not decided yet,
    `written` counts those that the server accepted.
    """

    def __init__(
        self,
        lines: Sequence[ParkedLine],
        write: Callable[[Sequence[bytes]], WriteResult],
        reject: Callable[[bytes, WriteResult], None],
        toss: Callable[[int], int],
    ) -> None:
        self.undecided = list(lines)
        self.written = 0
        self._write = write
        self._reject = reject
        self._toss = toss

    def run(self, accepted: bytes | None) -> bool:
        """Send the lines; return False if the server does not accept `accepted` any more.

        Without another line that it accepts, the first of these that it accepts is that line.
        Raises `Undelivered` if the server accepts no lines now.
        """
        if accepted is None and (accepted := self._first_accepted()) is None:
            return False
        end, rejections = time.monotonic() + MAX_SECONDS, 0
        while self.undecided and time.monotonic() < end:
            place = self._toss(len(self.undecided) + 1)
            if place < len(self.undecided):
                self._send(self.undecided[place], accepted)
            elif self._send_alone(accepted, accepted).outcome == "written":
                rejections = 0
                self._count_accepted(accepted)
            else:
                rejections += 1
                if rejections == MAX_CONSECUTIVE_REJECTIONS:
                    return False
        return True

    def _send(self, parked: ParkedLine, accepted: bytes) -> None:
        result = self._send_alone(parked.line, accepted)
        if result.outcome == "written":
            self.written += 1
            self.undecided.remove(parked)
        elif parked.accepted >= MIN_ACCEPTED:
            self._reject(parked.line, result)
            self.undecided.remove(parked)

    def _count_accepted(self, accepted: bytes) -> None:
        """Decide the lines against which the other one was accepted often enough."""
        for parked in list(self.undecided):
            parked.accepted += 1
            if parked.accepted >= MIN_ACCEPTED:
                self._send(parked, accepted)

    def _first_accepted(self) -> bytes | None:
        """Send each line once until the server accepts one; return that one."""
        for parked in self.undecided:
            result = self._write([parked.line])
            if result.outcome == "retry":
                raise Undelivered(result)
            if result.outcome == "written":
                self.written += 1
                self.undecided.remove(parked)
                return parked.line
        return None

    def _send_alone(self, line: bytes, accepted: bytes) -> WriteResult:
        """Send a line; raises `Undelivered` if the server accepts no other line either."""
        result = self._write([line])
        if result.outcome == "retry":
            works = result.server_failed and self._write([accepted]).outcome == "written"
            if not works:
                raise Undelivered(result)
        return result
