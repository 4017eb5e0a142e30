"""A simulated house: sun, loads, battery, and a meter in the shape of several devices."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from clocks import Clock
from servers import PATIENCE_SECONDS

from goe_exporter.simulator import (
    METER_FAULTS,
    WEATHERS,
    Battery,
    Car,
    Charger,
    House,
    Meter,
    Simulator,
)
from goe_exporter.simulator.weather import day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from goe_exporter.simulator import MeterBox
    from goe_exporter.simulator.meter import Measurement

HOUR = 3600
NOON = 12 * HOUR


def kwh(watts: list[float]) -> float:
    return sum(watts) / 3.6e6


@pytest.mark.parametrize("weather", WEATHERS)
def test_panels_give_nothing_at_night(weather: str) -> None:
    """A day has 16 hours; the power starts and ends at zero, and stays below the peak."""
    solar = day(weather, 1).solar_w
    assert len(solar) == 16 * HOUR
    assert (solar[0], solar[-1]) == (0, 0)
    assert min(solar) == 0
    assert max(solar) < 1.3 * WEATHERS[weather].peak_w
    assert day(weather, 1).at(3 * HOUR) == (0, 250)


def test_weathers_differ_in_energy() -> None:
    """8 kW of panels give some 69 kWh on a sunny day, and less under clouds."""
    energy = {weather: kwh(day(weather, 1).solar_w) for weather in WEATHERS}
    assert 65 < energy["sunny"] < 75
    assert energy["sunny"] > energy["scattered"] > energy["broken"] > energy["overcast"]
    assert energy["winter"] < 20


def test_loads_of_a_day() -> None:
    """Standby, a fridge, kettles, washing machines and an oven take some 7 kWh in 16 hours."""
    load = day("sunny", 1).load_w
    assert 6.5 < kwh(load) < 8
    assert sum(watts > 2000 for watts in load) >= 2 * 900


def test_same_seed_same_day() -> None:
    """The seed makes the day; the next day of a house is another one."""
    assert day("broken", 5) == day("broken", 5)
    assert day("broken", 5) != day("broken", 6)
    house = House("broken", 5, start_s=NOON)
    house.step(0)
    first = house.solar_w
    while house.time_s <= NOON + 24 * HOUR:
        house.step(0)
    assert house.solar_w != first


def test_grid_power_is_the_balance() -> None:
    """Import is loads plus charger minus sun minus battery."""
    house = House("sunny", battery=Battery(), start_s=NOON)
    for _ in range(60):
        house.step(1380)
    balance = house.load_w + 1380 - house.solar_w - house.battery_w
    assert house.grid_w == pytest.approx(balance)
    assert house.battery_w < -3000
    assert abs(house.grid_w) < 100


def test_battery_fills_and_empties() -> None:
    """It charges at most 5 kW until it is full, and discharges until 5 % are left."""
    battery = Battery(charge=0.9)
    for _ in range(600):
        battery.step(-8000)
    assert (battery.power_w, 0.9 < battery.charge < 1) == (pytest.approx(-5000), True)
    for _ in range(HOUR):
        battery.step(-8000)
    assert (battery.power_w, battery.charge) == (0, pytest.approx(1, abs=0.001))
    for _ in range(4 * HOUR):
        battery.step(6000)
    assert (battery.power_w, battery.charge) == (0, pytest.approx(0.05, abs=0.001))


# The meter


def shown(fault: str | None, seconds: int = 60, charger_w: float = 4000) -> House:
    """Return a house at noon whose meter has a fault since a minute after 12."""
    house = House("sunny", start_s=NOON)
    for _ in range(60):
        house.step(0)
    house.meter.fault = fault
    for _ in range(seconds):
        house.step(charger_w)
    return house


def test_meter_is_late() -> None:
    """It measures every 5 s and shows the value 2 s old."""
    house = House("broken", start_s=NOON, meter=Meter(interval_s=5, delay_s=2))
    grid, times = [], set()
    for _ in range(60):
        house.step(0)
        grid.append(house.grid_w)
        assert house.meter.shown is not None
        times.add(house.meter.shown.time_s - NOON)
    assert times == {0, *range(3, 57, 5)}
    house = shown(None)
    assert house.meter.shown is not None
    assert house.meter.shown.time_s == NOON + 113


def test_meter_that_does_not_see_the_charger() -> None:
    """`blind`: the grid power lacks the charger."""
    blind, healthy = shown("blind").meter.shown, shown(None).meter.shown
    assert blind is not None
    assert healthy is not None
    assert healthy.grid_w - blind.grid_w == pytest.approx(4000)


def test_meter_with_the_wrong_sign() -> None:
    """`wrong_sign`: what is exported is positive."""
    wrong, healthy = shown("wrong_sign").meter.shown, shown(None).meter.shown
    assert wrong is not None
    assert healthy is not None
    assert wrong.grid_w == -healthy.grid_w


def test_frozen_meters() -> None:
    """`frozen` keeps value and time, `repeating` keeps the value only."""
    frozen, repeating = shown("frozen").meter.shown, shown("repeating").meter.shown
    assert frozen is not None
    assert repeating is not None
    assert frozen.grid_w == repeating.grid_w
    assert (frozen.time_s, repeating.time_s) == (NOON + 53, NOON + 119)


def test_dead_meter() -> None:
    """`dead` shows nothing; without the fault the values are back."""
    house = shown("dead")
    assert house.meter.shown is None
    house.meter.fault = None
    assert house.meter.shown is not None


def test_unknown_meter_fault() -> None:
    """An unknown fault is rejected with the list of the known ones."""
    with pytest.raises(ValueError, match=r"one of blind, dead, frozen.*not 'tired'"):
        Meter().fault = "tired"
    assert set(METER_FAULTS) == {"blind", "dead", "frozen", "repeating", "wrong_sign"}


# The endpoints


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Iterator[MeterBox]:
    """Return the endpoint of a house with a battery, at 12:01 on a sunny day."""
    house = House("sunny", battery=Battery(), start_s=NOON)
    charger = Charger("V3")
    with Simulator(clock=clock) as simulator:
        endpoint = simulator.add_meter(house, simulator.add(charger, story=house.live(charger)))
        endpoint.wall_clock = lambda: 1_780_000_000.0 + clock.now
        clock.sleep(60)
        yield endpoint


def exchanged(meter: MeterBox, target: str) -> tuple[int, bytes]:
    """Return status and body of a request."""
    connection = http.client.HTTPConnection(meter.address, timeout=PATIENCE_SECONDS)
    with closing(connection):
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read()


def asked(meter: MeterBox, target: str) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of a request."""
    code, body = exchanged(meter, target)
    return code, json.loads(body)


