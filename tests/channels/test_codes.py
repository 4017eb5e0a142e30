"""The charger's codes have the names of docs/protocol.md §2, and unknown codes are accepted."""

from __future__ import annotations

import pytest

from goe_exporter.channels import codes
from goe_exporter.channels.codes import CodeSet, firmware_major

CAR = {
    0: "unknown",
    1: "idle",
    2: "charging",
    3: "waiting_for_car",
    4: "complete",
    5: "error",
    6: "initializing",
}
FORCE = {0: "neutral", 1: "off", 2: "on"}
PHASE_MODE = {0: "auto", 1: "single", 2: "three"}
CABLE_LOCK = {
    0: "unknown",
    1: "unlocked",
    2: "unlock_failed",
    3: "locked",
    4: "lock_failed",
    5: "power_out",
}
LOGIC_MODE = {3: "default", 4: "awattar", 5: "automatic_stop"}
ACCESS_V1 = {0: "open", 1: "wait", 2: "automatic", 3: "scheduler"}
ACCESS_V2 = {0: "open", 1: "wait", 2: "evcms"}
ERROR_TO_10 = {
    0: "none",
    1: "fi_ac",
    2: "fi_dc",
    3: "phase",
    4: "overvoltage",
    5: "overcurrent",
    6: "diode",
    7: "pp_invalid",
    8: "gnd_invalid",
    9: "contactor_stuck",
    10: "contactor_missing",
}
ERROR_BEFORE_59 = {
    11: "fi_unknown",
    12: "unknown",
    13: "over_temperature",
    14: "no_communication",
    15: "lock_stuck_open",
    16: "lock_stuck_locked",
}
ERROR_SINCE_59 = {
    12: "lock_stuck_open",
    13: "lock_stuck_locked",
    14: "fi_unknown",
    15: "unknown",
    16: "over_temperature",
    17: "no_communication",
    18: "cp_invalid",
    23: "rdc_self_test_failed",
}
ERROR_V1 = {0: "none", 1: "fi_ac", 3: "phase", 8: "gnd_invalid"}
CHARGING_REASON = {
    0: "no_charge_ctrl_data",
    1: "over_temperature",
    2: "access_control_wait",
    3: "force_state_on",
    4: "force_state_off",
    5: "scheduler",
    6: "energy_limit",
    7: "awattar_price_low",
    8: "automatic_stop_test",
    9: "automatic_stop_not_enough_time",
    10: "automatic_stop",
    11: "automatic_stop_no_clock",
    12: "pv_surplus",
    13: "fallback_goe_default",
    14: "fallback_goe_scheduler",
    15: "fallback_default",
    16: "fallback_goe_awattar",
    17: "fallback_awattar",
    18: "fallback_automatic_stop",
    19: "car_compatibility_keep_alive",
    20: "charge_pause_not_allowed",
    22: "simulate_unplugging",
    23: "phase_switch",
    24: "min_pause_duration",
    26: "error",
    27: "load_management",
    28: "ocpp",
    29: "reconnect_delay",
    30: "adapter_blocking",
    31: "underfrequency_control",
    32: "unbalanced_load",
    33: "discharging_pv_battery",
    34: "grid_monitoring",
    35: "ocpp_fallback",
    36: "floor_detected",
    37: "ocpp_inoperable",
    38: "undervoltage",
    39: "zero_setpoint",
    40: "initializing",
    41: "failsafe_limit",
}
TYPED = [
    ("car", codes.CAR, CAR),
    ("frc", codes.FORCE, FORCE),
    ("psm", codes.PHASE_MODE, PHASE_MODE),
    ("cus", codes.CABLE_LOCK, CABLE_LOCK),
    ("lmo", codes.LOGIC_MODE, LOGIC_MODE),
    ("modelStatus", codes.CHARGING_REASON, CHARGING_REASON),
]
ALL_SETS = [code_set for _, code_set, _ in TYPED] + [codes.ACCESS, codes.ERROR]
FIRMWARES = (None, 1, 41, 55, 58, 59, 60, 99)
EVERY_CODE = range(-1, 300)


