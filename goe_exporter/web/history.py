"""The last hour of every charger, in memory, for the page's charts and the JSON API.

Each charger has a ring buffer of fixed size, about 25 kB, so a thousand chargers use 25 MB. A row
in whose time all polls failed has no values: it is a gap in the chart.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import Poll

ROWS = 720
SPACING_SECONDS = 4.5
"""Polls that follow a row sooner than this share it, so 720 rows hold an hour at any interval."""

MAX_MINUTES = 60
GAP_INTERVALS = 3
GAP_SECONDS = 15.0

Values = list[float | None]


class Timeline(NamedTuple):
    """A charger's rows, oldest first: Unix times (s), and values by channel and part.

    All lists have the same length; None is a gap. A channel without parts has the part "".
    """

    times: list[float]
    series: dict[str, dict[str, Values]]


class _Precision(NamedTuple):
    """How a channel is stored: whole multiples of 1/`scale`, in an array of `typecode`."""

    typecode: str
    scale: int

    @property
    def absent(self) -> int:
        """The number that represents an absent value: the lowest that fits into the array."""
        return -(1 << (8 * array(self.typecode).itemsize - 1))


_TENTH_OF_A_WATT = _Precision("i", 10)
_HUNDREDTH = _Precision("h", 100)

CHANNELS: Mapping[str, _Precision] = {
    "power": _TENTH_OF_A_WATT,
    "phase_power": _TENTH_OF_A_WATT,
    "phase_current": _HUNDREDTH,
    "temperature": _HUNDREDTH,
}
"""The channels that are kept; the neutral conductor's part is left out."""

_LEFT_OUT = "N"


class History:
    """Keeps the last hour of each charger; `take` is a sink of polls.

    With a shorter `spacing_seconds` the same number of rows holds a shorter time in more detail.
    `clock` is monotonic, so that setting the system clock does not reorder the rows; `wall`
    returns the Unix time.
    """

    def __init__(
        self,
        *,
        spacing_seconds: float = SPACING_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._spacing_seconds = spacing_seconds
        self._clock = clock
        self._wall = wall
        self._rings: dict[str, _Ring] = {}

    def take(self, poll: Poll) -> None:
        """Record a poll; a row with only failed polls is a gap."""
        ring = self._rings.get(poll.charger)
        if ring is None:
            ring = self._rings.setdefault(poll.charger, _Ring(self._spacing_seconds))
        readings = None if poll.snapshot is None else poll.snapshot.readings
        delay = poll.snapshot.age_seconds if poll.snapshot else 0.0
        ring.put(self._clock() - delay, readings)

    def keep(self, chargers: Iterable[str]) -> None:
        """Delete the history of all chargers except these."""
        for name in self._rings.keys() - set(chargers):
            del self._rings[name]

    def timeline(self, charger: str, minutes: int, interval_seconds: float) -> Timeline:
        """Return a charger's last `minutes`; three intervals without a poll become an empty row."""
        ring = self._rings.get(charger)
        if ring is None:
            return Timeline([], {})
        now, wall = self._clock(), self._wall()
        gap = max(GAP_INTERVALS * interval_seconds, GAP_SECONDS)
        taken, series = ring.since(now - 60 * minutes, gap)
        return Timeline([round(wall - now + moment, 1) for moment in taken], series)


class _Ring:
    """The rows of one charger, as one array per channel and part."""

    def __init__(self, spacing_seconds: float) -> None:
        self._spacing_seconds = spacing_seconds
        self._lock = threading.Lock()
        self._taken = array("d", [0.0]) * ROWS
        self._columns: dict[tuple[str, str], array[int]] = {}
        self._first = 0
        self._count = 0

    def put(self, moment: float, readings: Iterable[Reading] | None) -> None:
        """Add a row, or update the last one if it is recent; a failed poll updates nothing."""
        with self._lock:
            if not self._count or moment - self._taken[self._last] >= self._spacing_seconds:
                self._append(moment)
            if readings is None:
                return
            self._clear()
            for channel, label, value, _code in readings:
                precision = CHANNELS.get(channel.name)
                if precision is not None and label != _LEFT_OUT:
                    column = self._column(channel.name, label, precision)
                    number = round(value * precision.scale)  # type: ignore[arg-type]
                    if abs(number) < -precision.absent:
                        column[self._last] = number

    def since(self, moment: float, gap: float) -> tuple[list[float], dict[str, dict[str, Values]]]:
        """Return the rows since `moment`, with an empty row wherever none was added for `gap`."""
        with self._lock:
            rows = [(self._first + n) % ROWS for n in range(self._count)]
            rows = [row for row in rows if self._taken[row] >= moment]
            taken = [self._taken[row] for row in rows]
            columns = {
                (name, label): _values(column, rows, CHANNELS[name])
                for (name, label), column in self._columns.items()
            }
        for place in range(len(taken) - 1, 0, -1):
            if taken[place] - taken[place - 1] > gap:
                taken.insert(place, (taken[place] + taken[place - 1]) / 2)
                for values in columns.values():
                    values.insert(place, None)
        series: dict[str, dict[str, Values]] = {}
        for (name, label), values in columns.items():
            if any(value is not None for value in values):
                series.setdefault(name, {})[label] = values
        return taken, series

    @property
    def _last(self) -> int:
        return (self._first + self._count - 1) % ROWS

    def _append(self, moment: float) -> None:
        if self._count < ROWS:
            self._count += 1
        else:
            self._first = (self._first + 1) % ROWS
        self._taken[self._last] = moment
        self._clear()

    def _clear(self) -> None:
        for (name, _label), column in self._columns.items():
            column[self._last] = CHANNELS[name].absent

    def _column(self, name: str, label: str, precision: _Precision) -> array[int]:
        column = self._columns.get((name, label))
        if column is None:
            column = array(precision.typecode, [precision.absent]) * ROWS
            self._columns[name, label] = column
        return column


def _values(column: array[int], rows: Iterable[int], precision: _Precision) -> Values:
    absent, scale = precision.absent, precision.scale
    return [None if column[row] == absent else column[row] / scale for row in rows]
