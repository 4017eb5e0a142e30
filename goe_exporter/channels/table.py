"""The table of channels: everything the project knows about the charger's values, one row each.

Request filter, decoding, names and units of all exports, the values that `set` accepts, the
generated documentation and the tests' parameters follow from these rows. Keys, scalings and codes
are those of docs/protocol.md §2. A row has API v2's keys, into which `charger.api_v1` translates
API v1; `apis` lists the APIs that have the channel.
"""

from __future__ import annotations

from collections.abc import Callable

from goe_exporter.channels import codes
from goe_exporter.channels.model import (
    Channel,
    Choices,
    Kind,
    Part,
    Range,
    Table,
    Unit,
    element,
    phases,
)  # fmt: skip

V = Unit("V", "volts", "v", 0, 1_000, digits=1)
A = Unit("A", "amperes", "a", -1_000, 1_000, digits=2)
W = Unit("W", "watts", "w", -1e7, 1e7, digits=1)
WH = Unit("Wh", "joules", "wh", -1, 1e9, factor=3600, digits=1)
CELSIUS = Unit("°C", "celsius", "c", -60, 200, digits=1)
HZ = Unit("Hz", "hertz", "hz", 0, 1_000, digits=2)
S = Unit("s", "seconds", "s", 0, 1e12)
DBM = Unit("dBm", "dbm", "dbm", -200, 50)
CT = Unit("ct", "cents", "ct", -10_000, 10_000, digits=2)
RATIO = Unit("", "ratio", "ratio", -2, 2, digits=2)
NONE = Unit("", "", "", 0, 65_535)

GAUGE, COUNTER, FLAG, COUNT, MOMENT = Kind.GAUGE, Kind.COUNTER, Kind.FLAG, Kind.COUNT, Kind.MOMENT
STATE, REASON, TEXT = Kind.STATE, Kind.REASON, Kind.TEXT


def items(**indices: int) -> Callable[[str], tuple[Part, ...]]:
    """Pick elements of an array by index, each with its label."""
    return lambda key: tuple(Part(label, ((key, index),)) for label, index in indices.items())


def keys(**labels: str) -> Callable[[str], tuple[Part, ...]]:
    """Pick the values of several keys, each with its label."""
    return lambda _key: tuple(Part(label, ((key,),)) for label, key in labels.items())


def members(**labels: str) -> Callable[[str], tuple[Part, ...]]:
    """Pick members of an object, each with its label."""
    return lambda key: tuple(Part(label, ((key, name),)) for label, name in labels.items())


def cards(_key: str) -> tuple[Part, ...]:
    """Pick the energy of cards 1 to 10: `c0e`…`c9e`, or `cards` before firmware 60.0."""
    return tuple(
        Part(str(n + 1), ((f"c{n}e",), ("cards", n, "energy"))) for n in range(10)
    )


AMPERES = Range(6, 32, limit="ama", whole="amperes")
TEMPORARY_V1 = Range(6, 32, limit="ama", whole="amperes", bound="amp")
TEMPORARY_V2 = Range(
    6, 32, limit="ama", off=True, whole="amperes", bound="amp",
    note="it expires after 10 minutes unless it is set again, then max-current applies",
)  # fmt: skip
ON_OFF = Choices({"off": False, "on": True})
PHASES = Choices({"auto": 0, "1": 1, "3": 2}, key="psm")
ACCESS_V1 = Choices(
    {name: code for code, name in codes.ACCESS_V1.items()},
    aliases={"rfid": 1, "awattar": 2, "timer": 3},
)
ACCESS_V2 = Choices(
    {name: code for code, name in codes.ACCESS_V2.items()}, aliases={"rfid": 1}
)
FORCE = Choices({"neutral": 0, "off": 1, "on": 2}, aliases={"0": 0, "1": 1, "2": 2})
ENERGY_V1 = Range(100, 1_000_000, step=100, off=True, zero_is_off=True)
ENERGY_V2 = Range(1, 1_000_000, off=True, zero_is_off=True)
CARD = Range(0, 10, off=True)
PRICE = Range(-50, 400, step=0.1)

