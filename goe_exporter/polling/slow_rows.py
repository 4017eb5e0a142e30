"""The slow rows of a channel table: when their keys are requested, and their latest readings."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import takewhile

from goe_exporter.channels.decode import Decoder
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Answer, Reading

SLOW_SECONDS = 60.0


def keys_of(channels: Iterable[Channel]) -> tuple[str, ...]:
    """Return the keys that these rows request, each once."""
    return tuple(dict.fromkeys(key for channel in channels for key in channel.keys))


@cache
def _keys_of_slow(channels: tuple[Channel, ...]) -> tuple[str, ...]:
    """Return the keys, those of what the device is first; one tuple for all chargers."""
    return keys_of(sorted(channels, key=lambda channel: channel.kind is not Kind.TEXT))


class SlowRows:
    """Requests the `keys` of `channels` every 60 s, and keeps the readings in the meantime."""

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        self._decoder = Decoder(channels)
        self.keys = _keys_of_slow(channels)
        self.forget()

    def forget(self) -> None:
        """Drop the answers of another charger, or of this one before an outage."""
        self.readings: tuple[Reading, ...] = ()
        self._status: dict[str, object] = {}
        self._requested = dict.fromkeys(self.keys, float("-inf"))

    def due(self, now: float) -> tuple[str, ...]:
        """Return the keys to request now, the least recently requested first."""
        due = takewhile(lambda key: now - self._requested[key] >= SLOW_SECONDS, self._requested)
        return tuple(due)

    def take(self, keys: tuple[str, ...], answer: Answer, now: float) -> frozenset[str]:
        """Decode the answer for `keys`, and return those whose values could not be decoded.

        A key that the answer lacks becomes absent. The meaning of some values depends on other
        keys, those of the live rows and slow ones of earlier answers.
        """
        for key in keys:
            del self._requested[key]  # the dictionary is in the order of the requests
            self._requested[key] = now
            self._status[key] = answer.status.get(key)
        self.readings, failed = self._decoder.decode(answer.status | self._status, answer.api)
        return failed.intersection(keys, answer.status)
