"""Decode a status into readings by the channel table.

Pure: no I/O, no clock. A missing or null value has no reading. A value that does not fit its row
(wrong type, not finite, implausible) has no reading either, and its key is returned, so that the
poller can count it. `decode` never raises, whatever a charger sends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
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
    context = _Context(api, firmware_major(status.get("fwv")), boot_time, status.get("rbt"))
    readings: list[Reading] = []
    failed: set[str] = set()
    for channel, label, places, decoder in _plan(channels):
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
                reading = decoder(channel, label, raw, context)
            except UnreadableError:
                failed.add(key)
                continue
            if reading is not None:
                readings.append(reading)
            break
    return Decoded(tuple(readings), unmeasured | failed)


_Place = tuple[str, int, tuple[str | int, ...]]
"""A key of a status, an index, and the steps from the key's value to the part's value.

The index is that of a part reached by a single index, else -1. Most parts are elements of an
array, and the index saves a function call for each.
"""


@cache
def _plan(
    channels: tuple[Channel, ...],
) -> list[tuple[Channel, str, tuple[_Place, ...], _Decoder]]:
    """Return every part of every row with the function that decodes it."""
    return [
        (
            channel,
            part.label,
            tuple((str(path[0]), _only_index(path[1:]), path[1:]) for path in part.paths),
            _DECODERS[channel.kind],
        )
        for channel in channels
        for part in channel.parts
    ]


def _only_index(steps: tuple[str | int, ...]) -> int:
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


def _number(channel: Channel, label: str, raw: object, _context: _Context) -> Reading | None:
    if type(raw) is not float and type(raw) is not int:
        raise UnreadableError
    if raw == channel.absent:
        return None
    low, high = channel.bounds
    # Compare before converting: an integer may be too large for a float. NaN fails the comparison.
    if not low <= raw <= high:
        raise UnreadableError
    return _reading((channel, label, raw / channel.divide, None))


def _count(channel: Channel, label: str, raw: object, context: _Context) -> Reading | None:
    """Decode a number of phases, or count the phases that are live after the contactor."""
    if isinstance(raw, list):
        live = raw[:3]
        if len(live) < 3 or not all(isinstance(item, bool) for item in live):
            raise UnreadableError
        raw = sum(live)
    if not _is_integral(raw):
        raise UnreadableError
    return _number(channel, label, raw, context)


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


def _text(channel: Channel, label: str, raw: object, _context: _Context) -> Reading | None:
    if _is_integral(raw):
        raw = str(int(raw)) if abs(raw) < 1e12 else None
    if not isinstance(raw, str):
        raise UnreadableError
    # JSON may contain half a surrogate pair, which cannot be encoded later.
    text = raw.encode("utf-8", "replace").decode("utf-8").strip()
    if len(text) > MAX_TEXT_LENGTH:
        text = text[: MAX_TEXT_LENGTH - 1] + "…"
    return _reading((channel, label, text, None)) if text else None


def _is_integral(raw: object) -> TypeGuard[int | float]:
    return type(raw) is int or (type(raw) is float and raw.is_integer())


_DECODERS: dict[Kind, _Decoder] = {
    Kind.GAUGE: _number,
    Kind.COUNTER: _number,
    Kind.COUNT: _count,
    Kind.MOMENT: _moment,
    Kind.FLAG: _flag,
    Kind.STATE: _state,
    Kind.REASON: _state,
    Kind.TEXT: _text,
}
