"""The slow rows of a channel table: when their keys are requested, and their latest readings."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import islice

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
        self._failed: frozenset[str] = frozenset()
        self._requested = dict.fromkeys(self.keys, float("-inf"))

    def due(self, now: float, limit: int) -> tuple[str, ...]:
        """Return at most `limit` keys to request now, the least recently requested first."""
        latest, due = now - SLOW_SECONDS, []
        for key, moment in islice(self._requested.items(), limit):
            if moment > latest:
                break
            due.append(key)
        return tuple(due)

    def take(self, keys: tuple[str, ...], answer: Answer, now: float) -> frozenset[str]:
        """Decode the answer for `keys`, and return those whose values could not be decoded.

        A key that the answer lacks becomes absent. The meaning of some values depends on other
        keys, those of the live rows and slow ones of earlier answers.
        """
        status, requested, known = answer.status, self._requested, self._status
        for key in keys:
            del requested[key]  # the dictionary is in the order of the requests
            requested[key] = now
        values = list(map(status.get, keys))
        # Most are settings, which rarely change. Without a type, the sensors tell what `adi` means.
        if type(known.get("typ")) is not str or not _alike(values, list(map(known.get, keys))):
            known.update(zip(keys, values, strict=True))
            self.readings, self._failed = self._decoder.decode(status | known, answer.api)
        return self._failed.intersection(keys, status) if self._failed else self._failed


def _alike(values: list[object], others: list[object]) -> bool:
    """Return whether values of JSON are equal and of the same types, which `1 == True` is not."""
    try:
        return repr(values) == repr(others)
    except RecursionError:
        return False