@pytest.mark.parametrize("api", [1, 2])
@pytest.mark.parametrize("firmware", FIRMWARES)
@pytest.mark.parametrize(("key", "code_set", "words"), TYPED, ids=[row[0] for row in TYPED])
def test_number_has_its_word(
    key: str, code_set: CodeSet, words: dict[int, str], firmware: int | None, api: int
) -> None:
    """Every code from -1 to 299 has the protocol's name, or is unknown, on every firmware."""
    got = {code: code_set.name(code, api, firmware) for code in EVERY_CODE}
    assert got == dict.fromkeys(EVERY_CODE, "unknown") | words, key


@pytest.mark.parametrize(("api", "words"), [(1, ACCESS_V1), (2, ACCESS_V2)])
def test_access_has_a_numbering_per_api(api: int, words: dict[int, str]) -> None:
    """The codes 2 and 3 differ between v1's `ast` and v2's `acs`."""
    got = {code: codes.ACCESS.name(code, api, 55) for code in EVERY_CODE}
    assert got == dict.fromkeys(EVERY_CODE, "unknown") | words


@pytest.mark.parametrize("firmware", [20, 51, 55, 56, 58])
def test_errors_before_firmware_59(firmware: int) -> None:
    """11 to 16 follow the old numbering; 17 and above are unknown."""
    got = {code: codes.ERROR.name(code, 2, firmware) for code in EVERY_CODE}
    assert got == dict.fromkeys(EVERY_CODE, "unknown") | ERROR_TO_10 | ERROR_BEFORE_59


@pytest.mark.parametrize("firmware", [59, 60, 61, 123])
def test_errors_since_firmware_59(firmware: int) -> None:
    """12 to 18 and 23 follow the new numbering; 11, 19 to 22 and 24 are unknown."""
    got = {code: codes.ERROR.name(code, 2, firmware) for code in EVERY_CODE}
    assert got == dict.fromkeys(EVERY_CODE, "unknown") | ERROR_TO_10 | ERROR_SINCE_59


def test_errors_of_a_firmware_that_cannot_be_told() -> None:
    """Without a firmware only 0 to 10 have a name; above, the numbering is ambiguous."""
    got = {code: codes.ERROR.name(code, 2, None) for code in EVERY_CODE}
    assert got == dict.fromkeys(EVERY_CODE, "unknown") | ERROR_TO_10


@pytest.mark.parametrize("firmware", FIRMWARES)
def test_errors_on_api_v1(firmware: int | None) -> None:
    """v1 documents 0, 1, 3 and 8; every other code is internal, whatever the firmware."""
    got = {code: codes.ERROR.name(code, 1, firmware) for code in EVERY_CODE}
    assert got == dict.fromkeys(EVERY_CODE, "internal") | ERROR_V1


@pytest.mark.parametrize("code_set", ALL_SETS)
def test_names_hold_every_word_once(code_set: CodeSet) -> None:
    """Every code's name is one of the set's names, which include `unknown` and are unique."""
    given = {
        code_set.name(code, api, firmware)
        for code in EVERY_CODE
        for api in (1, 2)
        for firmware in FIRMWARES
    }
    assert given == set(code_set.names)
    assert "unknown" in code_set.names
    assert len(code_set.names) == len(set(code_set.names))


@pytest.mark.parametrize("code", [-1, 65_535, 2**63, 10**400, -(10**400)])
def test_any_integer_has_a_word(code: int) -> None:
    """All sets are open: no integer raises."""
    for code_set in ALL_SETS:
        assert code_set.name(code, 2, 60) == "unknown"


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ("055.7", 55),
        ("56.9", 56),
        ("60.5", 60),
        ("020-rc1", 20),
        ("01", 1),
        ("041.0", 41),
        ("60", 60),
        ("60.0 BETA", 60),
        ("", None),
        (None, None),
        ("junk", None),
        ("v60.5", 60),
        (" 60.5", 60),
        ("-60", None),
        (".5", None),
        ("٦٠.5", None),
        ("²", None),
        ("9" * 10_000, None),
        (60, None),
        (60.5, None),
        (True, None),
        (["60.5"], None),
        ({"60.5": 1}, None),
        ("\ud800", None),
    ],
)
def test_firmware_major(text: object, major: int | None) -> None:
    """The major version is the number before the dot; other texts have none, and nothing raises."""
    assert firmware_major(text) == major