CHANNELS: tuple[Channel, ...] = (
    # Power
    Channel("nrg", "phase_voltage", "Voltage.", V, pick=phases(0, "L1 L2 L3 N"), label="phase", openhab="voltageL1 voltageL2 voltageL3"),
    Channel("nrg", "phase_current", "Current.", A, pick=phases(4, "L1 L2 L3"), label="phase", low=-50, high=50, openhab="currentL1 currentL2 currentL3"),
    Channel("nrg", "phase_power", "Active power.", W, pick=phases(7, "L1 L2 L3 N"), label="phase", low=-15_000, high=15_000, openhab="powerL1 powerL2 powerL3"),
    Channel("nrg", "phase_power_factor", "Power factor.", RATIO, pick=phases(12, "L1 L2 L3 N"), label="phase", divide=100),
    Channel("nrg", "power", "Active power of all phases.", W, pick=element(11), low=-45_000, high=45_000, openhab="powerAll"),
    Channel("tpa", "power_average", "Mean power over the last 30 seconds.", W, low=-45_000, high=45_000, apis=(2,)),
    Channel("fhz", "grid_frequency", "Grid frequency.", HZ, absent=0, apis=(2,)),
    # Energy
    Channel("eto", "energy", "Energy charged over the lifetime of the charger; a firmware update may reset it.", WH, COUNTER, low=0, openhab="totalChargedEnergy"),
    Channel("wh", "session_energy", "Energy charged since the car was plugged in; restarts on a phase switch.", WH, openhab="sessionChargedEnergy", instead="session_energy_limit"),
    Channel("dwo", "session_energy_limit", "Energy limit of the session; absent without a limit.", WH, write={1: ENERGY_V1, 2: ENERGY_V2}, openhab="sessionChargeEnergyLimit"),
    # States
    Channel("car", "car_state", "State of the car.", NONE, STATE, label="state", states=codes.CAR, openhab="pwmSignal"),
    Channel("lccfi", "plug_in_timestamp", "Unix time at which a car was last plugged in; absent until that happens after a start of the charger.", S, MOMENT, apis=(2,)),
    Channel("err", "error", "Error reported by the charger, or none.", NONE, STATE, label="error", states=codes.ERROR, openhab="error"),
    Channel("modelStatus", "charging_reason", "Reason why the charger charges or does not charge.", NONE, REASON, label="reason", states=codes.CHARGING_REASON, apis=(2,)),
    Channel("alw", "charging_allowed", "Whether the car may charge now.", NONE, FLAG, write={1: ON_OFF}, openhab="allowCharging", instead="force_state"),
    Channel("frc", "force_state", "Forced charging state: neutral, off or on.", NONE, STATE, label="state", states=codes.FORCE, write={2: FORCE}, openhab="forceState", apis=(2,), instead="charging_allowed"),
    Channel("psm", "phase_mode", "Configured phase mode.", NONE, STATE, label="mode", states=codes.PHASE_MODE, apis=(2,), instead="phases"),
    Channel("cus", "cable_lock", "State of the cable lock.", NONE, STATE, label="state", states=codes.CABLE_LOCK, apis=(2,)),
    Channel("trx", "transaction", "Card number of the current transaction, 0 without a card; absent on API v2 without a transaction.", NONE, high=255, write={2: CARD}),
    Channel("pnp pha", "phases", "Number of phases in use.", NONE, COUNT, high=3, write={2: PHASES}, openhab="phases"),
    Channel("pha", "phase_contactor_closed", "Whether the phase is live after the contactor.", NONE, FLAG, pick=phases(0, "L1 L2 L3"), label="phase"),
    Channel("pha", "phase_energized", "Whether the phase is live before the contactor.", NONE, FLAG, pick=phases(3, "L1 L2 L3"), label="phase"),
    # Current limits
    Channel("amp", "max_current", "Configured charging current; on V1 and V2 hardware the current in force, temporary or configured.", A, write={1: AMPERES, 2: AMPERES}, openhab="maxCurrent"),
    Channel("tcl", "max_current_temporary", "Temporary charging current, not written to flash; absent if unset and on V1 and V2 hardware; with API v2 it expires after 10 minutes.", A, absent=0, write={1: TEMPORARY_V1, 2: TEMPORARY_V2}, openhab="maxCurrentTemp", slow=True, instead="max_current"),
    Channel("acu", "allowed_current", "Current that the car may draw now.", A, apis=(2,), instead="max_current"),
    Channel("cbl", "cable_current", "Current rating of the cable; absent without a cable.", A, openhab="cableCurrent"),
    Channel("amt", "temperature_current_limit", "Current limit due to the charger's temperature.", A),
    Channel("loa", "load_balancing_current", "Current limit set by load balancing; absent without load balancing.", A),
    Channel("ama", "absolute_max_current", "Highest charging current that can be configured on this charger.", A, slow=True, instead="max_current"),
    Channel("adi", "adapter_connected", "Whether the 16 A adapter is plugged in.", NONE, FLAG, slow=True),
    # Device
    Channel("tma", "temperature", "Temperature inside the charger.", CELSIUS, pick=items(type2_port=0, board=1, grid_connector=2, current_sensor=3, type2_terminals=4, mid_meter=5, internal_1=6, internal_2=7, internal_3=8, internal_4=9), label="sensor", openhab="temperatureType2Port temperature"),
    Channel("rbt", "uptime", "Time since the charger started.", S, divide=1000),
    Channel("rssi", "wifi_signal", "Wi-Fi signal strength.", DBM, apis=(2,)),
    Channel("fwv", "firmware", "Firmware version.", NONE, TEXT, label="firmware", openhab="firmware"),
    Channel("sse", "serial", "Serial number.", NONE, TEXT, label="serial"),
    # Photovoltaics, null unless another system sends the values to the charger
    Channel("pgrid", "pv_grid_power", "Power drawn from the grid, negative when feeding in.", W, apis=(2,)),
    Channel("ppv", "pv_power", "Photovoltaic power.", W, apis=(2,)),
    Channel("pakku", "pv_battery_power", "Power of the home battery.", W, apis=(2,)),
    # Identity and settings, requested every 60 s
    Channel("typ", "model", "Device type.", NONE, TEXT, label="model", slow=True, apis=(2,)),
    Channel("var", "variant", "Power variant: 11 or 22 kW.", NONE, TEXT, label="variant", slow=True, apis=(2,)),
    Channel("fna", "device_name", "Name set in the app.", NONE, TEXT, label="name", slow=True, apis=(2,)),
    Channel("rev", "revision", "Hardware revision.", NONE, TEXT, label="revision", slow=True, apis=(2,), info_only=True),
    Channel("styp", "style", "Device subtype.", NONE, TEXT, label="style", slow=True, apis=(2,), info_only=True),
    Channel("acs", "access", "Access control mode.", NONE, STATE, label="mode", states=codes.ACCESS, write={1: ACCESS_V1, 2: ACCESS_V2}, openhab="accessConfiguration", slow=True),
    Channel("lmo", "logic_mode", "Charging logic mode.", NONE, STATE, label="mode", states=codes.LOGIC_MODE, slow=True, apis=(2,)),
    Channel("awp", "awattar_max_price", "Maximum price per kilowatt-hour for charging.", CT, write={2: PRICE}, slow=True, apis=(2,)),
    Channel("fup", "pv_surplus_enabled", "Whether charging with photovoltaic surplus is enabled.", NONE, FLAG, slow=True, apis=(2,)),
    Channel("rbc", "reboots", "Reboots of the charger.", NONE, COUNTER, high=1e9, slow=True),
    Channel("c0e c1e c2e c3e c4e c5e c6e c7e c8e c9e cards", "card_energy", "Energy charged with an RFID card.", WH, COUNTER, low=0, pick=cards, label="card", slow=True),
    # Limits, sources and the MID meter, requested every 60 s
    Channel("whs whg whb who", "session_source_energy", "Energy charged since the car was plugged in, by source.", WH, pick=keys(solar="whs", grid="whg", battery="whb", other="who"), label="source", slow=True, apis=(2,)),
    Channel("eto_mid", "mid_energy", "Energy counted by the MID meter over its lifetime.", WH, COUNTER, low=0, slow=True, apis=(2,)),
    Channel("wh_mid", "mid_session_energy", "Energy counted by the MID meter since the car was plugged in.", WH, slow=True, apis=(2,)),
    Channel("cert", "meter_certification", "Certification of the meter.", NONE, STATE, label="state", states=codes.CERTIFICATION, slow=True, apis=(2,)),
    Channel("cll", "current_limit", "Charging current that each limit allows, 0 if it forbids charging.", A, pick=members(requested="requestedCurrent", maximum="currentLimitMax", minimum="minChargingCurrent", temperature="temperatureCurrentLimit", adapter="adapterCurrentLimit", cable="cableCurrentLimit", load="loadLimit", unbalanced="unsymetryCurrentLimit", awattar="awattar", access="accessControl"), label="limit", low=0, slow=True, apis=(2,)),
)  # fmt: skip
"""All channels, in the order of `/metrics`, `read` and the documentation."""

CHARGER = Table(
    device="charger",
    title="go-eCharger",
    prefix="goe",
    type="go-?e.?charger",
    witnesses=frozenset(("car", "nrg", "eto", "amp")),
    channels=CHANNELS,
)
"""The charger."""
