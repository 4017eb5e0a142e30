"""API v2: requested keys as JSON types, writes and refusals (docs/protocol.md §1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from urllib.parse import parse_qsl

from . import logic
from .api_v1 import SWITCHED_ON, phase_bits
from .hardware import Model, version
from .padding import PADDING
from .settings import SETTINGS, RefusedError, accept
from .state import CARDS, SOURCES, State

Build = Callable[[State], object]

COMMA_FILTER_SINCE = (51, 4)
CARD_KEYS_SINCE = (60,)
REVISION_KEYS_SINCE = (60, 4)
LIMITS_SINCE = (56,)
SOURCES_SINCE = (59, 4)
MID_KEYS_SINCE = (60, 3)
OLD_FILTER_KEYS = 10
LOCAL_OFFSET = timedelta(hours=2)


def _single(value: float) -> float:
    """Return a number with seven digits, as the charger prints its 32-bit floats."""
    return float(f"{value:.7g}")


def _nearest(value: float, step: int) -> int:
    return round(value / step) * step


def _meter(charger: State) -> list[float]:
    """Return `nrg` in V, A, W and %; V3 measures in steps of 1 V, 0.1 A, 100 W, 10 W and 1 %."""
    if charger.hardware.fine_meter:
        return [
            *(round(voltage, 2) for voltage in charger.phase_voltage_v),
            *(round(current, 3) for current in charger.phase_current_a),
            *(_single(power) for power in charger.phase_power_w),
            _single(charger.power_w),
            *(_single(factor * 100) for factor in charger.power_factor),
        ]
    return [
        *(round(voltage) for voltage in charger.phase_voltage_v),
        *(round(current, 1) for current in charger.phase_current_a),
        *(_nearest(power, 100) for power in charger.phase_power_w),
        _nearest(charger.power_w, 10),
        *(round(factor * 100) for factor in charger.power_factor),
    ]


def _temperatures(charger: State) -> list[float | None]:
    """Return `tma` in steps of 1/8 °C (its order: docs/protocol.md §3.4)."""
    board, type2 = charger.board_c, charger.type2_c
    if charger.hardware.sensors == 2:
        return [round(type2 * 8) / 8, round(board * 8) / 8]
    sensors = (board + 1.5, board, type2, board - 2.0)
    return [None, None, *(round(value * 8) / 8 for value in sensors)]


def _moment(charger: State, offset: timedelta) -> str:
    now = SWITCHED_ON + timedelta(seconds=charger.time_s) + offset
    return now.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _surplus(name: str) -> Build:
    """Return the builder of `pgrid`, `ppv` or `pakku` (W): null unless written in the last 6 s."""

    def build(charger: State) -> object:
        return charger.pv_w.get(name) if charger.time_s < charger.pv_until_s else None

    return build


def _cards(charger: State) -> list[dict[str, object]]:
    return [
        {"name": "n/a", "energy": int(energy), "cardId": slot == 0}
        for slot, energy in enumerate(charger.card_wh)
    ]


def _card_energy(slot: int) -> Build:
    return lambda charger: int(charger.card_wh[slot])


def _market(charger: State) -> dict[str, object]:
    start = int(SWITCHED_ON.timestamp() + charger.time_s) // 3600 * 3600
    return {"start": start, "end": start + 3600, "marketprice": logic.MARKET_PRICE_CT}


READINGS: dict[str, Build] = {
    "acs": lambda charger: charger.access,
    "acu": lambda charger: charger.allowed_a,
    "adi": lambda charger: charger.adapter or not charger.hardware.knows_cable,
    "alw": lambda charger: charger.allowed,
    "ama": lambda charger: charger.ama,
    "amp": lambda charger: charger.amp,
    "amt": lambda charger: charger.temperature_limit_a,
    "avgfhz": lambda _: 50.0,
    "awcp": _market,
    "awp": lambda charger: charger.price_limit_ct,
    "car": lambda charger: charger.car_state,
    "cards": _cards,
    "cbl": lambda charger: charger.cable_a,
    "cdi": lambda charger: {"type": 1, "value": int(charger.charging_s * 1000)},
    "cus": logic.cable_lock,
    "dwo": lambda charger: charger.energy_limit_wh,
    "err": lambda charger: charger.error,
    "eto": lambda charger: int(charger.energy_wh),
    "fhz": lambda charger: round(charger.frequency_hz, 3),
    "fna": lambda charger: charger.name,
    "frc": lambda charger: charger.force,
    "fsp": lambda charger: charger.phase_mode == 1,
    "fup": lambda charger: charger.use_surplus,
    "fwv": lambda charger: charger.firmware,
    "host": lambda charger: f"go-echarger_{charger.serial}",
    "ids": lambda _: None,
    "lccfi": lambda charger: None if charger.left_idle_ms is None else int(charger.left_idle_ms),
    "lbr": lambda charger: charger.brightness,
    "lmo": lambda charger: charger.logic_mode,
    "lmsc": lambda charger: int(charger.uptime_ms),
    "loa": lambda charger: charger.load_limit_a,
    "modelStatus": lambda charger: charger.model_status,
    "nrg": _meter,
    "oem": lambda _: "go-e",
    "pakku": _surplus("pAkku"),
    "pgrid": _surplus("pGrid"),
    "pha": phase_bits,
    "pnp": lambda charger: charger.last_phases,
    "ppv": _surplus("pPv"),
    "psm": lambda charger: charger.phase_mode,
    "rbc": lambda charger: charger.reboots,
    "rbt": lambda charger: int(charger.uptime_ms),
    "rssi": lambda _: -61,
    "sse": lambda charger: charger.serial,
    "tcl": lambda charger: charger.temporary_limit_a,
    "tma": _temperatures,
    "tpa": lambda charger: _single(charger.average_power_w),
    "trx": lambda charger: charger.transaction,
    "typ": lambda charger: charger.hardware.type_name,
    "ust": lambda charger: charger.lock_setting,
    "utc": lambda charger: _moment(charger, timedelta()),
    "loc": lambda charger: f"{_moment(charger, LOCAL_OFFSET)} +02:00",
    "var": lambda charger: charger.variant,
    "wh": lambda charger: _single(charger.session_wh),
}
"""The builder of each key that changes; the others are in `PADDING`."""

CARD_READINGS: dict[str, Build] = {
    **{f"c{slot}e": _card_energy(slot) for slot in range(CARDS)},
    **{f"c{slot}n": lambda _: "n/a" for slot in range(CARDS)},
    **{f"c{slot}i": (lambda _, first=slot == 0: first) for slot in range(CARDS)},  # type: ignore[misc]
}


REVISION_READINGS: dict[str, Build] = {
    "rev": lambda charger: charger.revision,
    "styp": lambda charger: charger.style,
}


SOURCE_READINGS: dict[str, Build] = {
    f"wh{source[0]}": (lambda charger, name=source: _single(charger.source_wh[name]))  # type: ignore[misc]
    for source in SOURCES
}

MID_READINGS: dict[str, Build] = {
    "cert": lambda charger: charger.hardware.mid,
    "eto_mid": lambda charger: int(charger.energy_wh),
    "wh_mid": lambda charger: _single(sum(charger.source_wh.values())),
}


@lru_cache
def _builders(hardware: Model, firmware: tuple[int, ...]) -> dict[str, Build]:
    """Return the builders of all keys of this hardware and firmware."""
    keys: dict[str, Build] = {key: (lambda _, fixed=value: fixed) for key, value in PADDING.items()}  # type: ignore[misc]
    keys |= READINGS
    if firmware >= CARD_KEYS_SINCE:
        keys |= CARD_READINGS
    if firmware >= REVISION_KEYS_SINCE:
        keys |= REVISION_READINGS
    if firmware >= LIMITS_SINCE:
        keys["cll"] = logic.limits_a
    if firmware >= SOURCES_SINCE:
        keys |= SOURCE_READINGS
    if firmware >= MID_KEYS_SINCE and hardware.mid is not None:
        keys |= MID_READINGS
    if not hardware.knows_cable:
        for key in ("cbl", "cus", "ust"):
            del keys[key]
    return keys


def _known(charger: State) -> dict[str, Build]:
    return _builders(charger.hardware, version(charger.firmware))


def status_v2(charger: State, keys: Iterable[str] | None = None) -> dict[str, object]:
    """Return the requested keys that this charger has, or all of them for None."""
    known = _known(charger)
    requested = known if keys is None else keys
    return {key: known[key](charger) for key in requested if key in known}


def filtered(charger: State, keys_filter: str | None) -> tuple[int, dict[str, object]]:
    """Return HTTP status and body of `GET /api/status` for the filter in the URL.

    Firmware before 051.4 accepts only `["car","amp"]` with at most 10 keys, later firmware only
    `car,amp`; for the other form both return `{}`. PRO returns 400 if it does not know a key, and
    without a filter (docs/protocol.md §1).
    """
    strict = charger.hardware.strict_filter
    if keys_filter is None:
        return 400 if strict else 200, status_v2(charger)
    keys = _old_filter(keys_filter) if _is_old(charger) else _comma_filter(keys_filter)
    status = status_v2(charger, keys)
    return 400 if strict and len(status) < len(set(keys)) else 200, status


def _is_old(charger: State) -> bool:
    return version(charger.firmware) < COMMA_FILTER_SINCE


def _comma_filter(text: str) -> list[str]:
    return [] if text.startswith("[") else [key for key in text.split(",") if key]


def _old_filter(text: str) -> list[str]:
    try:
        keys = _decode(text)
    except RefusedError:
        return []
    if not isinstance(keys, list) or len(keys) > OLD_FILTER_KEYS:
        return []
    return [key for key in keys if isinstance(key, str)]


def set_v2(charger: State, query: str) -> tuple[int, dict[str, object] | str]:
    """Accept a write such as `amp=16` and return HTTP status and body.

    The body maps each key to true, or to the reason of a refusal; then the HTTP status is 500.
    Firmware before 051.4 only reports counts, without the keys that it does not know.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    outcomes: dict[str, object] = {key: _set(charger, key, text) for key, text in pairs}
    failed = sum(outcome is not True for outcome in outcomes.values())
    if _is_old(charger):
        failed -= len(outcomes.keys() - _known(charger).keys())
        succeeded = sum(outcome is True for outcome in outcomes.values())
        counted = f"{succeeded} succeeded and {failed} failed."
        return 200 if succeeded and not failed else 500, counted
    return 500 if failed else 200, outcomes


def _set(charger: State, key: str, text: str) -> bool | str:
    """Schedule a write; return true, or the reason of the refusal."""
    if key not in _known(charger):
        return f"{key}: tried to set unknown api key ({text})"
    try:
        value = _decode(text)
        if key not in SETTINGS:
            return f"{key}: {_without_setter(charger)} ({text})"
        accept(charger, key, value)
    except RefusedError as refusal:
        return f"{key}: {refusal} ({text})"
    return True


def _without_setter(charger: State) -> str:
    if version(charger.firmware) >= CARD_KEYS_SINCE:
        return "failed: this parameter is only showing the current state and readonly"
    return "tried to set api key without setter"


def _decode(text: str) -> object:
    """Return the JSON value of a text, or refuse it."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        cut = text.startswith('"') or getattr(error, "pos", 0) >= len(text)
        kind = "EmptyInput" if not text else "IncompleteInput" if cut else "InvalidInput"
        message = f"tried to set api key with invalid json {kind}"
        raise RefusedError(message) from error


def _no_constant(name: str) -> object:
    message = f"{name} is not JSON"
    raise ValueError(message)
