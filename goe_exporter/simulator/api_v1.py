"""API v1: the whole status, mostly as strings, scaled as in docs/protocol.md §2."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from .hardware import version
from .logic import amx_limits
from .settings import RefusedError, accept
from .state import WRITE_DELAY_S, State

SWITCHED_ON = datetime(2025, 6, 1, 6, 0, tzinfo=UTC)
WRAP_MS = 2**32
CARD_IDS = ("a", "r", "d", "4", "5", "6", "7", "8", "9", "1")
CARD_NAMES = ("a", "m", "e", "4", "5", "6", "7", "8", "9", "1")
LIMIT_ON = 2
MAX_LIMIT = 65535
MAX_DIGITS = 10
SLOW_ALW_S = 7.0
FILLER_C = -0.13
FILLERS_SINCE = (41,)


def phase_bits(charger: State) -> list[bool]:
    """Return L1 to L3 behind the contactor, then L1 to L3 before it (docs/protocol.md §3.6)."""
    return [phase < charger.contactor_phases for phase in range(3)] + [True] * 3


def _meter(charger: State) -> list[float]:
    """Return `nrg`: V, 0.1 A, 0.1 kW, total in 0.01 kW, %."""
    digits = 2 if charger.hardware.fine_meter else None
    values = (
        *charger.phase_voltage_v,
        *(current * 10 for current in charger.phase_current_a),
        *(power / 100 for power in charger.phase_power_w),
        charger.power_w / 10,
        *(factor * 100 for factor in charger.power_factor),
    )
    return [round(value, digits) for value in values]


def _identity(charger: State) -> dict[str, object]:
    now = SWITCHED_ON + timedelta(seconds=charger.time_s)
    return {
        "version": "B",
        "tme": now.strftime("%d%m%y%H%M"),
        "rbc": str(charger.reboots),
        "rbt": str(int(charger.uptime_ms) % WRAP_MS),
        "fwv": charger.firmware,
        "sse": charger.serial,
    }


def _access(charger: State) -> int:
    """Return `ast`; the eco and trip modes of API v2 are 2 (docs/protocol.md §2)."""
    if not charger.hardware.v2 or charger.access == 1:
        return charger.access
    return 2 if charger.logic_mode in (4, 5) else 0


def _energies(charger: State) -> dict[str, object]:
    """Return the counters; V1 and V2 hardware count whole kWh (docs/protocol.md §3.5)."""
    tenths = int(charger.energy_wh / 100)
    limit_wh = charger.energy_limit_wh
    cards = zip(CARD_IDS, charger.card_wh, strict=True)
    # Without a limit, later hardware always reports 180 (docs/protocol.md §3.3).
    unlimited = 180 if charger.hardware.v2 else charger.limit_memory
    return {
        "dws": str(max(0, int(charger.session_wh * 360))),
        "eto": str(tenths if charger.hardware.v2 else tenths // 10 * 10),
        "stp": "0" if limit_wh is None else str(LIMIT_ON),
        "dwo": str(unlimited if limit_wh is None else int(limit_wh / 100)),
        **{f"ec{letter}": str(int(wh / 100)) for letter, wh in cards},
    }


def _keeps_amp(charger: State) -> bool:
    """Return whether `amp` stays when `amx` is written (docs/protocol.md §5.1)."""
    return charger.hardware.v2 or amx_limits(charger)


def _state(charger: State) -> dict[str, object]:
    bits = sum(bit << place for place, bit in enumerate(phase_bits(charger)))
    return {
        "car": str(charger.car_state if charger.car_state <= 5 else 0),
        "amp": str(charger.amp if _keeps_amp(charger) else charger.amx or charger.amp),
        "err": str(charger.error),
        "ast": str(_access(charger)),
        "alw": str(int(charger.allowed)),
        "cbl": str(charger.cable_a or 0),
        "pha": str(bits),
        "adi": str(int(charger.adapter)),
        "uby": str(charger.transaction or 0),
        "ama": str(charger.ama),
        "ust": str(charger.lock_setting),
        "lbr": str(charger.brightness),
        "nrg": _meter(charger),
        "loa": charger.load_limit_a or 0,
    }


def _hardware(charger: State) -> dict[str, object]:
    """Return the keys that only V1 and V2 hardware has, or only the legacy API."""
    board, type2 = charger.board_c, charger.type2_c
    if charger.hardware.v2:
        eighths = [round(value * 8) / 8 for value in (type2, board)]
        single = str(int(charger.phase_mode == 1))
        return {"amx": str(charger.amx or charger.amp), "fsp": single, "tma": eighths}
    sensors = [round(value * 8) / 8 for value in (board, board - 0.75, board - 1.25, type2)]
    fillers = [FILLER_C] * 2 if version(charger.firmware) >= FILLERS_SINCE else []
    status: dict[str, object] = {
        "tmp": str(int(board)),
        "tma": [*(round(value, 2) for value in sensors), *fillers],
        "amt": str(charger.temperature_limit_a),
        "txi": "0",
        "lon": 0,
        "mce": 0,
        "mcs": "mqtt.example",
        "mcp": 1883,
        "mcu": "",
        "mck": "",
        "mcc": 0,
    }
    # No status of V2 hardware before 042 has the key; later firmware is not known.
    return status | ({"amx": str(charger.amx)} if charger.amx and amx_limits(charger) else {})


_STRINGS = {
    "wst": "3",
    "wss": "home",
    "wke": "***",
    "wen": "1",
    "cdi": "0",
    "tof": "101",
    "tds": "1",
    "aho": "3",
    "afi": "7",
    "azo": "0",
    "al1": "6",
    "al2": "10",
    "al3": "12",
    "al4": "14",
    "al5": "16",
    "cid": "255",
    "cch": "65535",
    "cfi": "65280",
    "lse": "1",
    "wak": "***",
    "r1x": "2",
    "dto": "0",
    "nmo": "0",
    "sch": "AAAAAAAAAAAAAAAA",
    "sdp": "0",
    **{f"rc{letter}": "" for letter in CARD_IDS},
    **{f"rn{letter}": f"User {slot}" for slot, letter in enumerate(CARD_NAMES, start=1)},
}
_NUMBERS = {"loe": 0, "lot": 32, "lom": 6, "lop": 50, "log": "", "lof": 0, "lch": 0}


def status_v1(charger: State) -> dict[str, object]:
    """Return the response to `GET /status`: every key of this hardware."""
    return {
        **_identity(charger),
        **_state(charger),
        **_energies(charger),
        **_hardware(charger),
        **_STRINGS,
        **_NUMBERS,
    }


def set_v1(charger: State, payload: str) -> dict[str, object]:
    """Accept a write such as `amp=16` and return the response: the status with the new value.

    A refusal is the unchanged status (docs/protocol.md §1). `/status` changes a second later.
    """
    key, _, text = payload.partition("=")
    status = status_v1(charger)
    number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    if number and _write(charger, key, int(text)):
        shown = "amp" if key == "amx" and not _keeps_amp(charger) else key
        status[shown] = str(int(text))
    return status


def _write(charger: State, key: str, number: int) -> bool:
    """Schedule a write; return False to refuse it."""
    if key in ("stp", "dwo"):
        return _write_limit(charger, key, number)
    if key == "amx" and not charger.hardware.v2 and version(charger.firmware) < (40,):
        return False
    if key == "ast" and charger.hardware.v2 and number > 1:
        return False  # API v2's 2 is another mode, and it has no 3 (docs/protocol.md §2)
    delay_s = SLOW_ALW_S if key == "alw" and _is_launch_firmware(charger) else WRITE_DELAY_S
    names = {"amp": "amp", "amx": "amx", "alw": "frc", "ast": "acs", "ust": "ust", "lbr": "lbr"}
    value = _force(charger, number) if key == "alw" else number
    try:
        accept(charger, names.get(key, ""), value, delay_s)
    except RefusedError:
        return False
    return True


def _is_launch_firmware(charger: State) -> bool:
    """Return whether it has firmware 050, which shows `alw` late (docs/protocol.md §5.2)."""
    return version(charger.firmware)[:1] == (50,)


def _force(charger: State, allow: int) -> int:
    """Return the force state that `alw` sets (docs/protocol.md §3.11); V2 hardware has no "on"."""
    on = 2 if charger.hardware.v2 else 0
    return {0: 1, 1: on}.get(allow, -1)


def _write_limit(charger: State, key: str, number: int) -> bool:
    """Schedule a write of the energy limit (`dwo`, 0.1 kWh) or of its switch (`stp`, 0 or 2)."""
    if key == "stp":
        allowed, apply = number in (0, LIMIT_ON), _switch_limit(on=number == LIMIT_ON)
    else:
        allowed, apply = number <= MAX_LIMIT, _remember_limit(number)
    if allowed:
        charger.schedule(apply)
    return allowed


def _switch_limit(*, on: bool) -> Callable[[State], None]:
    def apply(charger: State) -> None:
        charger.energy_limit_wh = charger.limit_memory * 100.0 if on else None

    return apply


def _remember_limit(tenths: int) -> Callable[[State], None]:
    def apply(charger: State) -> None:
        charger.limit_memory = tenths
        if charger.energy_limit_wh is not None:
            charger.energy_limit_wh = tenths * 100.0

    return apply
