"""A simulated go-e Controller, whose books close."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any

import pytest
from clocks import Clock
from servers import PATIENCE_SECONDS

from goe_exporter.simulator import Battery, Box, Charger, Controller, House, Simulator

HOUR = 3600
HOME, GRID, CAR, SOLAR, BATTERY = 0, 1, 2, 4, 5


def get(address: str, target: str) -> tuple[int, Any]:
    """Return status and body of a response, parsed if it is JSON."""
    with closing(http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read()
    return response.status, json.loads(body) if body.startswith(b"{") else body


@pytest.mark.parametrize("battery", [None, Battery()])
def test_its_books_close(battery: Battery | None) -> None:
    """At any time of the day, and in sum, the home gets what grid, sun and battery give."""
    house = House("scattered", battery=battery, start_s=9 * HOUR)
    controller = Controller(house)
    charger = Charger("V4")
    story = house.live(charger)
    powers: list[list[float]] = []
    for second in range(3 * HOUR):
        next(story)
        charger.advance(1.0)
        if second % 60 == 0:
            powers.append([each or 0 for each in controller.status()["ccp"]])  # type: ignore[attr-defined]
    for each in powers:
        assert each[HOME] == pytest.approx(each[GRID] + each[SOLAR] + each[BATTERY], abs=0.01)
    net = [(energy[0] or 0) - (energy[1] or 0) for energy in controller.status()["cec"]]  # type: ignore[attr-defined]
    assert net[HOME] == pytest.approx(net[GRID] + net[SOLAR] + net[BATTERY], rel=1e-4)
    assert net[CAR] == pytest.approx(charger.energy_wh, rel=0.01)
    assert 20_000 < net[CAR] < net[HOME]
    assert min(each[GRID] for each in powers) < max(each[GRID] for each in powers)
    assert any(each[BATTERY] for each in powers) is (battery is not None)


def test_its_status() -> None:
    """It has the keys of a Controller; a category that is not measured has null and zeros."""
    status = Controller(House("sunny", start_s=12 * HOUR), serial="7", name="Haus").status()
    assert (status["typ"], status["sse"], status["fna"]) == ("controller", "7", "Haus")
    assert status["ccp"] == [0, 0, 0, None, 0, *[None] * 11]
    assert status["cec"] == [[0, 0]] * 16
    assert status["ccn"][:6] == ["Home", "Grid", "Car", "Relais", "Solar", "Akku"]  # type: ignore[index]
    assert (len(status["isv"]), status["ips"]) == (6, [0, 1, 2, 0, 1, 2])  # type: ignore[arg-type]


def test_on_the_network() -> None:
    """It answers API v2 with the requested keys that it has; there is no other API."""
    clock = Clock()
    with Simulator(clock=clock) as network:
        house = House("sunny", start_s=12 * HOUR)
        box = network.add_controller(Controller(house))
        clock.now += 600
        status, body = get(box.address, "/api/status?filter=typ,ccp,nonsense")
        assert (status, set(body)) == (200, {"typ", "ccp"})
        assert body["ccp"][SOLAR] > 6000
        assert house.time_s == pytest.approx(12 * HOUR + 600, abs=1)
        assert len(get(box.address, "/api/status")[1]) > 15
        assert get(box.address, "/status") == (404, b"This URI does not exist")
        assert get(box.address, "/api/set?ccn=1")[0] == 500


def test_with_a_charger_on_the_network() -> None:
    """The charger and the Controller of a house are at the same moment."""
    clock = Clock()
    with Simulator(clock=clock) as network:
        house, charger = House("sunny", start_s=12 * HOUR), Charger("V4")
        box = network.add(charger, story=house.live(charger))
        controller = network.add_controller(Controller(house), box)
        assert isinstance(box, Box)
        clock.now += 300
        car = get(controller.address, "/api/status?filter=ccp")[1]["ccp"][CAR]
        power = get(box.address, "/api/status?filter=nrg")[1]["nrg"][11]
        assert car == pytest.approx(power, rel=0.02)
        assert power > 10_000
