"""Readers of the parts of one key's value, by the rows of the channel table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter, le, truediv
from typing import Any, NamedTuple, TypeGuard

from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.errors import UnreadableError

MAX_TEXT_LENGTH = 512
"""Maximum characters of a charger's text; a longer text is cut and ends in an ellipsis."""

MAX_UPTIME_MS = 1e15
"""A longer uptime is a glitch."""


class Context(NamedTuple):
    """What the meaning of a value depends on; `uptime` is the value of `rbt`."""

    api: int
    firmware: int | None
    boot_time: float | None
    uptime: object


_Decoder = Callable[[Channel, str, object, Context], Reading | None]

_reading: Callable[[tuple[Channel, str, float | bool | str, int | None]], Reading]
_reading = partial(tuple.__new__, Reading)
"""Creates a reading at half the cost of calling the class, which dominates decoding."""


_NUMBERS = frozenset((int, float))
_FLAGS = frozenset((bool,))

Found = tuple[tuple[Reading, ...], bool]
"""The readings of a key's value, and whether all of it could be decoded."""

Read = Callable[[object, Context], Found]


def reader(parts: list[Part]) -> Read:
    """Return the reader of parts of one key: a faster one for a number, and for an array."""
    kinds = {part.decoder for part in parts}
    if len(parts) == 1 and not parts[0].steps:
        return _value_reader(parts[0])
    if all(part.element >= 0 and part.absent is None for part in parts):
        if kinds == {None}:
            return _array_reader(parts, _NUMBERS)
        if kinds == {_flag}:
            return _array_reader(parts, _FLAGS)
    return partial(_found, parts)


def _value_reader(part: Part) -> Read:
    """Return the reader of a key's value that has no parts."""
    channel, label, _element, _steps, low, high, absent, divide, decoder = part

    def read_number(raw: Any, _context: Context) -> Found:
        if type(raw) in _NUMBERS and low <= raw <= high:
            if raw == absent:
                return (), True
            return (_reading((channel, label, raw / divide, None)),), True
        return (), False

    def read_other(raw: object, context: Context) -> Found:
        assert decoder is not None
        try:
            reading = decoder(channel, label, raw, context)
        except UnreadableError:
            return (), False
        return (() if reading is None else (reading,)), True

    return read_number if decoder is None else read_other


def _array_reader(parts: list[Part], types: frozenset[type]) -> Read:
    """Return a reader of an array, whose elements have these types."""
    longest = max(part.element for part in parts) + 1
    readers = [
        _elements_reader([part for part in parts if part.element < length], types)
        for length in range(longest + 1)
    ]

    def read(value: object, context: Context) -> Found:
        if type(value) is not list:
            return _found(parts, value, context)
        return readers[min(len(value), longest)](value, context)

    return read


def _elements_reader(parts: list[Part], types: frozenset[type]) -> Read:
    """Return a reader of elements: together if all of them are valid, else one by one."""
    elements = [part.element for part in parts]
    some: Callable[[Any], Sequence[Any]]
    some = itemgetter(*elements) if len(parts) > 1 else lambda value: [value[n] for n in elements]
    channels, labels = [part.channel for part in parts], [part.label for part in parts]
    lows, highs = [part.low for part in parts], [part.high for part in parts]
    divisors = [part.divide for part in parts]
    nothing = [None] * len(parts)

    def read_numbers(value: Any, context: Context) -> Found:
        raws = some(value)
        if (
            types.issuperset(map(type, raws))
            and all(map(le, lows, raws))
            and all(map(le, raws, highs))
        ):
            numbers = map(truediv, raws, divisors)
            found = zip(channels, labels, numbers, nothing)  # noqa: B905, all have the same length
            return tuple(map(_reading, found)), True
        return _found(parts, value, context)

    def read_flags(value: Any, context: Context) -> Found:
        raws = some(value)
        if types.issuperset(map(type, raws)):
            found = zip(channels, labels, raws, nothing)  # noqa: B905, all have the same length
            return tuple(map(_reading, found)), True
        return _found(parts, value, context)

    return read_flags if types is _FLAGS else read_numbers


def _found(parts: list[Part], value: object, context: Context) -> Found:
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


class Part(NamedTuple):
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


def part_of(channel: Channel, label: str, steps: list[str | int]) -> Part:
    """Return the part of a row at `steps` within the value of its key."""
    return Part(
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


def _count(channel: Channel, label: str, raw: object, _context: Context) -> Reading:
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


def _moment(channel: Channel, label: str, raw: object, context: Context) -> Reading | None:
    """Decode milliseconds since the charger started as a Unix time in seconds."""
    uptime = context.uptime
    if type(raw) is not float and type(raw) is not int:
        raise UnreadableError
    if context.boot_time is None or (type(uptime) is not float and type(uptime) is not int):
        return None
    if uptime > MAX_UPTIME_MS or not 0 <= raw <= uptime:
        raise UnreadableError
    return _reading((channel, label, context.boot_time + raw / 1000, None))


def _flag(channel: Channel, label: str, raw: object, _context: Context) -> Reading:
    if raw is not True and raw is not False:
        raise UnreadableError
    return _reading((channel, label, raw, None))


def _state(channel: Channel, label: str, raw: object, context: Context) -> Reading:
    if not _is_integral(raw) or not channel.unit.low <= raw <= channel.unit.high:
        raise UnreadableError
    assert channel.states is not None
    code = int(raw)
    name = channel.states.name(code, context.api, context.firmware)
    return _reading((channel, label, name, code))


def _text(channel: Channel, label: str, raw: object, context: Context) -> Reading | None:
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
