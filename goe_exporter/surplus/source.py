"""The interface of a source of power, which reads one number and its age."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from goe_exporter.errors import REASONS, GoeExporterError

READ_SECONDS = 4.0
"""Time limit for reading all sources of a section."""

SOURCE_REASONS = (
    *REASONS,
    "query_refused",
    "no_value",
    "ambiguous",
    "not_a_number",
    "not_a_time",
    "implausible",
)
"""The reasons why a source has no usable number: those of HTTP requests, and of its answers."""


class Reading(NamedTuple):
    """One number of a source.

    `value` is in W or A, positive for import (`grid`), discharging (`battery`), production (`pv`)
    and a surplus (`available`). `measured_at` is on the monotonic clock, and the same in all
    readings of one measurement. Unless `age_known`, it is when the value was requested, and the
    value may be older.
    """

    value: float
    measured_at: float
    age_known: bool


class SourceError(GoeExporterError):
    """A source has no usable number; `reason` is one of `SOURCE_REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason with the message; `reason` must be one of `SOURCE_REASONS`."""
        assert reason in SOURCE_REASONS, reason
        super().__init__(message)
        self.reason = reason


class Source(Protocol):
    """Reads one number; `name` is `grid`, `battery`, `pv` or `available`."""

    name: str

    def read(self, until: float) -> Reading:
        """Return the number as of now, before `until` on the monotonic clock.

        Raises `SourceError`, whose message begins with the name.
        """
