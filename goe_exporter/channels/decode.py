"""Status → readings, by the table.

Pure: no I/O, no clock. A value that is missing or null is no reading; one that is not what its
row holds (the wrong type, not finite, implausible) is no reading either and its key is named, so
that the collector can count it. Nothing a charger sends makes `decode` raise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple, TypeGuard

from goe_exporter.channels.codes import firmware_major
from goe_exporter.channels.model import Channel, Kind, Reading, Status
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import UnreadableError

LONGEST_TEXT = 512
"""Characters of a charger's text that are kept; a longer one is cut and ends in an ellipsis."""


class Decoded(NamedTuple):
    """The readings of a status, in table order, and the keys that held something unreadable."""

    readings: tuple[Reading, ...]
    failed: frozenset[str]


class _Context(NamedTuple):
    api: int
    firmware: int | None


_Reader = Callable[[Channel, str, object, _Context], Reading | None]

_reading: Callable[[tuple[Channel, str, float | bool | str, int | None]], Reading]
_reading = partial(tuple.__new__, Reading)
"""Makes a reading, at half the cost of calling its class, which is most of a decode."""


def decode(status: Status, api: int, channels: tuple[Channel, ...] = CHANNELS) -> Decoded:
    """Return the readings of `status`, which is in v2's words and came through API `api`.

    Units are those of the rows. The error's word depends on the API and on the firmware in
    `fwv` (PROTOCOL.md §2).
    """
    context = _Context(api, firmware_major(status.get("fwv")))
    readings: list[Reading] = []
    failed: set[str] = set()
    for channel, label, places, reader in _plan(channels):
        for key, index, steps in places:
            raw = status.get(key)
            if raw is None:
                continue
            try:
                if index >= 0 and type(raw) is list:
                    raw = raw[index] if index < len(raw) else None
                elif steps:
                    raw = _inside(raw, steps)
                if raw is None:
                    continue
                reading = reader(channel, label, raw, context)
            except UnreadableError:
                failed.add(key)
                continue
            if reading is not None:
                readings.append(reading)
            break
    return Decoded(tuple(readings), frozenset(failed))


_Place = tuple[str, int, tuple[str | int, ...]]
"""A key of a status, and the steps from its value to the one wanted.

Between them, if a single index is all the steps there are, that index, else -1: most parts are
elements of an array, and this saves a call for each.
"""


@cache
def _plan(
    channels: tuple[Channel, ...],
) -> list[tuple[Channel, str, tuple[_Place, ...], _Reader]]:
    """Return every part of every row with the function that reads it."""
    return [
        (
            channel,
            part.label,
            tuple((str(path[0]), _only_index(path[1:]), path[1:]) for path in part.paths),
            _READERS[channel.kind],
        )
        for channel in channels
        for part in channel.parts
    ]


def _only_index(steps: tuple[str | int, ...]) -> int:
    index = steps[0] if len(steps) == 1 else -1
    return index if isinstance(index, int) else -1


def _inside(value: object, steps: tuple[str | int, ...]) -> object:
    """Return what stands at `steps` in a list or an object, None where nothing does."""
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


def _number(channel: Channel, label: str, raw: object, _context: _Context) -> Reading | None:
    if type(raw) is not float and type(raw) is not int:
        raise UnreadableError
    if raw == channel.absent:
        return None
    low, high = channel.bounds
    # Compared before any conversion: an integer may be too long for a float, and NaN fails.
    if not low <= raw <= high:
        raise UnreadableError
    return _reading((channel, label, raw / channel.divide, None))


def _count(channel: Channel, label: str, raw: object, context: _Context) -> Reading | None:
    """Read a number of phases, or count the phases that are live after the contactor."""
    if isinstance(raw, list):
        live = raw[:3]
        if len(live) < 3 or not all(isinstance(item, bool) for item in live):
            raise UnreadableError
        raw = sum(live)
    if not _is_integral(raw):
        raise UnreadableError
    return _number(channel, label, raw, context)


def _flag(channel: Channel, label: str, raw: object, _context: _Context) -> Reading:
    if raw is not True and raw is not False:
        raise UnreadableError
    return _reading((channel, label, raw, None))


def _state(channel: Channel, label: str, raw: object, context: _Context) -> Reading:
    if not _is_integral(raw) or not channel.unit.low <= raw <= channel.unit.high:
        raise UnreadableError
    assert channel.states is not None
    code = int(raw)
    word = channel.states.name(code, context.api, context.firmware)
    return _reading((channel, label, word, code))


def _text(channel: Channel, label: str, raw: object, _context: _Context) -> Reading | None:
    if _is_integral(raw):
        raw = str(int(raw)) if abs(raw) < 1e12 else None
    if not isinstance(raw, str):
        raise UnreadableError
    # JSON can spell half a surrogate pair, which no encoder takes later.
    text = raw.encode("utf-8", "replace").decode("utf-8").strip()
    if len(text) > LONGEST_TEXT:
        text = text[: LONGEST_TEXT - 1] + "…"
    return _reading((channel, label, text, None)) if text else None


def _is_integral(raw: object) -> TypeGuard[int | float]:
    return type(raw) is int or (type(raw) is float and raw.is_integer())


_READERS: dict[Kind, _Reader] = {
    Kind.GAUGE: _number,
    Kind.COUNTER: _number,
    Kind.COUNT: _count,
    Kind.FLAG: _flag,
    Kind.STATE: _state,
    Kind.REASON: _state,
    Kind.TEXT: _text,
}
