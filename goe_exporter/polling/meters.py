"""Energy meters over time: a value that rises faster than power allows is rejected."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.readers import MAX_UPTIME_MS
from goe_exporter.channels.snapshot import Answer

MAX_WATTS = 45_000
"""More than any go-e supplies (docs/protocol.md §5.2)."""

LATE_SECONDS = 30.0
"""How late an answer may show the energy; the cloud's answers are up to 30 s old."""

STEP_WH = {1: 1000.0, 2: 0.0}
"""API → the energy by which a meter moves at once: V1 and V2 hardware counts whole kWh."""

CONSISTENT_POLLS = 3

_NUMBERS = frozenset((int, float))


class _Seen(NamedTuple):
    """A meter's value (Wh), when it was received, and for how long the charger has run (s).

    `moment` is of the monotonic clock; `uptime` is None if the charger does not report it.
    """

    value: float
    moment: float
    uptime: float | None


class Meters:
    """Checks the energy meters of one charger, the counters in Wh of `channels`.

    A meter may fall, because a firmware update or a repair may reset it. A value that rises too
    fast, or a fall to 0, is accepted once three polls in a row agree, because a meter may be
    corrected or replaced.
    The charger's own clock counts too: that of a simulated charger may be faster.
    """

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        self._bounds = _bounds_of(channels)
        self.forget()

    def forget(self) -> None:
        """Forget all values, after a gap, a restart of the charger, or for another charger."""
        self._uptime: float | None = None
        self._accepted: dict[str, _Seen] = {}
        self._doubtful: dict[str, list[_Seen]] = {}

    def check(self, answer: Answer, now: float) -> tuple[Answer, frozenset[str]]:
        """Return the answer without implausible values, and the keys of those not counted yet.

        `now` is the moment of the monotonic clock at which the answer was received.
        """
        uptime = _uptime_seconds(answer.status.get("rbt"))
        if uptime is not None:
            if self._uptime is not None and _restarted(self._uptime, uptime):
                self.forget()
            self._uptime = uptime
        rejected: dict[str, object] = {}
        for key in self._bounds.keys() & answer.status.keys():
            value, (low, high) = answer.status[key], self._bounds[key]
            if type(value) not in _NUMBERS or not low <= value <= high:  # type: ignore[operator]
                continue
            if not self._accepts(key, _Seen(value, now, uptime), answer.api):  # type: ignore[arg-type]
                rejected[key] = None
        if not rejected:
            return answer, frozenset()
        answer = answer._replace(status={**answer.status, **rejected})
        return answer, frozenset(key for key in rejected if len(self._doubtful[key]) == 1)

    def _accepts(self, key: str, seen: _Seen, api: int) -> bool:
        """Accept the value if it is plausible, or else remember it as doubtful."""
        accepted, value = self._accepted.get(key), seen.value
        if accepted is not None and (
            value > _highest(accepted, seen, api) or value == 0 < accepted.value
        ):
            doubtful = self._doubtful.get(key, [])
            if doubtful and not doubtful[-1].value <= value <= _highest(doubtful[-1], seen, api):
                doubtful = []
            self._doubtful[key] = [*doubtful, seen]
            if len(doubtful) + 1 < CONSISTENT_POLLS:
                return False
        self._accepted[key] = seen
        if self._doubtful:
            self._doubtful.pop(key, None)
        return True


@cache
def _bounds_of(channels: tuple[Channel, ...]) -> Mapping[str, tuple[float, float]]:
    """Return the plausible range of each meter by its key; one mapping for all chargers."""
    return {
        key: channel.bounds
        for channel in channels
        if channel.kind is Kind.COUNTER and channel.unit.symbol == "Wh"
        for part in channel.parts
        for key, *steps in part.paths
        if isinstance(key, str) and not steps
    }


def _highest(before: _Seen, now: _Seen, api: int) -> float:
    """Return the highest plausible value (Wh) now, after another value."""
    seconds = now.moment - before.moment
    if before.uptime is not None and now.uptime is not None:
        seconds = max(seconds, now.uptime - before.uptime)
    return before.value + STEP_WH[api] + MAX_WATTS * (seconds + LATE_SECONDS) / 3600


def _restarted(before: float, now: float) -> bool:
    return now < before - LATE_SECONDS or now < min(before, LATE_SECONDS)


def _uptime_seconds(rbt: object) -> float | None:
    if type(rbt) not in _NUMBERS or not 0 <= rbt <= MAX_UPTIME_MS:  # type: ignore[operator]
        return None
    return rbt / 1000  # type: ignore[operator]
