"""The types of the channel table: a row, its kind, its unit, and the values that may be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from goe_exporter.channels.codes import CodeSet

Path = tuple[str | int, ...]
"""The position of a value in a status: a key, then list indices or object keys."""


class Kind(Enum):
    """The kind of a row's value, which decides how it is decoded and exported."""

    GAUGE = "gauge"
    COUNTER = "counter"
    FLAG = "flag"
    COUNT = "count"
    MOMENT = "moment"
    STATE = "state"
    REASON = "reason"
    TEXT = "text"


@dataclass(frozen=True)
class Unit:
    """A unit: its symbol, its names in metrics and fields, and its plausible range.

    `factor` converts a value into the metric's base unit. `low` and `high` bound plausible values
    in the row's unit; values outside are glitches, such as -16843 °C (docs/protocol.md §3.4).
    `digits` are the decimals that people read; exports have all of them.
    """

    symbol: str
    metric: str
    field: str
    low: float
    high: float
    factor: float = 1.0
    digits: int = 0


class Part(NamedTuple):
    """One value of a row: its label ("" for the only value) and its possible positions.

    The first of `paths` that holds a value is used.
    """

    label: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Range:
    """Numbers that may be written: `low` to `high` in multiples of `step`, in the row's unit.

    `limit` is the key whose value lowers `high` to what this charger allows. With `off`, the text
    `off` (null in the request) is allowed too. `key` is the written key if it is not the row's.

    With `zero_is_off`, 0 means off. `whole` names the unit of numbers that users expect to divide.
    `bound` is the key of a setting that limits this one, too. A charger whose status lacks the
    written key shows the value there instead (docs/protocol.md §5.1). `note` is what the user must
    know after the write.
    """

    low: float
    high: float
    step: float = 1.0
    limit: str = ""
    off: bool = False
    key: str = ""
    zero_is_off: bool = False
    whole: str = ""
    bound: str = ""
    note: str = ""


@dataclass(frozen=True)
class Choices:
    """Texts that may be written, with the value each one sends; `key` as in `Range`.

    `aliases` are openHAB's texts for the same values.
    """

    values: Mapping[str, object]
    key: str = ""
    aliases: Mapping[str, object] = field(default_factory=dict)


Allowed = Range | Choices


def whole(key: str) -> tuple[Part, ...]:
    """Pick the value of the key itself; of several keys, the first that holds a value."""
    return (Part("", tuple((name,) for name in key.split())),)


def phases(first: int, labels: str) -> Callable[[str], tuple[Part, ...]]:
    """Pick consecutive elements of an array, starting at index `first`."""

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
    """One row of the table: everything the project knows about a channel.

    `key` lists the requested keys, separated by spaces; `pick` finds the values in them, and
    `label` is the metric label that distinguishes the values. It may be several labels, separated
    by spaces, as are their values in the label of each part. Raw numbers are divided by
    `divide`; a raw number equal to `absent` means no value; `low` and `high` narrow the unit's
    plausible range. `write` holds the writable values for each API (1, 2), `openhab` the openHAB
    channels of the parts, in order. A `slow` row is requested every 60 s, other rows in every
    poll. An `info_only` row is a label of `goe_device_info`, but neither a field nor a JSON key.
    `instead` is the name of the row to write where this one cannot be written. A text is a label of
    the device, or with `of` of a part, such as a category, and then no field. `prefix` and `device`
    are those of the row's table.
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
    info_only: bool = False
    instead: str = ""
    of: str = ""
    prefix: str = "goe"
    device: str = "charger"

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys requested from a v2 charger; none for a row that only v1 has."""
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
        return option_name(self.name)

    @cached_property
    def metric(self) -> str:
        """The name of the row's Prometheus metric, without a counter's `_total`."""
        if self.kind is Kind.TEXT:
            return f"{self.prefix}_{self.of or 'device'}_info"
        suffix = "info" if self.kind is Kind.REASON else self.unit.metric
        return "_".join(filter(None, (self.prefix, self.name, suffix)))

    @cached_property
    def sample(self) -> str:
        """The name of the row's samples on `/metrics`."""
        return f"{self.metric}_total" if self.kind is Kind.COUNTER else self.metric

    @cached_property
    def has_field(self) -> bool:
        """Whether its values are InfluxDB fields; the serial number is a tag."""
        return not (self.info_only or self.of or self.name == "serial")

    def field(self, part: str = "") -> str:
        """Return the name of a part's InfluxDB field, as in `phase_voltage_l1_v`."""
        return "_".join((self.name, *part.lower().split(), *self.unit.field.split()))


@dataclass(frozen=True, eq=False)
class Table:
    """A kind of device: the rows that it has, and its names.

    `device` is the label of its metrics and its tag, as in `charger`; with an `s` it is its section
    of the configuration. `title` is what messages call it, `prefix` begins the names of its
    metrics. `type` is a regular expression for its `typ`, and every status of it holds one of the
    keys `witnesses`, with a value or null.
    """

    device: str
    title: str
    prefix: str
    type: str
    witnesses: frozenset[str]
    channels: tuple[Channel, ...]

    @property
    def section(self) -> str:
        """The section of the configuration for such devices."""
        return f"{self.device}s"

    @property
    def measurement(self) -> str:
        """The InfluxDB measurement of such devices."""
        return f"goe_{self.device}"


def option_name(name: str) -> str:
    """Return a row's name on the command line, as in `max-current` for `max_current`."""
    return name.replace("_", "-")
