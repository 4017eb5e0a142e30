"""Translate API v1 into v2's terms: a status, and a write back (docs/protocol.md §2). Pure.

v1 uses strings and scaled integers; the channel table has v2's keys, types and units. A value that
cannot be translated is passed on unchanged, so that decoding rejects it and counts its key. The
translation of a status never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from goe_exporter.errors import UsageError

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_CARDS = ("eca", "ecr", "ecd", "ec4", "ec5", "ec6", "ec7", "ec8", "ec9", "ec1")
_NO_SENSOR = (0, -15)
_FILLER_C = (-0.13, -0.12)
_INTERNAL_SENSORS = 4
_NOMINAL_VOLTS = 230
_UNSCALED_RATIO = 30
_MAX_RATIO = 1.5
_SCALED_TOTAL = 3
_MAX = 1e15
_Convert = Callable[[object], object]


def status(v1: Mapping[str, object]) -> dict[str, object]:
    """Return a v1 status in v2's terms: JSON types, V, A, W, Wh, and `None` for absent values."""
    v2 = {key: convert(v1[v1_key]) for key, (v1_key, convert) in _KEYS.items() if v1_key in v1}
    if _number(v1.get("stp")) == 2:
        # Without stp=2 there is no limit, whatever the value of `dwo` (docs/protocol.md §3.3).
        v2["dwo"] = _times(100)(v1.get("dwo"))
    if _number(v1.get("loe")) != 0:
        v2["loa"] = _number(v1.get("loa"))
    v2["tma"] = _temperatures(v1)
    return v2


def writes(key: str, value: object) -> list[str]:
    """Return the payloads of `/mqtt?payload=…` that write `value` to `key`, in v2's terms.

    Raises `UsageError` for a key that v1 does not have.
    """
    if key == "dwo":
        return ["dwo=0", "stp=0"] if value is None else [f"dwo={_tenths_kwh(value)}", "stp=2"]
    v1_key = {"acs": "ast", "tcl": "amx"}.get(key, key)
    if v1_key not in ("amp", "amx", "ast", "alw"):
        raise UsageError(f"API v1 cannot write {key!r}")
    return [f"{v1_key}={int(value) if isinstance(value, bool) else value}"]


def _tenths_kwh(watt_hours: object) -> int:
    limit = float(str(watt_hours)) / 100
    if limit < 1 or not limit.is_integer():
        raise UsageError(f"API v1 accepts energy limits in steps of 100 Wh, not {watt_hours!r}")
    return int(limit)


def _number(raw: object) -> object:
    """Return the number of a text; an empty text is absent."""
    if not isinstance(raw, str):
        return raw
    if _NUMBER.fullmatch(raw):
        return float(raw) if "." in raw else int(raw)
    return raw or None


def _times(factor: float) -> _Convert:
    return lambda raw: _scaled(_number(raw), factor, 1)


def _scaled(value: object, factor: float, divisor: float) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MAX:
        return value
    return value * factor / divisor


def _deca_watt_seconds(raw: object) -> object:
    return _scaled(_number(raw), 10, 3600)


def _flag(raw: object) -> object:
    number = _number(raw)
    return {0: False, 1: True}.get(number, raw) if isinstance(number, int) else number


def _zero_is_none(raw: object) -> object:
    number = _number(raw)
    return None if number == 0 and number is not False else number


def _bits(raw: object) -> object:
    """Return the bits 0 to 5 of `pha` as v2's list (docs/protocol.md §3.6)."""
    number = _number(raw)
    if type(number) is int and 0 <= number < 64:
        return [bool(number >> bit & 1) for bit in range(6)]
    return number


def _nrg(raw: object) -> object:
    """Scale the array: 0.1 A, 0.1 kW per phase, 0.01 kW in total, for integers and floats.

    Firmware 052.2 sends A and W (docs/protocol.md §5.2).
    """
    if not isinstance(raw, list) or _is_unscaled(raw):
        return raw
    scales = [(1, 1)] * 4 + [(1, 10)] * 3 + [(100, 1)] * 4 + [(10, 1)] + [(1, 1)] * 4
    return [_scaled(value, *scale) for value, scale in zip(raw, scales, strict=False)]


def _is_unscaled(nrg: list[object]) -> bool:
    """Return whether the array is in A and W.

    The total is then the sum of the phases, not ten times that. And where current flows, power is
    about voltage times current: taken for scaled values, the powers of the phases would be a
    thousand times as much, and their total a hundred times.
    """
    volt_amperes = _NOMINAL_VOLTS * _sum(nrg[4:7]) / 10
    phases, total = _sum(nrg[7:10]), _sum(nrg[11:12])
    if phases and total:
        watts = min(phases * 100, total * 10)
        return total < _SCALED_TOTAL * phases and watts > _MAX_RATIO * volt_amperes
    watts = max(phases * 100, total * 10)
    return volt_amperes > 0 and watts > _UNSCALED_RATIO * volt_amperes


def _sum(values: list[object]) -> float:
    return sum(
        abs(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX
    )


def _temperatures(v1: Mapping[str, object]) -> object:
    """Return v2's `tma`: type 2 port, board; and after its six, the sensors of V2 hardware.

    V3 and later send the first two. V2 hardware sends four sensors in an undocumented order,
    sometimes with two more entries, and the uncalibrated `tmp`, which stays at 0 or -15 without a
    sensor (docs/protocol.md §5.2).
    """
    tma = v1.get("tma")
    sensors = tma if isinstance(tma, list) else []
    if "tmp" not in v1 and (len(sensors) <= 2 or sensors[:2] == [None, None]):
        return tma
    board = _number(v1.get("tmp"))
    if len(sensors) >= _INTERNAL_SENSORS and board in _NO_SENSOR:
        board = None
    if len(sensors) <= 2:
        return [None, board]
    return [None, board, None, None, None, None, *map(_internal, sensors[:_INTERNAL_SENSORS])]


def _internal(celsius: object) -> object:
    """Return a sensor's temperature, None for the filler of a missing sensor."""
    low, high = _FILLER_C
    return None if isinstance(celsius, float) and low <= celsius <= high else celsius


def _as_is(raw: object) -> object:
    return raw


_KEYS: dict[str, tuple[str, _Convert]] = {
    **{key: (key, _number) for key in ("car", "err", "amp", "ama", "amt", "rbc", "rbt")},
    "acs": ("ast", _number),
    "trx": ("uby", _number),
    "alw": ("alw", _flag),
    "adi": ("adi", _flag),
    "tcl": ("amx", _zero_is_none),
    "cbl": ("cbl", _zero_is_none),
    "eto": ("eto", _times(100)),
    "wh": ("dws", _deca_watt_seconds),
    "nrg": ("nrg", _nrg),
    "pha": ("pha", _bits),
    "fwv": ("fwv", _as_is),
    "sse": ("sse", _as_is),
    **{f"c{n}e": (key, _times(100)) for n, key in enumerate(_CARDS)},
}
"""v2's key → v1's key, and the function that translates its value."""

KEYS = {v1_key: key for key, (v1_key, _convert) in _KEYS.items()} | {"dwo": "dwo", "stp": "dwo"}
"""v1's key → v2's key."""
