"""Statistics of the delivery to InfluxDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DeliveryStats:
    """Points since the start by result, and the points that wait on disk.

    `oldest` is the timestamp (Unix seconds) of the oldest waiting point; `failing` is the reason
    of the present outage, "" without an outage.
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
