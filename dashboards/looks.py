"""Colours and texts of all dashboards; the texts are those of the live page."""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.grafana import Json, Thresholds
from dashboards.panels import (
    override,
    values,
)
from goe_exporter.channels import codes
from goe_exporter.web.locale import translations

_TEXTS = translations("en")
"""The English texts of the live page."""

GREEN, YELLOW, ORANGE, RED = "#56A64B", "#E0B400", "#FF9830", "#E02F44"
SILENT = "#FF780A"
BLUE, PURPLE, GREY, DARK = "#5794F2", "#B877D9", "#8E8E99", "#464C54"

HOUSE = {"grid": RED, "solar": YELLOW, "battery": GREEN, "home": BLUE, "car": PURPLE}
"""Category of a Controller → its colour."""

PHASES = {"L1": "#FF9830", "L2": "#5794F2", "L3": "#B877D9", "N": GREY}
L123 = ("L1", "L2", "L3")

LIMITS = {
    "setting": GREEN,
    "temporary setting": "#96D98D",
    "allowed": YELLOW,
    "cable": BLUE,
    "temperature": RED,
    "load balancing": PURPLE,
    "charger maximum": GREY,
}

SENSORS = {
    "type2_port": ORANGE,
    "board": BLUE,
    "grid_connector": PURPLE,
    "current_sensor": GREEN,
    "type2_terminals": YELLOW,
    "mid_meter": GREY,
    "internal_1": ORANGE,
    "internal_2": PURPLE,
    "internal_3": GREEN,
    "internal_4": YELLOW,
}

SENSOR_NAMES = [override(name, displayName=_TEXTS[f"sensor.{name}"]) for name in SENSORS]

KWH, HOURS = "suffix:kWh", "suffix:h"
"""Grafana's own units would show 1100 kWh as 1.1 MWh, and 26 hours as 1.1 days."""

UNREACHABLE = -1
"""The state of a charger that does not answer."""

_CAR = {
    GREEN: "charging",
    YELLOW: "waiting_for_car",
    BLUE: "complete",
    GREY: "idle",
    RED: "error",
    PURPLE: "initializing",
    DARK: "unknown",
}

_REASONS = {
    GREEN: "force_state_on awattar_price_low automatic_stop_test automatic_stop_not_enough_time"
    " automatic_stop automatic_stop_no_clock pv_surplus fallback_goe_default"
    " fallback_goe_scheduler fallback_default car_compatibility_keep_alive"
    " charge_pause_not_allowed discharging_pv_battery",
    YELLOW: "access_control_wait force_state_off scheduler fallback_goe_awattar fallback_awattar"
    " fallback_automatic_stop simulate_unplugging min_pause_duration load_management ocpp"
    " reconnect_delay ocpp_fallback floor_detected ocpp_inoperable zero_setpoint failsafe_limit",
    ORANGE: "underfrequency_control unbalanced_load grid_monitoring undervoltage",
    RED: "no_charge_ctrl_data over_temperature error adapter_blocking",
    BLUE: "energy_limit",
    PURPLE: "phase_switch initializing",
    DARK: "unknown",
}

_LOCKS = {
    DARK: "unknown",
    GREY: "unlocked",
    BLUE: "locked",
    RED: "unlock_failed lock_failed",
    ORANGE: "power_out",
}

AGE: Thresholds = ((None, GREEN), (30, YELLOW), (120, RED))
TEMPERATURE: Thresholds = ((None, GREEN), (60, YELLOW), (75, RED))
SIGNAL: Thresholds = ((None, RED), (-80, YELLOW), (-70, GREEN))
NOTHING: Thresholds = ((None, DARK),)
COUNT: Thresholds = ((None, BLUE),)
GOOD: Thresholds = ((None, GREEN),)
ANY: Thresholds = ((None, GREEN), (1, RED))
VOLTAGE: Thresholds = ((None, RED), (207, "transparent"), (253, RED))
"""EN 50160: 230 V ±10 %."""
FREQUENCY: Thresholds = ((None, RED), (49.8, "transparent"), (50.2, RED))


def texts(group: str, colors: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the page's English text and the colour of each state; KeyError without a text."""
    return {
        name: (_TEXTS[f"{group}.{name}"], color)
        for color, names in colors.items()
        for name in names.split()
    }


def _numbered(states: codes.CodeSet, texts: Mapping[str, tuple[str, str]]) -> Json:
    """Return a mapping of the charger's numbers to texts; KeyError for a state without one."""
    numbering = states.select(2, None)
    return values({str(number): texts[name] for number, name in numbering.items()})


NO_ANSWER = (_TEXTS["condition.unreachable"], SILENT)
CAR = texts("car_state", _CAR)
CAR_STATE = [
    _numbered(codes.CAR, CAR),
    values({str(UNREACHABLE): NO_ANSWER}),
]
REASON = [_numbered(codes.CHARGING_REASON, texts("charging_reason", _REASONS))]
CABLE_LOCK = [_numbered(codes.CABLE_LOCK, texts("cable_lock", _LOCKS))]
FAULTS = texts("error", {RED: " ".join(name for name in codes.ERROR.names if name != "none")})
ERROR = [values(texts("error", {GREEN: "none"}) | FAULTS)]
ANSWERS = [
    values(
        {
            "0": NO_ANSWER,
            "1": ("Answers", GREEN),
            "false": NO_ANSWER,
            "true": ("Answers", GREEN),
        }
    )
]
PHASE_COUNT = [
    values(
        {"0": ("0", GREY), "1": ("1", PHASES["L1"]), "2": ("2", PHASES["L2"]), "3": ("3", GREEN)}
    )
]


def present(text: str) -> Json:
    """Return a mapping that shows the value 1 as a text in red."""
    return values({"1": (text, RED)})


def yes_no(yes: str, no: str) -> Json:
    """Return a mapping of 1 and 0."""
    return values({"1": (yes, GREEN), "0": (no, RED)})
