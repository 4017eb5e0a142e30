"""Which keys a poll requests: all live keys, and the slow keys that are due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from goe_exporter.channels.model import Channel
from goe_exporter.channels.snapshot import Reading

MAX_FILTER_KEYS = 35
"""Some firmware resets the connection on longer filters (docs/protocol.md §1)."""

SLOW_SECONDS = 60.0


class KeyPlan:
    """The live and the slow rows of a channel table, and the keys they request.

    `max_slow_keys` slow keys fit into a request beside the live ones.
    """

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        self.channels = channels
        self.live_channels = tuple(channel for channel in channels if not channel.slow)
        self.slow_channels = tuple(channel for channel in channels if channel.slow)
        self.live_keys = _keys(self.live_channels)
        self.slow_keys = _keys(self.slow_channels)
        self.max_slow_keys = MAX_FILTER_KEYS - len(self.live_keys)


@cache
def key_plan(channels: tuple[Channel, ...]) -> KeyPlan:
    """Return the plan of a table, made once."""
    return KeyPlan(channels)


def _keys(channels: Iterable[Channel]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for channel in channels for key in channel.keys))


class SlowKeys:
    """When each slow key was last requested, and what the charger answered."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self.forget()

    def forget(self) -> None:
        """Drop the answers of another charger, or of this one before an outage."""
        self.status: dict[str, object] = {}
        self.readings: tuple[Reading, ...] = ()
        self._requested = dict.fromkeys(self._keys, float("-inf"))

    def due(self, now: float) -> tuple[str, ...]:
        """Return the keys to request now, the least recently requested first."""
        if now - min(self._requested.values(), default=now) < SLOW_SECONDS:
            return ()
        due = [key for key, moment in self._requested.items() if now - moment >= SLOW_SECONDS]
        return tuple(sorted(due, key=self._requested.__getitem__))

    def answered(self, keys: Iterable[str], status: Mapping[str, object], now: float) -> None:
        """Keep the answer for `keys`; a key that the answer lacks becomes absent."""
        for key in keys:
            self._requested[key] = now
            self.status[key] = status.get(key)
