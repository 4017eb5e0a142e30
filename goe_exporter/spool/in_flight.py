"""The lines that are being delivered while the spool may have to drop them for room."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


class InFlight:
    """Lines in flight, by the positions behind them, and those dropped meanwhile.

    A line dropped in flight counts as dropped only if it is not delivered either. Not thread-safe.
    """

    def __init__(self) -> None:
        self._ends: Sequence[tuple[int, int]] = ()
        self._dropped: list[tuple[int, int]] = []

    def begin(self, ends: Sequence[tuple[int, int]]) -> int:
        """Name the lines in flight, and no others; return how many of the last ones were lost."""
        lost = len(self._dropped)
        self._ends, self._dropped = ends, []
        return lost

    def drop(self, segment: int, cursor: tuple[int, int]) -> int:
        """Drop those of a segment; return their number."""
        flying = [end for end in self._ends if end[0] == segment and end > cursor]
        self._dropped += flying
        return len(flying)

    def deliver(self, end: tuple[int, int]) -> None:
        """Note that the lines up to a position were delivered."""
        self._ends = self._ends[bisect_right(self._ends, end) :]
        self._dropped = self._dropped[bisect_right(self._dropped, end) :]

    def leave(self) -> None:
        """Forget positions in a directory that is no longer used."""
        self._ends = ()
