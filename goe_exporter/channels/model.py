"""The values that travel from a charger to a sink, and the shape of a row of the channel table.

Everything here is frozen: a stage takes values and returns new ones. A status becomes readings,
readings become a `Snapshot`, and every sink (Prometheus, the web, the command line) takes
snapshots. Numbers are kept in the unit of their row (V, A, W, Wh, °C, Hz, s).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from goe_exporter.channels.codes import CodeSet

Status = Mapping[str, object]
"""A charger's status: key → whatever its JSON held."""


Path = tuple[str | int, ...]
"""Where a value stands in a status: a key, then list indices or object keys."""


class Answer(NamedTuple):
    """A status in API v2's words, and which of the charger's APIs (1 or 2) said it."""

    api: int
    status: dict[str, object]


class Kind(Enum):
    """What a row's value is, and so how it is read and exported."""

    GAUGE = "gauge"
    COUNTER = "counter"
    FLAG = "flag"
    COUNT = "count"
    STATE = "state"
    REASON = "reason"
    TEXT = "text"


@dataclass(frozen=True)
class Unit:
    """A unit: its symbol, its names in metrics and fields, and what is plausible in it.

    `factor` converts a value into the metric's base unit; `low` and `high` bound a plausible
    value in the row's unit (outside lies a glitch such as PROTOCOL.md §3.4's -16843 °C).
    """

    symbol: str
    metric: str
    field: str
    low: float
    high: float
    factor: float = 1.0


class Part(NamedTuple):
    """One value of a row: its label ("" if it is the only one) and where it stands.

    The first of `paths` that holds something counts.
    """

    label: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Range:
    """Numbers that may be written: `low` to `high` in multiples of `step`, in the row's unit.

    `limit` is the key whose value lowers `high` to what this charger allows; with `off` the word
    `off` (null on the wire) is allowed too. `key` is the key written, if it is not the row's.
    """

    low: float
    high: float
    step: float = 1.0
    limit: str = ""
    off: bool = False
    key: str = ""


@dataclass(frozen=True)
class Words:
    """Words that may be written and what each is on the wire; `key` as in `Range`."""

    values: Mapping[str, object]
    key: str = ""


Allowed = Range | Words


def whole(key: str) -> tuple[Part, ...]:
    """Pick the value of the key itself; of several keys the first that holds something."""
    return (Part("", tuple((name,) for name in key.split())),)


def phases(first: int, labels: str) -> Callable[[str], tuple[Part, ...]]:
    """Pick consecutive elements of an array, the first of them at index `first`."""

    def pick(key: str) -> tuple[Part, ...]:
        return tuple(
            Part(label, ((key, index),)) for index, label in enumerate(labels.split(), first)
        )

    return pick


def element(index: int) -> Callable[[str], tuple[Part, ...]]:
    """Pick one element of an array."""
    return lambda key: (Part("", ((key, index),)),)


