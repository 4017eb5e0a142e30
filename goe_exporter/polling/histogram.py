"""A histogram: observations counted by upper bound."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Counts observations by upper bound and sums them up."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take the buckets' upper bounds in ascending order, without the last one, infinity."""
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
