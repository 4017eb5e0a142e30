"""Decode a status into readings by the channel table.

Pure: no I/O, no clock. A missing or null value has no reading. A value that does not fit its row
(wrong type, not finite, implausible) has no reading either, and its key is returned, so that the
poller can count it. `decode` never raises, whatever a charger sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain, compress
from operator import is_not, ne
from typing import NamedTuple

from goe_exporter.channels.codes import firmware_major
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.quirks import corrected
from goe_exporter.channels.readers import Context, Found, Part, Read, part_of, reader
from goe_exporter.channels.snapshot import Reading, Status
from goe_exporter.channels.table import CHANNELS


class Decoded(NamedTuple):
    """The readings of a status, in table order, and the keys whose values could not be decoded."""

    readings: tuple[Reading, ...]
    failed: frozenset[str]


def decode(
    status: Status,
    api: int,
    channels: tuple[Channel, ...] = CHANNELS,
    boot_time: float | None = None,
) -> Decoded:
    """Return the readings of `status`, which is in v2's terms and was returned by API `api`.

    Units are those of the rows. The name of an error depends on the API and on the firmware in
    `fwv` (docs/protocol.md §2). `boot_time` is the Unix time in seconds at which the charger
    started; without it, moments are absent. Zeros that were never measured are absent and count as
    failures.
    """
    return Decoder(channels).decode(status, api, boot_time)


class Decoder:
    """Decodes the statuses of a charger in turn, without reading an unchanged value again.

    The results are those of `decode` with `channels`, whatever came before.
    """

    __slots__ = ("_failed", "_found", "_groups", "_keys", "_known", "_meaning", "_types")

    def __init__(self, channels: tuple[Channel, ...]) -> None:
        self._keys, self._groups = _plan(channels)
        self._meaning: tuple[int, int | None] | None = None
        self._types: tuple[type, ...]
        self._known: list[object]
        self._found: list[tuple[Reading, ...]]
        self._failed: set[int]

    def decode(self, status: Status, api: int, boot_time: float | None = None) -> Decoded:
        """Return the readings of `status`, as the function `decode` does."""
        status, failed = corrected(status)
        firmware = firmware_major(status.get("fwv"))
        if self._meaning != (api, firmware):
            self._meaning = api, firmware
            self._forget(len(self._keys))
        values = tuple(map(status.get, self._keys))
        types = tuple(map(type, values))
        if types != self._types:
            self._compare(types)
        context = Context(api, firmware, boot_time, status.get("rbt"))
        known, found, failing = self._known, self._found, self._failed
        # Lazy: reading one place may make another one unknown.
        changed = compress(zip(self._groups, values, types), map(ne, values, known))  # noqa: B905
        for (place, read, comparable, alternatives), value, kind in changed:
            if value is None or (
                alternatives and any(found[each] for each in alternatives.earlier)
            ):
                now, complete = _NOTHING
            else:
                now, complete = read(value, context)
            if alternatives and bool(now) != bool(found[place]):
                for each in alternatives.later:
                    known[each] = _UNKNOWN
            found[place] = now
            # 0.0 and -0.0 are equal, but not the same text in an export.
            known[place] = (
                value if kind in comparable and (value or kind is not float) else _UNKNOWN
            )
            if not complete:
                failing.add(place)
            elif failing:
                failing.discard(place)
        if failing:
            failed |= {self._keys[place] for place in failing}
        return Decoded(tuple(chain.from_iterable(found)), failed)

    def _forget(self, places: int) -> None:
        self._types = (object,) * places
        self._known, self._found = [_UNKNOWN] * places, [()] * places
        self._failed = set()

    def _compare(self, types: tuple[type, ...]) -> None:
        """Forget each value whose type has changed: True, 1 and 1.0 are equal."""
        for place in compress(range(len(types)), map(is_not, types, self._types)):
            self._known[place] = _UNKNOWN
        self._types = types


_NOTHING: Found = (), True

_UNKNOWN = object()
"""Equal to no value."""


class _Alternatives(NamedTuple):
    """The places of the groups that are alternatives to a group, and come before and after it."""

    earlier: Sequence[int]
    later: Sequence[int]


class _Group(NamedTuple):
    """Consecutive parts of one key, at a place among all groups.

    Equal values of a `comparable` type have the same readings. A group with alternatives is read
    only if the earlier ones gave no reading.
    """

    place: int
    read: Read
    comparable: frozenset[type]
    alternatives: _Alternatives | None


_SCALARS: frozenset[type] = frozenset((bool, int, float, str, type(None)))
"""An array is not compared, because elements of equal ones may have different types."""


@cache
def _plan(channels: tuple[Channel, ...]) -> tuple[list[str], list[_Group]]:
    """Return the key of each group, and the groups, which hold every part in table order."""
    groups: list[tuple[str, list[Part], _Alternatives | None]] = []
    for channel in channels:
        for label, paths in channel.parts:
            places = range(len(groups), len(groups) + len(paths))
            for number, (key, *steps) in enumerate(paths):
                if len(paths) > 1:
                    others = _Alternatives(places[:number], places[number + 1 :])
                    groups.append((str(key), [], others))
                elif not groups or groups[-1][0] != key or groups[-1][2]:
                    groups.append((str(key), [], None))
                groups[-1][1].append(part_of(channel, label, steps))
    return [key for key, *_ in groups], [
        _Group(place, reader(parts), _comparable(parts), alternatives)
        for place, (_key, parts, alternatives) in enumerate(groups)
    ]


def _comparable(parts: list[Part]) -> frozenset[type]:
    if any(part.channel.kind is Kind.MOMENT for part in parts):
        return frozenset((type(None),))
    return _SCALARS