def measured(meter: MeterBox) -> Measurement:
    """Return what the meter shows."""
    shown = meter.house.meter.shown
    assert shown is not None
    return shown


def queried(meter: MeterBox, query: str) -> tuple[int, dict[str, Any]]:
    return asked(meter, f"/api/v1/query?query={quote(query)}")


def test_prometheus(meter: MeterBox) -> None:
    """An instant vector whose time is the evaluation's, with the value as a text."""
    code, answer = queried(meter, 'house_grid_power_watts{job="meter"}')
    assert (code, answer["status"], answer["data"]["resultType"]) == (200, "success", "vector")
    (sample,) = answer["data"]["result"]
    assert sample["metric"] == {
        "__name__": "house_grid_power_watts",
        "instance": "meter:9100",
        "job": "meter",
    }
    moment, value = sample["value"]
    assert moment == 1_780_001_060.0
    assert float(value) == measured(meter).grid_w


def test_prometheus_time_of_a_sample(meter: MeterBox) -> None:
    """`timestamp` of a selector is the sample's time, and `time() -` makes it an age."""
    _, answer = queried(meter, "timestamp(house_grid_power_watts)")
    (sample,) = answer["data"]["result"]
    assert sample["metric"] == {"instance": "meter:9100", "job": "meter"}
    assert float(sample["value"][1]) == pytest.approx(1_780_001_060 - 8, abs=5)
    for times in ("timestamp(house_grid_power_watts)", "(min(timestamp(house_grid_power_watts)))"):
        _, answer = queried(meter, f"time() - {times}")
        assert 2 <= float(answer["data"]["result"][0]["value"][1]) <= 8


def test_prometheus_without_a_value(meter: MeterBox) -> None:
    """An unknown name and a dead meter give an empty vector, an aggregate has no labels."""
    empty = {"resultType": "vector", "result": []}
    assert queried(meter, "nothing")[1]["data"] == empty
    assert queried(meter, "sum(house_solar_power_watts)")[1]["data"]["result"][0]["metric"] == {}
    meter.house.meter.fault = "dead"
    assert queried(meter, "house_grid_power_watts")[1]["data"] == empty


