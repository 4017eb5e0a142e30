"""How things look on every dashboard: one colour for one thing, and words for codes."""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.grafana import Json, Thresholds
from dashboards.panels import (
    override,
    values,
)
from goe_exporter.channels import codes
from goe_exporter.web.locale import translations

GREEN, YELLOW, ORANGE, RED = "#56A64B", "#E0B400", "#FF9830", "#E02F44"
SILENT = "#FF780A"
BLUE, PURPLE, GREY, DARK = "#5794F2", "#B877D9", "#8E8E99", "#464C54"

PHASES = {"L1": "#FF9830", "L2": "#5794F2", "L3": "#B877D9", "N": GREY}

LIMITS = {
    "set": GREEN,
    "set for now": "#96D98D",
    "allowed": YELLOW,
    "cable": BLUE,
    "temperature": RED,
    "load balancing": PURPLE,
    "charger": GREY,
}

SENSORS = {
    "type2_port": ORANGE,
    "board": BLUE,
    "grid_connector": PURPLE,
    "current_sensor": GREEN,
    "type2_terminals": YELLOW,
    "mid_meter": GREY,
}

SENSOR_NAMES = [override(name, displayName=name.replace("_", " ").capitalize()) for name in SENSORS]

KWH, HOURS = "suffix:kWh", "suffix:h"
"""Grafana's own units turn 1100 kWh into 1.1 MWh and 26 hours into 1.1 days."""

UNREACHABLE = -1
"""What a charger's state is while it does not answer."""

_CAR = {
    "charging": ("Charging", GREEN),
    "waiting_for_car": ("Waiting for car", YELLOW),
    "complete": ("Finished", BLUE),
    "idle": ("No car", GREY),
    "error": ("Error", RED),
    "initializing": ("Starting", PURPLE),
    "unknown": ("Unknown", DARK),
}

_REASONS = {
    "no_charge_ctrl_data": ("No data from the charge controller", RED),
    "over_temperature": ("Too hot", RED),
    "access_control_wait": ("Waiting for card or app", YELLOW),
    "force_state_on": ("Switched on manually", GREEN),
    "force_state_off": ("Switched off manually", YELLOW),
    "scheduler": ("Blocked by the schedule", YELLOW),
    "energy_limit": ("Energy limit reached", BLUE),
    "awattar_price_low": ("Electricity is cheap", GREEN),
    "automatic_stop_test": ("Daily trip: test charge", GREEN),
    "automatic_stop_not_enough_time": ("Daily trip: little time left", GREEN),
    "automatic_stop": ("Daily trip: planned", GREEN),
    "automatic_stop_no_clock": ("Daily trip: clock not set", GREEN),
    "pv_surplus": ("PV surplus", GREEN),
    "fallback_goe_default": ("No restriction (go-e)", GREEN),
    "fallback_goe_scheduler": ("Permitted by the schedule", GREEN),
    "fallback_default": ("No restriction", GREEN),
    "fallback_goe_awattar": ("Waiting for cheaper electricity (go-e)", YELLOW),
    "fallback_awattar": ("Waiting for cheaper electricity", YELLOW),
    "fallback_automatic_stop": ("Daily trip: charged enough", YELLOW),
    "car_compatibility_keep_alive": ("Keeping the car awake", GREEN),
    "charge_pause_not_allowed": ("Pausing is disabled", GREEN),
    "simulate_unplugging": ("Simulating an unplug", YELLOW),
    "phase_switch": ("Switching phases", PURPLE),
    "min_pause_duration": ("Minimum pause", YELLOW),
    "error": ("Error", RED),
    "load_management": ("Blocked by load balancing", YELLOW),
    "ocpp": ("Blocked by the OCPP backend", YELLOW),
    "reconnect_delay": ("Waiting after a reconnect", YELLOW),
    "adapter_blocking": ("Blocked by the adapter", RED),
    "underfrequency_control": ("Grid frequency too low", ORANGE),
    "unbalanced_load": ("Unbalanced load", ORANGE),
    "discharging_pv_battery": ("From the house battery", GREEN),
    "grid_monitoring": ("Grid monitoring", ORANGE),
    "ocpp_fallback": ("No connection to the OCPP backend", YELLOW),
    "floor_detected": ("Wrong mounting position", YELLOW),
    "ocpp_inoperable": ("Out of service via OCPP", YELLOW),
    "undervoltage": ("Grid voltage too low", ORANGE),
    "zero_setpoint": ("Setpoint is zero", YELLOW),
    "initializing": ("Starting", PURPLE),
    "failsafe_limit": ("Fail-safe limit", YELLOW),
    "unknown": ("Unknown reason", DARK),
}

ERRORS = {name: translations("en")[f"error.{name}"] for name in codes.ERROR.names}
"""The page's names of the errors."""

_LOCKS = {
    "unknown": ("Unknown", DARK),
    "unlocked": ("Unlocked", GREY),
    "unlock_failed": ("Unlocking failed", RED),
    "locked": ("Locked", BLUE),
    "lock_failed": ("Locking failed", RED),
    "power_out": ("No power", ORANGE),
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


def _numbered(states: codes.CodeSet, words: Mapping[str, tuple[str, str]]) -> Json:
    """Return a mapping of the charger's numbers to words; KeyError for a state without words."""
    numbering = states.select(2, None)
    return values({str(number): words[name] for number, name in numbering.items()})


def _no_answer() -> Json:
    return values({str(UNREACHABLE): ("Unreachable", SILENT)})


CAR_STATE = [_numbered(codes.CAR, _CAR), _no_answer()]
CAR_WORDS = {name: _CAR[name] for name in codes.CAR.names}
REASON = [_numbered(codes.CHARGING_REASON, _REASONS)]
CABLE_LOCK = [_numbered(codes.CABLE_LOCK, _LOCKS)]
ERROR = [
    values(
        {name: (ERRORS[name], GREEN if name == "none" else RED) for name in codes.ERROR.names},
    )
]
ANSWERS = [
    values(
        {
            "0": ("No answer", SILENT),
            "1": ("Answers", GREEN),
            "false": ("No answer", SILENT),
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
