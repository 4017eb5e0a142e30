"""Decode a status into readings by the channel table.

Pure: no I/O, no clock. A missing or null value has no reading. A value that does not fit its row
(wrong type, not finite, implausible) has no reading either, and its key is returned, so that the
poller can count it. `decode` never raises, whatever a charger sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from itertools import repeat
from operator import itemgetter, le, truediv
from typing import NamedTuple, TypeGuard

from goe_exporter.channels.codes import firmware_major
from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.quirks import corrected
from goe_exporter.channels.snapshot import Reading, Status
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import UnreadableError

MAX_TEXT_LENGTH = 512
"""Maximum characters of a charger's text; a longer text is cut and ends in an ellipsis."""

MAX_UPTIME_MS = 1e15
"""A longer uptime is a glitch."""


class Decoded(NamedTuple):
    """The readings of a status, in table order, and the keys whose values could not be decoded."""

    readings: tuple[Reading, ...]
    failed: frozenset[str]


class _Context(NamedTuple):
    api: int
    firmware: int | None
    boot_time: float | None
    uptime: object


_Decoder = Callable[[Channel, str, object, _Context], Reading | None]

_reading: Callable[[tuple[Channel, str, float | bool | str, int | None]], Reading]
_reading = partial(tuple.__new__, Reading)
"""Creates a reading at half the cost of calling the class, which dominates decoding."""


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
    status, unmeasured = corrected(status)
    firmware = firmware_major(status.get("fwv"))
    context = _Context(api, firmware, boot_time, status.get("rbt"))
    readings: list[Reading] = []
    failed: set[str] = set()
    found: tuple[Reading, ...] = ()
    keys, groups = _plan(channels)
    for (key, is_alternative, read, repeats), value in zip(
        groups, map(status.get, keys), strict=True
    ):
        if is_alternative and found:
            continue
        if value is None:
            found = ()
            continue
        # 0.0 and -0.0 are equal, but not the same text in an export.
        if repeats is not None and type(value) in _SMALL and (value or type(value) is not float):
            found, complete = repeats(value, api, firmware)
        else:
            found, complete = read(value, context)
        readings += found
        if not complete:
            failed.add(key)
    return Decoded(tuple(readings), unmeasured | failed)


_NUMBERS = frozenset((int, float))
_SMALL = _NUMBERS | {bool}
_REPEATED = 64
"""Values of a key that are remembered with their readings: most are those of the last poll.

Only small values are, because a text may have a megabyte.
"""

_Found = tuple[tuple[Reading, ...], bool]
"""The readings of a key's value, and whether all of it could be decoded."""


class _Group(NamedTuple):
    """Consecutive parts of one key; an alternative counts if the group before gave no value.

    `repeats` does the same as `read` for an API and a firmware, and remembers the results; it is
    None if they depend on more.
    """

    key: str
    is_alternative: bool
    read: Callable[[object, _Context], _Found]
    repeats: Callable[[object, int, int | None], _Found] | None


@cache
def _plan(channels: tuple[Channel, ...]) -> tuple[list[str], list[_Group]]:
    """Return every part of every row, in table order, by key, and the keys."""
    groups: list[tuple[str, bool, list[_Part]]] = []
    for channel in channels:
        for label, paths in channel.parts:
            for number, (key, *steps) in enumerate(paths):
                if len(paths) > 1 or not groups or groups[-1][:2] != (key, False):
                    groups.append((str(key), number > 0, []))
                groups[-1][2].append(_part(channel, label, steps))
    keys = [key for key, _is_alternative, _parts in groups]
    return keys, [_Group(key, alternative, *_readers(parts)) for key, alternative, parts in groups]


def _readers(
    parts: list[_Part],
) -> tuple[
    Callable[[object, _Context], _Found], Callable[[object, int, int | None], _Found] | None
]:
    """Return `read` and `repeats` of a group."""

    @lru_cache(_REPEATED, typed=True)
    def repeats(value: object, api: int, firmware: int | None) -> _Found:
        return _found(parts, value, _Context(api, firmware, None, None))

    if len(parts) > 1 and all(part.element >= 0 and part.decoder is None for part in parts):
        return _array_reader(parts), repeats
    moments = any(part.channel.kind is Kind.MOMENT for part in parts)
    return partial(_found, parts), None if moments else repeats


def _array_reader(parts: list[_Part]) -> Callable[[object, _Context], _Found]:
    """Return a reader of numbers in an array: together if all are valid, else one by one."""
    channels, labels, elements, _steps, lows, highs, absent, divisors, _decoders = zip(
        *parts, strict=True
    )
    assert set(absent) == {None}
    picked, length = itemgetter(*elements), max(elements) + 1

    def read(value: object, context: _Context) -> _Found:
        if type(value) is list and len(value) >= length:
            raws = picked(value)
            if (
                _NUMBERS.issuperset(map(type, raws))
                and all(map(le, lows, raws))
                and all(map(le, raws, highs))
            ):
                numbers = map(truediv, raws, divisors)
                found = zip(channels, labels, numbers, repeat(None), strict=False)
                return tuple(map(_reading, found)), True
        return _found(parts, value, context)

    return read


