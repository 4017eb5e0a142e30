"""The charger's decisions: whether it allows charging, with which current, and why.

Pure functions of the charger's state. The codes are those of docs/protocol.md §2 "Codes".
"""

from __future__ import annotations

from .hardware import version
from .state import State

MIN_CURRENT_A = 6
ADAPTER_LIMIT_A = 16
NOMINAL_TEMPERATURE_LIMIT_A = 32
AMX_LIMITS_SINCE = (42,)
HOT_C = 70.0
DERATING_A_PER_C = 2.0
MARKET_PRICE_CT = 8.745
IDLE_WHILE_SWITCHING_S = 3.0

CAR_IDLE, CAR_CHARGING, CAR_WAITING, CAR_COMPLETE, CAR_ERROR, CAR_INITIALIZING = range(1, 7)

NO_CONTROL_DATA, OVER_TEMPERATURE, ACCESS_WAIT, FORCED_ON, FORCED_OFF = range(5)
ENERGY_LIMIT, PRICE_LOW, AUTOMATIC_TEST = 6, 7, 8
DEFAULT, PRICE_HIGH, PHASE_SWITCH, ERROR, INITIALIZING = 15, 17, 23, 26, 40


def temperature_limit_a(charger: State) -> int:
    """Return the maximum current (A) at the present temperatures: `amt`."""
    excess = max(charger.board_c, charger.type2_c) - HOT_C
    limit = NOMINAL_TEMPERATURE_LIMIT_A - DERATING_A_PER_C * max(0.0, excess)
    return max(0, int(limit))


def amx_limits(charger: State) -> bool:
    """Return whether `amx` only lowers the current: V2 hardware since 042 (protocol §5.1)."""
    return not charger.hardware.v2 and version(charger.firmware) >= AMX_LIMITS_SINCE


def configured_a(charger: State) -> int:
    """Return the current (A) in force of `amp`, `amx` and `tcl`."""
    configured = charger.amx or charger.amp
    if amx_limits(charger):
        configured = min(configured, charger.amp)
    return min(configured, charger.temporary_limit_a or configured)


def allowance_a(charger: State) -> int:
    """Return the current (A) that the charger would offer now, 0 if it is below 6 A."""
    limits = [configured_a(charger), charger.ama, charger.temperature_limit_a]
    if charger.cable_a is not None:
        limits.append(charger.cable_a)
    if charger.adapter:
        limits.append(ADAPTER_LIMIT_A)
    if charger.load_limit_a is not None:
        limits.append(charger.load_limit_a)
    lowest = min(limits)
    return lowest if lowest >= MIN_CURRENT_A else 0


def limits_a(charger: State) -> dict[str, int]:
    """Return `cll`: the current (A) that each limit allows, 0 if it forbids charging."""
    limits = {
        "requestedCurrent": configured_a(charger),
        "currentLimitMax": charger.ama,
        "minChargingCurrent": MIN_CURRENT_A,
        "temperatureCurrentLimit": charger.temperature_limit_a,
        "unsymetryCurrentLimit": NOMINAL_TEMPERATURE_LIMIT_A,
    }
    if charger.adapter:
        limits["adapterCurrentLimit"] = ADAPTER_LIMIT_A
    if charger.cable_a is not None and charger.hardware.knows_cable:
        limits["cableCurrentLimit"] = charger.cable_a
    if charger.load_limit_a is not None:
        limits["loadLimit"] = charger.load_limit_a
    if charger.model_status == PRICE_HIGH:
        limits["awattar"] = 0
    if charger.model_status == ACCESS_WAIT:
        limits["accessControl"] = 0
    return limits


def sources(charger: State) -> dict[str, float]:
    """Return the share of each source in the power: grid, unless the surplus values say more."""
    if not charger.power_w or charger.time_s >= charger.pv_until_s:
        return {"grid": 1.0}
    grid = min(max(charger.pv_w.get("pGrid", 0.0) / charger.power_w, 0.0), 1.0)
    battery = min(max(charger.pv_w.get("pAkku", 0.0) / charger.power_w, 0.0), 1.0 - grid)
    return {"grid": grid, "battery": battery, "solar": 1.0 - grid - battery}


def reason(charger: State) -> int:
    """Return `modelStatus`: the first reason that applies for allowing charging or not."""
    limit = charger.energy_limit_wh
    new = version(charger.firmware) >= (60,)
    rules = (
        (charger.initializing, INITIALIZING if new else NO_CONTROL_DATA),
        (charger.error != 0, ERROR),
        (charger.switching_phases, PHASE_SWITCH),
        (charger.temperature_limit_a < MIN_CURRENT_A, OVER_TEMPERATURE),
        (charger.access == 1 and charger.transaction is None, ACCESS_WAIT),
        (charger.force == 1, FORCED_OFF),
        (charger.force == 2, FORCED_ON),
        (limit is not None and 0 < limit <= charger.session_wh, ENERGY_LIMIT),
    )
    for applies, code in rules:
        if applies:
            return code
    return _by_mode(charger)


def _by_mode(charger: State) -> int:
    """Return the reason by logic mode (3 default, 4 eco, 5 trip) if no other reason applies."""
    if charger.logic_mode == 4:
        return PRICE_LOW if charger.price_limit_ct >= MARKET_PRICE_CT else PRICE_HIGH
    return AUTOMATIC_TEST if charger.logic_mode == 5 else DEFAULT


def car_state(charger: State) -> int:
    """Return the code of the key `car`.

    It is 4 if charging was stopped, as in the captures with `alw` false.
    """
    if charger.initializing:
        return CAR_INITIALIZING
    if charger.error:
        return CAR_ERROR
    if charger.car is None:
        return CAR_IDLE
    if charger.contactor_phases:
        return CAR_CHARGING
    return _car_without_power(charger)


def _car_without_power(charger: State) -> int:
    """Return `car` with a car while the contactor is open.

    While the phases are switched, it is 4, and 1 for some seconds (docs/protocol.md §5.3).
    """
    if charger.switching_phases and charger.switching_left_s <= IDLE_WHILE_SWITCHING_S:
        return CAR_IDLE
    waiting = charger.allowed or not charger.has_charged
    ended = charger.car is None or charger.car.full or charger.switching_phases
    return CAR_WAITING if waiting and not ended else CAR_COMPLETE


def cable_lock(charger: State) -> int:
    """Return the code of the key `cus`: 3 while a cable is locked, 1 unlocked."""
    if charger.car is None:
        return 1
    released = charger.lock_setting == 1 and charger.car_state == CAR_COMPLETE
    return 1 if released else 3
