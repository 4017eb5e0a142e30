"""The last hour of every charger, in memory, for the page's charts and the JSON API.

Each charger has at most 780 rows in compressed blocks, 5 to 20 kB, so a thousand chargers use 5 to
20 MB. A row in whose time all polls failed has no values: it is a gap in the chart.
"""

from __future__ import annotations

import math
import threading
import time
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from struct import Struct, pack, unpack
from typing import NamedTuple

from goe_exporter.channels.snapshot import Reading
from goe_exporter.polling.view import Poll

ROWS = 720
SPACING_SECONDS = 4.5
"""Polls that follow a row sooner than this share it, so 720 rows hold an hour at any interval."""

BLOCK_ROWS = 60
"""Rows that are compressed together; a few, so that nothing is compressed often or for long."""

TIME_CODE, TIME_SCALE = "q", 100
"""A row's time is a whole number of hundredths of a second."""

MAX_MINUTES = 60
GAP_INTERVALS = 3
GAP_SECONDS = 15.0

Column = tuple[str, str]
"""A channel and the label of a part."""

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


class _Block(NamedTuple):
    """Compressed rows of one charger, and the columns they have: channel and part.

    The numbers of a column lie side by side, the times before them.
    """

    columns: tuple[Column, ...]
    rows: int
    compressed: bytes

    def unpacked(self) -> tuple[list[float], dict[Column, Values]]:
        """Return the rows' times in seconds, and their values by column."""
        form = "=" + "".join(f"{self.rows}{code}" for code in _codes(self.columns))
        numbers = iter(unpack(form, zlib.decompress(self.compressed)))
        times = [number / TIME_SCALE for number in islice(numbers, self.rows)]
        values: dict[Column, Values] = {}
        for column in self.columns:
            _code, scale, absent = CHANNELS[column[0]]
            row = islice(numbers, self.rows)
            values[column] = [None if each == absent else each / scale for each in row]
        return times, values


def _codes(columns: Iterable[Column]) -> str:
    return TIME_CODE + "".join(CHANNELS[name].typecode for name, _label in columns)


class _Layout(NamedTuple):
    """The columns of a row, how it is packed, and the number of an absent value by column."""

    columns: tuple[Column, ...]
    row: Struct
    absent: Mapping[Column, int]


@lru_cache(maxsize=128)
def _layout(columns: tuple[Column, ...]) -> _Layout:
    """Return the layout of rows with these columns; one for all chargers that have them."""
    absent = {column: CHANNELS[column[0]].absent for column in columns}
    return _Layout(columns, Struct(f"={_codes(columns)}"), absent)


class _Ring:
    """The rows of one charger: compressed blocks, and behind them the block being written.

    A poll writes one row in one place of memory, which is cheap in a large fleet.
    """

    def __init__(self, spacing_seconds: float) -> None:
        self._spacing_seconds = spacing_seconds
        self._lock = threading.Lock()
        self._blocks: deque[_Block] = deque()
        self._open = bytearray()
        self._layout = _layout(())
        self._latest = -math.inf

    def put(self, moment: float, readings: Iterable[Reading] | None) -> None:
        """Add a row, or update the last one if it is recent; a failed poll updates nothing."""
        with self._lock:
            fresh = moment - self._latest >= self._spacing_seconds
            if readings is None and not fresh:
                return
            if fresh:
                self._latest = moment
            else:
                del self._open[-self._layout.row.size :]
            numbers = _numbers(readings or ())
            layout = self._layout
            new = [column for column in numbers if column not in layout.absent]
            if new or len(self._open) >= BLOCK_ROWS * layout.row.size:
                self._seal()
            if new:
                self._layout = layout = _layout((*layout.columns, *new))
            values = [numbers.get(column, absent) for column, absent in layout.absent.items()]
            self._open += layout.row.pack(round(self._latest * TIME_SCALE), *values)

    def since(self, moment: float, gap: float) -> tuple[list[float], dict[str, dict[str, Values]]]:
        """Return the rows since `moment`, with an empty row wherever none was added for `gap`."""
        with self._lock:
            blocks = [*self._blocks, self._sealed()]
        unpacked = [block.unpacked() for block in blocks]
        times = [each for moments, _values in unpacked for each in moments]
        first = max(bisect_left(times, moment), len(times) - ROWS)
        times = times[first:]
        series: dict[str, dict[str, Values]] = {}
        for name, label in dict.fromkeys(each for block in blocks for each in block.columns):
            values: Values = []
            for moments, columns in unpacked:
                values += columns.get((name, label), [None] * len(moments))
            values = values[first:]
            if any(value is not None for value in values):
                series.setdefault(name, {})[label] = values
        for place in range(len(times) - 1, 0, -1):
            if times[place] - times[place - 1] > gap:
                times.insert(place, (times[place] + times[place - 1]) / 2)
                for parts in series.values():
                    for values in parts.values():
                        values.insert(place, None)
        return times, series

    def _seal(self) -> None:
        """Compress the block being written, and drop the blocks behind the last rows."""
        if self._open:
            self._blocks.append(self._sealed())
            self._open = bytearray()
        rows = sum(block.rows for block in self._blocks)
        while self._blocks and rows - self._blocks[0].rows >= ROWS:
            rows -= self._blocks.popleft().rows

    def _sealed(self) -> _Block:
        columns, row, _absent = self._layout
        codes = _codes(columns)
        numbers = zip(*row.iter_unpack(self._open), strict=True)
        rows = len(self._open) // row.size
        packed = (
            pack(f"={rows}{code}", *column) for code, column in zip(codes, numbers, strict=False)
        )
        return _Block(columns, rows, zlib.compress(b"".join(packed)))


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
