"""The last hour of every charger, in memory, for the page's charts and the JSON API.

Each charger has a ring buffer of fixed size, about 25 kB, so a thousand chargers use 25 MB. A row
in whose time all polls failed has no values: it is a gap in the chart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
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
    """How a channel is stored: whole multiples of 1/`scale`, as `typecode` of `struct`.

    The lowest number that fits represents an absent value.
    """

    typecode: str
    scale: int
    absent: int


_TENTH_OF_A_WATT = _Precision("i", 10, -(2**31))
_HUNDREDTH = _Precision("h", 100, -(2**15))

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
    """The rows of one charger, packed: the time, and a number per channel and part.

    A poll writes one row in one place of memory, which is cheap in a large fleet.
    """

    def __init__(self, spacing_seconds: float) -> None:
        self._spacing_seconds = spacing_seconds
        self._lock = threading.Lock()
        self._columns: dict[tuple[str, str], int] = {}
        """The number that represents an absent value, by channel and part."""

        self._row = Struct("=d")
        self._rows = bytearray(ROWS * self._row.size)
        self._first = 0
        self._count = 0
        self._latest = 0.0

    def put(self, moment: float, readings: Iterable[Reading] | None) -> None:
        """Add a row, or update the last one if it is recent; a failed poll updates nothing."""
        with self._lock:
            if not self._count or moment - self._latest >= self._spacing_seconds:
                self._append(moment)
            elif readings is None:
                return
            numbers = _numbers(readings or ())
            if not numbers.keys() <= self._columns.keys():
                self._widen(numbers)
            last = (self._first + self._count - 1) % ROWS * self._row.size
            values = [numbers.get(column, absent) for column, absent in self._columns.items()]
            self._row.pack_into(self._rows, last, self._latest, *values)

    def since(self, moment: float, gap: float) -> tuple[list[float], dict[str, dict[str, Values]]]:
        """Return the rows since `moment`, with an empty row wherever none was added for `gap`."""
        with self._lock:
            packed = [*self._row.iter_unpack(self._rows)]
            columns = self._columns.copy()
            rows = [packed[(self._first + n) % ROWS] for n in range(self._count)]
        rows = [row for row in rows if row[0] >= moment]
        empty = tuple(columns.values())
        for place in range(len(rows) - 1, 0, -1):
            before, after = rows[place - 1][0], rows[place][0]
            if after - before > gap:
                rows.insert(place, ((before + after) / 2, *empty))
        series: dict[str, dict[str, Values]] = {}
        for place, ((name, label), absent) in enumerate(columns.items(), 1):
            scale = CHANNELS[name].scale
            values = [None if row[place] == absent else row[place] / scale for row in rows]
            if any(value is not None for value in values):
                series.setdefault(name, {})[label] = values
        return [row[0] for row in rows], series

    def _append(self, moment: float) -> None:
        if self._count < ROWS:
            self._count += 1
        else:
            self._first = (self._first + 1) % ROWS
        self._latest = moment

    def _widen(self, columns: Iterable[tuple[str, str]]) -> None:
        """Add columns, without values in the earlier rows."""
        earlier = [*self._row.iter_unpack(self._rows)]
        new = {each: CHANNELS[each[0]].absent for each in columns if each not in self._columns}
        self._columns |= new
        codes = "".join(CHANNELS[name].typecode for name, _label in self._columns)
        self._row = Struct(f"=d{codes}")
        self._rows = bytearray(ROWS * self._row.size)
        for place, row in enumerate(earlier):
            self._row.pack_into(self._rows, place * self._row.size, *row, *new.values())


def _numbers(readings: Iterable[Reading]) -> dict[tuple[str, str], int]:
    """Return the values to keep as whole multiples, by channel and part."""
    numbers = {}
    for channel, label, value, _code in readings:
        precision = CHANNELS.get(channel.name)
        if precision is not None and label != _LEFT_OUT:
            number = round(value * precision.scale)  # type: ignore[arg-type]
            if abs(number) < -precision.absent:
                numbers[channel.name, label] = number
    return numbers
