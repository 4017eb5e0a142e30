"""What polling hands to the sinks: the result of each poll, and a charger's current view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from goe_exporter.channels.model import Table
from goe_exporter.channels.snapshot import Reading, Snapshot
from goe_exporter.channels.table import CHARGER

_NO_COUNTS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Poll:
    """The result of one poll, for sinks that take every poll.

    `time` is the Unix time in seconds at which the values were measured, or at which the poll
    failed; `snapshot` is None if it failed; `serial` is the last serial number the charger
    reported, or "". `labels` are those of the configuration, and `table` is that of the device. The
    charger is polled every `interval_seconds`.
    """

    charger: str
    serial: str
    time: float
    snapshot: Snapshot | None
    labels: Mapping[str, str] = field(default_factory=dict)
    interval_seconds: float = 5.0
    table: Table = CHARGER


class PollStats(NamedTuple):
    """Statistics of polling one charger: counts since the start, and the last poll.

    `up` is None until the first poll has ended. Times are Unix seconds, durations seconds.
    """

    up: bool | None = None
    reason: str = ""
    message: str = ""
    polls: int = 0
    failures: Mapping[str, int] = _NO_COUNTS
    failures_in_row: int = 0
    decode_failures: Mapping[str, int] = _NO_COUNTS
    last_success: float | None = None
    last_duration: float | None = None


@dataclass(frozen=True)
class ChargerView:
    """What a sink may show of a charger at one moment.

    `snapshot` is None before the first answer and when the last one is too old. `age` is the age
    of the last answer in seconds, whether it is shown or not; `delay` is how much older its values
    are. `identity` holds the texts that name the device (serial number, model, firmware, name), and
    `api` the API, of the device that answered last; they stay while it does not answer. `labels`
    are those of the configuration, and `table` is that of the device.
    """

    name: str
    host: str
    stats: PollStats
    snapshot: Snapshot | None
    age: float | None
    interval_seconds: float = 5.0
    labels: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    identity: tuple[Reading, ...] = ()
    api: int | None = None
    table: Table = CHARGER

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The snapshot's readings, and the identity where the snapshot lacks it."""
        current = self.snapshot.readings if self.snapshot else ()
        known = {reading.channel for reading in current}
        return (*current, *(each for each in self.identity if each.channel not in known))

    @property
    def snapshot_age(self) -> float | None:
        """The seconds since the values of the last answer were measured."""
        return None if self.age is None else self.age + self.delay
