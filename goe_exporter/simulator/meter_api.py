"""A meter's values in the shape of the devices and services that surplus control can read.

Each shape is typed from its vendor's documentation: the HTTP API of Prometheus (instant queries),
Shelly's `EM.GetStatus` (generation 2) and `/status` (generation 1), Fronius' Solar API V1
(`GetPowerFlowRealtimeData`), evcc's `/api/state` since 0.207, and Home Assistant's REST API.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs

from .meter import Measurement
from .responses import Response, as_json, plain_text

VOLTS = 230.0
SELECTOR = r"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[^{}]*\})?"
QUERY = re.compile(
    rf"(?P<age>time\(\)\s*-\s*)?(?:(?:timestamp|sum|min|max)?\()*(?P<selector>{SELECTOR})\)*"
)
JOINED = re.compile(
    rf'({SELECTOR}) or (label_replace\((timestamp\(\1\)), "(\w+)", "(\w+)", "", ""\))'
)
"""A selector, and its time with one more label."""

LABELS = {"instance": "meter:9100", "job": "meter"}
POWERS: dict[str, Callable[[Measurement], float]] = {
    "battery": lambda measured: measured.battery_w,
    "grid": lambda measured: measured.grid_w,
    "solar": lambda measured: measured.solar_w,
}
"""The powers (W) by name: `house_NAME_power_watts` in Prometheus, `sensor.NAME_power` in HA."""


def respond(target: str, measured: Measurement | None, now: float, clock: float) -> Response | None:
    """Return the response to a request, None if the device is dead and does not answer.

    `measured` is None if there are no values. `now` is the house's time and `clock` the Unix time
    that belongs to it.
    """
    path, _, query = target.partition("?")
    if path == "/api/v1/query":
        return _prometheus(query, measured, now, clock)
    if path.startswith("/api/states/"):
        return _home_assistant(path.rpartition("/")[2], measured, now, clock)
    shape = DEVICES.get(path)
    if shape is None:
        return plain_text(404, "Not found")
    return None if measured is None else as_json(200, shape(measured, clock))


def _prometheus(query: str, measured: Measurement | None, now: float, clock: float) -> Response:
    """Answer an instant query; its time is that of the evaluation, not of the sample."""
    text = parse_qs(query).get("query", [""])[0].strip()
    if joined := JOINED.fullmatch(text):
        found = _found(joined[1], measured, now, clock) or []
        for each in _found(joined[3], measured, now, clock) or []:
            found.append(each | {"metric": LABELS | {joined[4]: joined[5]}})
        return _vector(found)
    result = _found(text, measured, now, clock)
    if result is None:
        error = f'invalid parameter "query": 1:1: parse error: unexpected {text[:80]!r}'
        return as_json(400, {"status": "error", "errorType": "bad_data", "error": error})
    return _vector(result)


def _vector(result: list[dict[str, object]]) -> Response:
    return as_json(200, {"status": "success", "data": {"resultType": "vector", "result": result}})


def _found(
    text: str, measured: Measurement | None, now: float, clock: float
) -> list[dict[str, object]] | None:
    """Return what a query finds, None if it is not understood."""
    understood = QUERY.fullmatch(text)
    if understood is None or text.count("(") != text.count(")"):
        return None
    name = understood["selector"].partition("{")[0]
    power = POWERS.get(name.removeprefix("house_").removesuffix("_power_watts"))
    result: list[dict[str, object]] = []
    if measured is not None and power is not None and name.endswith("_power_watts"):
        plain = text == understood["selector"]
        stamp = clock - (now - measured.time_s)
        value = stamp if "timestamp(" in text else power(measured)
        value = clock - value if understood["age"] else value
        metric = {"__name__": name, **LABELS} if plain else {} if "sum(" in text else LABELS
        result = [{"metric": metric, "value": [round(clock, 3), f"{value:.16g}"]}]
    return result


def _home_assistant(
    entity: str, measured: Measurement | None, now: float, clock: float
) -> Response:
    """Answer with an entity, whose state is a text."""
    name = entity.removeprefix("sensor.").removesuffix("_power")
    if entity != f"sensor.{name}_power" or name not in POWERS:
        return as_json(404, {"message": "Entity not found."})
    age_s = 0.0 if measured is None else now - measured.time_s
    stamp = datetime.fromtimestamp(clock - age_s, UTC).isoformat()
    return as_json(
        200,
        {
            "entity_id": entity,
            "state": "unavailable" if measured is None else f"{POWERS[name](measured):.1f}",
            "attributes": {
                "state_class": "measurement",
                "unit_of_measurement": "W",
                "device_class": "power",
                "friendly_name": f"{name.title()} power",
            },
            "last_changed": stamp,
            "last_reported": stamp,
            "last_updated": stamp,
            "context": {"id": "01J0000000000000000000000", "parent_id": None, "user_id": None},
        },
    )


def _phases(total_w: float) -> list[float]:
    """Spread a power (W) over three phases."""
    return [round(total_w / 3, 1)] * 2 + [round(total_w - 2 * round(total_w / 3, 1), 1)]


def _shelly_gen2(measured: Measurement, _: float) -> dict[str, object]:
    status: dict[str, object] = {"id": 0}
    for phase, power_w in zip("abc", _phases(measured.grid_w), strict=True):
        current_a = round(abs(power_w) / VOLTS, 3)
        status |= {
            f"{phase}_current": current_a,
            f"{phase}_voltage": VOLTS,
            f"{phase}_act_power": power_w,
            f"{phase}_aprt_power": abs(power_w),
            f"{phase}_pf": 1.0,
            f"{phase}_freq": 50.0,
        }
    return status | {
        "n_current": None,
        "total_current": round(abs(measured.grid_w) / VOLTS, 3),
        "total_act_power": round(measured.grid_w, 3),
        "total_aprt_power": round(abs(measured.grid_w), 3),
        "user_calibrated_phase": [],
    }


def _shelly_gen1(measured: Measurement, clock: float) -> dict[str, object]:
    emeters = [
        {
            "power": power_w,
            "pf": 1.0,
            "current": round(abs(power_w) / VOLTS, 2),
            "voltage": VOLTS,
            "is_valid": True,
            "total": 1184633.1,
            "total_returned": 1158.3,
        }
        for power_w in _phases(measured.grid_w)
    ]
    return {
        "wifi_sta": {"connected": True, "ssid": "home", "ip": "192.168.1.50", "rssi": -60},
        "cloud": {"enabled": False, "connected": False},
        "time": datetime.fromtimestamp(clock, UTC).strftime("%H:%M"),
        "unixtime": int(clock),
        "emeters": emeters,
        "total_power": round(measured.grid_w, 2),
        "fs_mounted": True,
    }


def _fronius(measured: Measurement, clock: float) -> dict[str, object]:
    load_w = -(measured.grid_w + measured.solar_w + measured.battery_w)
    return {
        "Body": {
            "Data": {
                "Inverters": {"1": {"DT": 1, "P": round(measured.solar_w, 1)}},
                "Site": {
                    "Meter_Location": "grid",
                    "Mode": "bidirectional",
                    "P_Akku": round(measured.battery_w, 2),
                    "P_Grid": round(measured.grid_w, 2),
                    "P_Load": round(load_w, 2),
                    "P_PV": round(measured.solar_w, 2) or None,
                },
                "Version": "12",
            }
        },
        "Head": {
            "RequestArguments": {},
            "Status": {"Code": 0, "Reason": "", "UserMessage": ""},
            "Timestamp": datetime.fromtimestamp(clock, UTC).isoformat(timespec="seconds"),
        },
    }


def _evcc(measured: Measurement, _: float) -> dict[str, object]:
    return {
        "siteTitle": "Home",
        "grid": {"power": round(measured.grid_w, 1)},
        "pvPower": round(measured.solar_w, 1),
        "battery": {"power": round(measured.battery_w, 1)},
        "loadpoints": [],
        "version": "0.207.0",
    }


DEVICES: dict[str, Callable[[Measurement, float], dict[str, object]]] = {
    "/api/state": _evcc,
    "/rpc/EM.GetStatus": _shelly_gen2,
    "/solar_api/v1/GetPowerFlowRealtimeData.fcgi": _fronius,
    "/status": _shelly_gen1,
}
"""The shapes of devices, which show no values at all when the meter is dead."""