@pytest.mark.parametrize("query", ["sum(house_grid_power_watts", "", "1 +"])
def test_prometheus_parse_error(meter: MeterBox, query: str) -> None:
    """A wrong query is HTTP 400 with Prometheus' error object."""
    code, answer = queried(meter, query)
    assert (code, answer["status"], answer["errorType"]) == (400, "error", "bad_data")
    assert "parse error" in answer["error"]


def test_shelly(meter: MeterBox) -> None:
    """Both generations give the total power, positive for import, and per phase."""
    _, new = asked(meter, "/rpc/EM.GetStatus?id=0")
    _, old = asked(meter, "/status")
    grid_w = measured(meter).grid_w
    assert new["total_act_power"] == pytest.approx(grid_w, abs=0.001)
    assert old["total_power"] == pytest.approx(grid_w, abs=0.01)
    phases = [new[f"{phase}_act_power"] for phase in "abc"]
    assert sum(phases) == pytest.approx(grid_w, abs=0.11)
    assert sum(each["power"] for each in old["emeters"]) == pytest.approx(grid_w, abs=0.11)
    assert old["unixtime"] == 1_780_001_060


def test_fronius(meter: MeterBox) -> None:
    """`P_Grid` imports, `P_Akku` discharges, `P_Load` is negative; together they are zero."""
    site = asked(meter, "/solar_api/v1/GetPowerFlowRealtimeData.fcgi")[1]["Body"]["Data"]["Site"]
    assert site["P_Akku"] > 4000  # a car draws 11 kW
    assert site["P_Load"] < -11_000
    assert sum(site[key] for key in ("P_Grid", "P_PV", "P_Akku", "P_Load")) == pytest.approx(
        0, abs=0.05
    )


def test_evcc(meter: MeterBox) -> None:
    """The state has no wrapper (evcc 0.207): `grid.power`, `battery.power`, `pvPower`."""
    state = asked(meter, "/api/state")[1]
    assert set(state["grid"]) == {"power"}
    assert state["battery"]["power"] > 4000
    assert state["pvPower"] > 7000


def test_home_assistant(meter: MeterBox) -> None:
    """The state of an entity is a text; of a dead meter `unavailable`."""
    code, entity = asked(meter, "/api/states/sensor.grid_power")
    assert (code, entity["entity_id"]) == (200, "sensor.grid_power")
    assert float(entity["state"]) == pytest.approx(measured(meter).grid_w, abs=0.1)
    assert entity["attributes"]["unit_of_measurement"] == "W"
    assert asked(meter, "/api/states/sensor.nothing")[0] == 404
    meter.house.meter.fault = "dead"
    assert asked(meter, "/api/states/sensor.grid_power")[1]["state"] == "unavailable"


def test_dead_device_does_not_answer(meter: MeterBox) -> None:
    """A dead meter resets the connection; other paths are 404."""
    assert exchanged(meter, "/nothing")[0] == 404
    meter.house.meter.fault = "dead"
    with pytest.raises(ConnectionResetError):
        exchanged(meter, "/rpc/EM.GetStatus?id=0")


@pytest.mark.parametrize(("hour", "before", "after"), [(7, 1, 2), (20, 2, 1)])
def test_house_lives_with_its_charger(clock: Clock, hour: int, before: int, after: int) -> None:
    """A car is at home from 7 to 20 o'clock, and the meter sees it charge."""
    house, charger = House("sunny", start_s=hour * HOUR - 120), Charger("V3")
    with Simulator(clock=clock) as simulator:
        box = simulator.add(charger, story=house.live(charger))
        for state in (before, after):
            clock.sleep(100)
            box.catch_up()
            assert charger.car_state == state
            assert house.charger_w == pytest.approx(charger.power_w, abs=300)


def test_live_takes_a_charger_as_it_is() -> None:
    """A car that is plugged in already leaves first."""
    house, charger = House("sunny"), Charger("V3")
    charger.plug(Car())
    next(house.live(charger))
    assert charger.car is None


def test_meter_box_is_closed_with_its_network(meter: MeterBox) -> None:
    """A removed meter refuses connections."""
    meter.close()
    with pytest.raises(ConnectionRefusedError):
        exchanged(meter, "/status")