@dataclass(frozen=True, eq=False)
class Channel:
    """One row of the table: everything the project knows of a channel.

    `key` holds the keys asked for, separated by spaces; `pick` says where the values stand and
    `label` how the metric names them. A raw number is divided by `divide`; a raw value equal to
    `absent` is none; `low`/`high` narrow the unit's plausible range. `write` says for each API
    (1, 2) what may be written; `openhab` names the parts' openHAB channels, in order. A `slow`
    row is asked for every 60 s, the others in every refresh cycle.
    """

    key: str
    name: str
    help: str
    unit: Unit
    kind: Kind = Kind.GAUGE
    pick: Callable[[str], tuple[Part, ...]] = whole
    label: str = ""
    divide: float = 1.0
    absent: float | None = None
    low: float | None = None
    high: float | None = None
    states: CodeSet | None = None
    write: Mapping[int, Allowed] = field(default_factory=dict)
    openhab: str = ""
    slow: bool = False
    apis: tuple[int, ...] = (1, 2)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys this row asks a v2 charger for; none for a row that only v1 has."""
        return tuple(self.key.split()) if 2 in self.apis else ()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The row's values, in order."""
        return self.pick(self.key)

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest plausible raw number."""
        low = self.unit.low if self.low is None else self.low
        high = self.unit.high if self.high is None else self.high
        return low * self.divide, high * self.divide

    @cached_property
    def option(self) -> str:
        """The row's name on the command line, as in `max-current`."""
        return self.name.replace("_", "-")

    @cached_property
    def metric(self) -> str:
        """The name of the row's Prometheus metric (DESIGN §6), without a counter's `_total`."""
        if self.kind is Kind.TEXT:
            return "goe_device_info"
        suffix = "info" if self.kind is Kind.REASON else self.unit.metric
        return f"goe_{self.name}_{suffix}" if suffix else f"goe_{self.name}"

    @cached_property
    def sample(self) -> str:
        """The name of the row's sample on `/metrics`."""
        return f"{self.metric}_total" if self.kind is Kind.COUNTER else self.metric

    def field(self, part: str = "") -> str:
        """Return the name of a part's InfluxDB field (DESIGN §7), as in `phase_voltage_l1_v`."""
        return "_".join(word for word in (self.name, part.lower(), self.unit.field) if word)


class Reading(NamedTuple):
    """One value a charger gave: its row, its part's label, and the value in the row's unit.

    A number is a float, a flag a bool, a text a str; a state is its word, with its number in
    `code`. What is absent is no reading.
    """

    channel: Channel
    label: str
    value: float | bool | str
    code: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """What a charger said in one refresh cycle.

    `time` is the Unix time in seconds at which the answer arrived, `taken` the same moment on
    the monotonic clock; `api` is the API that answered.
    """

    charger: str
    api: int
    time: float
    taken: float
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Cycle:
    """What came of one refresh cycle, for a sink that wants every one of them.

    `time` is the Unix time in seconds at which the poll ended; `snapshot` is None if it failed;
    `serial` is the last one the charger gave, or "".
    """

    charger: str
    serial: str
    time: float
    snapshot: Snapshot | None


@dataclass(frozen=True)
class Vitals:
    """How the polling of one charger goes: counts since the start, and the last poll.

    `up` is None before the first poll has ended; times are Unix seconds, durations seconds.
    """

    up: bool | None = None
    reason: str = ""
    message: str = ""
    polls: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    failures_in_row: int = 0
    decode_failures: Mapping[str, int] = field(default_factory=dict)
    last_success: float | None = None
    last_duration: float | None = None


@dataclass(frozen=True)
class InfluxVitals:
    """How delivery to InfluxDB goes: points since the start, and what waits on disk.

    `oldest` is the timestamp (Unix seconds) of the oldest point that waits; `failing` the reason
    of the present outage, "" if there is none.
    """

    written: int
    rejected: int
    dropped: int
    damaged: int
    spooled: int
    spool_bytes: int
    oldest: float | None
    failing: str
    failures: Mapping[str, int]


class Reload(NamedTuple):
    """Whether the configuration was right when last read, and when it was so last (Unix, s)."""

    successful: bool
    last_success: float


@dataclass(frozen=True)
class ChargerView:
    """What a sink sees of a charger at one moment.

    `snapshot` is None when there is none yet or the last good one is too old to be shown; `age`
    is that of the last good one, in seconds, shown or not.
    """

    name: str
    host: str
    vitals: Vitals
    snapshot: Snapshot | None
    age: float | None
    interval_seconds: float = 5.0


class Distribution:
    """Counts of observations by upper bound, as a Prometheus histogram wants them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take the buckets' upper bounds in ascending order; the last, infinity, is implied."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; the caller holds the lock."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return cumulative counts as (upper bound, count), `+Inf` last."""
        total, rows = 0, []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            rows.append((bound, float(total)))
        return rows
