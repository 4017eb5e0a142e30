"""The table of a go-e Controller's channels, one row each, as `table` is that of a charger.

The keys are those of docs/protocol.md §5.5. A Controller measures a house by categories, which have
fixed places, and by sensors, which are numbered from 1. Their names are the owner's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from goe_exporter.channels import codes
from goe_exporter.channels.model import Channel, Part, Table
from goe_exporter.channels.table import COUNTER, DBM, NONE, RATIO, TEXT, WH, A, S, V, W

CATEGORIES = (
    *("home", "grid", "car", "relay", "solar", "battery"),
    *(f"custom_{number}" for number in range(1, 11)),
)
SENSORS = tuple(str(number) for number in range(1, 17))
VOLTAGE_SENSORS = SENSORS[:4]
PHASES = {"L1": 0, "L2": 1, "L3": 2, "N": 3}

WHOLE: Mapping[str, str | int] = {}


def each(
    places: Iterable[str], steps: Mapping[str, str | int] = WHOLE
) -> Callable[[str], tuple[Part, ...]]:
    """Pick each element of an array, or of each of them the values at `steps`."""

    def pick(key: str) -> tuple[Part, ...]:
        return tuple(
            part
            for index, place in enumerate(places)
            for part in (
                [Part(f"{place} {label}", ((key, index, step),)) for label, step in steps.items()]
                or [Part(place, ((key, index),))]
            )
        )

    return pick


def member(name: str) -> Callable[[str], tuple[Part, ...]]:
    """Pick a member of each element of an array of objects, one for each sensor."""
    return lambda key: tuple(
        Part(sensor, ((key, index, name),)) for index, sensor in enumerate(SENSORS)
    )


_row = partial(Channel, apis=(2,), prefix="goe_controller", device="controller")

CONTROLLER = Table(
    device="controller",
    title="go-e Controller",
    prefix="goe_controller",
    type="(go-?e.?)?controller",
    witnesses=frozenset(("ccp", "cec", "cpc", "usv", "isv")),
    channels=(
        _row("ccp", "power", "Active power by category; negative while the grid is fed.", W, pick=each(CATEGORIES), label="category"),
        _row("cec", "energy", "Energy by category, in and out.", WH, COUNTER, low=0, pick=each(CATEGORIES, {"in": 0, "out": 1}), label="category direction"),
        _row("cpc", "current", "Current by category, without a sign.", A, pick=each(CATEGORIES, PHASES), label="category phase"),
        _row("usv", "voltage", "Voltage by sensor.", V, pick=each(VOLTAGE_SENSORS, {"L1": "u1", "L2": "u2", "L3": "u3", "N": "uN"}), label="sensor phase"),
        _row("isv", "sensor_current", "Current by sensor.", A, pick=member("i"), label="sensor"),
        _row("isv", "sensor_power", "Active power by sensor.", W, pick=member("p"), label="sensor"),
        _row("isv", "sensor_power_factor", "Power factor by sensor, with the sign of the power.", RATIO, pick=member("f"), label="sensor"),
        _row("rbt", "uptime", "Time since the Controller started.", S, divide=1000),
        _row("rssi", "wifi_signal", "Wi-Fi signal strength; absent with an Ethernet cable.", DBM),
        _row("fwv", "firmware", "Firmware version.", NONE, TEXT, label="firmware"),
        _row("sse", "serial", "Serial number.", NONE, TEXT, label="serial"),
        # Identity and names, requested every 60 s
        _row("typ", "model", "Device type.", NONE, TEXT, label="model", slow=True),
        _row("fna", "device_name", "Name set in the app.", NONE, TEXT, label="name", slow=True),
        _row("rbc", "reboots", "Reboots of the Controller.", NONE, COUNTER, high=1e9, slow=True),
        _row("ccn", "category_name", "Names of the categories.", NONE, TEXT, pick=each(CATEGORIES), label="name", of="category", slow=True),
        _row("isn", "sensor_name", "Names of the current sensors.", NONE, TEXT, pick=each(SENSORS), label="name", of="sensor", slow=True),
        _row("ips", "sensor_phase", "Phases of the current sensors.", NONE, TEXT, pick=each(SENSORS), label="phase", of="sensor", states=codes.PHASE, slow=True),
    ),
)  # fmt: skip
"""The Controller."""
