"""The frozen values that a charger's answer becomes: readings and the snapshot that holds them.

Numbers are in the unit of their row (V, A, W, Wh, °C, Hz, s). Every sink takes snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from goe_exporter.channels.model import Channel

Status = Mapping[str, object]
"""A charger's status: its keys, with the values of its JSON."""


class Answer(NamedTuple):
    """A status in API v2's terms, and the API (1 or 2) that returned it.

    A `complete` answer holds all that the charger reports, whatever keys were requested. Values of
    the vendor's cloud were measured `age_seconds` before the answer arrived.
    """

    api: int
    status: dict[str, object]
    complete: bool = False
    age_seconds: float = 0.0


class Reading(NamedTuple):
    """One value of a charger: its row, its part's label, and the value in the row's unit.

    A number is a float, a flag a bool, a text a str. A state is its name, with its number in
    `code`. There is no reading for an absent value.
    """

    channel: Channel
    label: str
    value: float | bool | str
    code: int | None = None


class Snapshot(NamedTuple):
    """The readings of one poll.

    `time` is the Unix time in seconds at which the values were measured, `age_seconds` before the
    answer arrived; `taken` is the arrival on the monotonic clock. `api` is the API that answered.
    `boot_time` is the Unix time at which the charger started, on which moments are based; None if
    unknown.
    """

    charger: str
    api: int
    time: float
    taken: float
    readings: tuple[Reading, ...]
    age_seconds: float = 0.0
    boot_time: float | None = None
