"""The writable keys, one row each, by their names in API v2 (docs/protocol.md §2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .hardware import version
from .logic import MIN_CURRENT_A
from .state import CARDS, WRITE_DELAY_S, State

PV_FRESH_S = 6.0
TEMPORARY_S = 600.0
TEMPORARY_SINCE = (59, 4)
MAX_NUMBER = 2**31


class RefusedError(ValueError):
    """The charger refuses this key or value; the text is its message."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A writable key: whether it allows a value, what a value does, and since which firmware."""

    allowed: Callable[[State, object], bool]
    apply: Callable[[State, object], None]
    v1_hardware: bool = False
    since: tuple[int, ...] = ()


def _number(value: object) -> bool:
    """Return whether a JSON value is a number of at most 2³¹ in magnitude; booleans are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -MAX_NUMBER <= value <= MAX_NUMBER


def _whole(low: int, high: int) -> Callable[[State, object], bool]:
    return lambda _, value: type(value) is int and low <= value <= high


def _ampere(charger: State, value: object) -> bool:
    return type(value) is int and MIN_CURRENT_A <= value <= charger.ama


def _limit(_: State, value: object) -> bool:
    return value is None or (_number(value) and value >= 0)  # type: ignore[operator]


def _surplus(_: State, value: object) -> bool:
    names = {"pGrid", "pPv", "pAkku"}
    return (
        isinstance(value, dict)
        and "pGrid" in value
        and set(value) <= names
        and all(_number(number) for number in value.values())
    )


def _attribute(name: str) -> Callable[[State, object], None]:
    return lambda charger, value: setattr(charger, name, value)


def _apply_amp(charger: State, value: object) -> None:
    charger.amp = int(value)  # type: ignore[call-overload]
    if charger.amx:
        charger.amx = charger.amp


def _apply_temporary(charger: State, value: object) -> None:
    charger.tcl = None if value is None else int(value)  # type: ignore[call-overload]
    charger.tcl_until_s = charger.time_s + TEMPORARY_S


def _apply_limit(charger: State, value: object) -> None:
    charger.energy_limit_wh = None if value is None else float(value)  # type: ignore[arg-type]


def _apply_surplus(charger: State, value: object) -> None:
    assert isinstance(value, dict)
    charger.pv_w = {name: float(number) for name, number in value.items()}
    charger.pv_until_s = charger.time_s + PV_FRESH_S


def _access(charger: State, value: object) -> bool:
    """`acs` is 0 to 2, `ast` of V1 and V2 hardware 0 to 3."""
    return _whole(0, 2 if charger.hardware.v2 else 3)(charger, value)


SETTINGS: dict[str, Setting] = {
    "acs": Setting(_access, _attribute("access"), v1_hardware=True),
    "amp": Setting(_ampere, _apply_amp, v1_hardware=True),
    "amx": Setting(_ampere, _attribute("amx"), v1_hardware=True),
    "awp": Setting(lambda _, value: _number(value), _attribute("price_limit_ct")),
    "dwo": Setting(_limit, _apply_limit, v1_hardware=True),
    "fna": Setting(
        lambda _, value: isinstance(value, str) and len(value) <= 64,
        _attribute("name"),
    ),
    "frc": Setting(_whole(0, 2), _attribute("force"), v1_hardware=True),
    "fup": Setting(lambda _, value: isinstance(value, bool), _attribute("use_surplus")),
    "ids": Setting(_surplus, _apply_surplus),
    "lbr": Setting(_whole(0, 255), _attribute("brightness"), v1_hardware=True),
    "lmo": Setting(_whole(3, 5), _attribute("logic_mode")),
    "psm": Setting(_whole(0, 2), _attribute("phase_mode")),
    "tcl": Setting(
        lambda charger, value: value is None or _ampere(charger, value),
        _apply_temporary,
        since=TEMPORARY_SINCE,
    ),
    "trx": Setting(
        lambda charger, value: value is None or _whole(0, CARDS)(charger, value),
        _attribute("transaction"),
    ),
    "ust": Setting(_whole(0, 2), _attribute("lock_setting"), v1_hardware=True),
}
"""The keys with a setter; `amx` exists in API v1 only."""


def change(charger: State, key: str, value: object) -> Callable[[State], None]:
    """Return the effect of writing `value` to `key`; raises `RefusedError`."""
    setting = SETTINGS.get(key)
    if (
        setting is None
        or not (charger.hardware.v2 or setting.v1_hardware)
        or version(charger.firmware) < setting.since
    ):
        message = "tried to set api key without setter"
        raise RefusedError(message)
    if key in charger.refused_keys or not setting.allowed(charger, value):
        message = "failed: value not allowed"
        raise RefusedError(message)
    if key in charger.ignored_keys:
        return lambda _: None
    return lambda state: setting.apply(state, value)


def accept(charger: State, key: str, value: object, delay_s: float = WRITE_DELAY_S) -> None:
    """Schedule and count a write of `value` to `key`; raises `RefusedError`."""
    charger.schedule(change(charger, key, value), delay_s)
    charger.writes[key] += 1
