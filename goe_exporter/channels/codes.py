"""The charger's code tables (docs/protocol.md §2). All sets are open: new firmware adds codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

UNKNOWN = "unknown"


@dataclass(frozen=True)
class CodeSet:
    """The names of the codes of one key.

    `names` holds every possible name, including `unknown`. `select` returns the numbering for an
    API (1 or 2) and a firmware's major version (None if unknown). `other` returns the name of an
    unlisted code.
    """

    names: tuple[str, ...]
    select: Callable[[int, int | None], Mapping[int, str]]
    other: Callable[[int], str] = lambda _api: UNKNOWN

    def name(self, code: int, api: int, firmware: int | None) -> str:
        """Return the name of `code`; an unlisted code is `unknown`, never an error."""
        return self.select(api, firmware).get(code) or self.other(api)


def _one(numbering: Mapping[int, str]) -> CodeSet:
    names = tuple(dict.fromkeys([*numbering.values(), UNKNOWN]))
    return CodeSet(names, lambda _api, _firmware: numbering)


def _numbered(names: str, first: int = 0) -> dict[int, str]:
    return dict(enumerate(names.split(), first))


CAR = _one(_numbered("unknown idle charging waiting_for_car complete error initializing"))
FORCE = _one(_numbered("neutral off on"))
PHASE_MODE = _one(_numbered("auto single three"))
CABLE_LOCK = _one(_numbered("unknown unlocked unlock_failed locked lock_failed power_out"))
CERTIFICATION = _one(_numbered("none mid mid_and_calibration_law"))
PHASE = _one(_numbered("L1 L2 L3 N"))
LOGIC_MODE = _one(_numbered("default awattar automatic_stop", first=3))

ACCESS_V1 = _numbered("open wait automatic scheduler")
ACCESS_V2 = _numbered("open wait evcms")
ACCESS = CodeSet(
    ("open", "wait", "evcms", "automatic", "scheduler", UNKNOWN),
    lambda api, _firmware: ACCESS_V1 if api == 1 else ACCESS_V2,
)
"""v1's `ast` and v2's `acs` share only the codes 0 and 1."""

_ERROR_TO_10 = _numbered(
    "none fi_ac fi_dc phase overvoltage overcurrent diode pp_invalid gnd_invalid"
    " contactor_stuck contactor_missing"
)
_ERROR_BEFORE_59 = _ERROR_TO_10 | _numbered(
    "fi_unknown unknown over_temperature no_communication lock_stuck_open lock_stuck_locked",
    first=11,
)
_ERROR_SINCE_59 = (
    _ERROR_TO_10
    | _numbered(
        "lock_stuck_open lock_stuck_locked fi_unknown unknown over_temperature no_communication"
        " cp_invalid",
        first=12,
    )
    | {23: "rdc_self_test_failed"}
)
_ERROR_V1 = {0: "none", 1: "fi_ac", 3: "phase", 8: "gnd_invalid"}


def _errors(api: int, firmware: int | None) -> Mapping[int, str]:
    if api == 1:
        return _ERROR_V1
    if firmware is None:
        return _ERROR_TO_10
    return _ERROR_BEFORE_59 if firmware < 59 else _ERROR_SINCE_59


ERROR = CodeSet(
    tuple(dict.fromkeys([*_ERROR_BEFORE_59.values(), *_ERROR_SINCE_59.values(), "internal"])),
    _errors,
    lambda api: "internal" if api == 1 else UNKNOWN,
)
"""Codes 0 to 10 are the same everywhere; above 10 the meaning depends on the firmware.

API v1 documents 1, 3 and 8, and calls all other codes internal.
"""

CHARGING_REASON = _one(
    _numbered(
        "no_charge_ctrl_data over_temperature access_control_wait force_state_on force_state_off"
        " scheduler energy_limit awattar_price_low automatic_stop_test"
        " automatic_stop_not_enough_time automatic_stop automatic_stop_no_clock pv_surplus"
        " fallback_goe_default fallback_goe_scheduler fallback_default fallback_goe_awattar"
        " fallback_awattar fallback_automatic_stop car_compatibility_keep_alive"
        " charge_pause_not_allowed"
    )
    | _numbered("simulate_unplugging phase_switch min_pause_duration", first=22)
    | _numbered(
        "error load_management ocpp reconnect_delay adapter_blocking underfrequency_control"
        " unbalanced_load discharging_pv_battery grid_monitoring ocpp_fallback floor_detected"
        " ocpp_inoperable undervoltage zero_setpoint initializing failsafe_limit",
        first=26,
    )
)


def firmware_major(text: object) -> int | None:
    """Return the major version of a firmware ("055.7" → 55, "020-rc1" → 20), None if unknown."""
    return _major(text) if isinstance(text, str) else None


@lru_cache(64)
def _major(text: str) -> int | None:
    text = text.strip().removeprefix("V").removeprefix("v").lstrip()
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    return int(digits) if digits.isascii() and 0 < len(digits) <= 6 else None