def _found(parts: list[_Part], value: object, context: _Context) -> _Found:
    """Return the readings of the parts of a key's value."""
    found: list[Reading] = []
    complete = True
    for channel, label, element, steps, low, high, absent, divide, decoder in parts:
        raw = value
        try:
            if element >= 0 and type(raw) is list:
                raw = raw[element] if element < len(raw) else None
            elif steps:
                raw = _inside(raw, steps)
            if raw is None:
                continue
            if decoder is not None:
                if (reading := decoder(channel, label, raw, context)) is not None:
                    found.append(reading)
            # Compare before converting: an integer may be too large for a float. NaN fails it.
            elif (type(raw) is float or type(raw) is int) and low <= raw <= high:
                if raw != absent:
                    found.append(_reading((channel, label, raw / divide, None)))
            else:
                complete = False
        except UnreadableError:
            complete = False
    return tuple(found), complete


class _Part(NamedTuple):
    """One value: its place within that of its key, and how it is decoded.

    `element` is the index in an array, which most parts have and which saves a function call, else
    -1. A number between `low` and `high` needs no decoder.
    """

    channel: Channel
    label: str
    element: int
    steps: tuple[str | int, ...]
    low: float
    high: float
    absent: float | None
    divide: float
    decoder: _Decoder | None


def _part(channel: Channel, label: str, steps: list[str | int]) -> _Part:
    return _Part(
        channel,
        label,
        _only_index(steps),
        tuple(steps),
        *channel.bounds,
        channel.absent,
        channel.divide,
        _DECODERS.get(channel.kind),
    )


def _only_index(steps: Sequence[str | int]) -> int:
    index = steps[0] if len(steps) == 1 else -1
    return index if isinstance(index, int) else -1


def _inside(value: object, steps: tuple[str | int, ...]) -> object:
    """Return the value at `steps` in a list or an object, None if there is none."""
    for step in steps:
        if type(step) is int:
            if type(value) is not list:
                raise UnreadableError
            value = value[step] if step < len(value) else None
        else:
            if type(value) is not dict:
                raise UnreadableError
            value = value.get(step)
        if value is None:
            break
    return value


def _count(channel: Channel, label: str, raw: object, _context: _Context) -> Reading:
    """Decode a number of phases, or count the phases that are live after the contactor."""
    if isinstance(raw, list):
        live = raw[:3]
        if len(live) < 3 or not all(isinstance(item, bool) for item in live):
            raise UnreadableError
        raw = sum(live)
    low, high = channel.bounds
    if not _is_integral(raw) or not low <= raw <= high:
        raise UnreadableError
    return _reading((channel, label, float(raw), None))


def _moment(channel: Channel, label: str, raw: object, context: _Context) -> Reading | None:
    """Decode milliseconds since the charger started as a Unix time in seconds."""
    uptime = context.uptime
    if type(raw) is not float and type(raw) is not int:
        raise UnreadableError
    if context.boot_time is None or (type(uptime) is not float and type(uptime) is not int):
        return None
    if uptime > MAX_UPTIME_MS or not 0 <= raw <= uptime:
        raise UnreadableError
    return _reading((channel, label, context.boot_time + raw / 1000, None))


def _flag(channel: Channel, label: str, raw: object, _context: _Context) -> Reading:
    if raw is not True and raw is not False:
        raise UnreadableError
    return _reading((channel, label, raw, None))


def _state(channel: Channel, label: str, raw: object, context: _Context) -> Reading:
    if not _is_integral(raw) or not channel.unit.low <= raw <= channel.unit.high:
        raise UnreadableError
    assert channel.states is not None
    code = int(raw)
    name = channel.states.name(code, context.api, context.firmware)
    return _reading((channel, label, name, code))


def _text(channel: Channel, label: str, raw: object, context: _Context) -> Reading | None:
    if channel.states is not None:
        # A code that is a label of a part, and so no state of its own.
        return _state(channel, label, raw, context)._replace(code=None)
    if _is_integral(raw):
        raw = str(int(raw)) if abs(raw) < 1e12 else None
    if not isinstance(raw, str):
        raise UnreadableError
    if not raw.isascii():
        # JSON may contain half a surrogate pair, which cannot be encoded later.
        raw = raw.encode("utf-8", "replace").decode("utf-8")
    text = raw.strip()
    if len(text) > MAX_TEXT_LENGTH:
        text = text[: MAX_TEXT_LENGTH - 1] + "…"
    return _reading((channel, label, text, None)) if text else None


def _is_integral(raw: object) -> TypeGuard[int | float]:
    return type(raw) is int or (type(raw) is float and raw.is_integer())


_DECODERS: dict[Kind, _Decoder] = {
    Kind.COUNT: _count,
    Kind.MOMENT: _moment,
    Kind.FLAG: _flag,
    Kind.STATE: _state,
    Kind.REASON: _state,
    Kind.TEXT: _text,
}
