"""The sources of a section together, read from the meter of a simulated house."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from clocks import Clock
from fake_influx import Fakes, Reply
from servers import PATIENCE_SECONDS

from goe_exporter.errors import ConfigError
from goe_exporter.simulator import Battery, Charger, House, MeterBox, Simulator
from goe_exporter.surplus.config import SurplusConfig
from goe_exporter.surplus.meters import open_sources, sample
from goe_exporter.surplus.situation import Sample
from goe_exporter.surplus.source import Reading, Source, SourceError

NOON = 12 * 3600


@pytest.fixture
def meter() -> Iterator[MeterBox]:
    """Return the meter of a house with a battery, at 12:01 on a sunny day, where time stands."""
    house, clock = House("sunny", battery=Battery(), start_s=NOON), Clock()
    charger = Charger("V3")
    with Simulator(clock=clock) as simulator:
        endpoint = simulator.add_meter(house, simulator.add(charger, story=house.live(charger)))
        clock.sleep(60)
        yield endpoint


def opened(grid: dict[str, Any], battery: dict[str, Any] | None = None) -> dict[str, Source]:
    section = {"mode": "control", "charger": "garage", "max_current": "16A", "phases": "auto"}
    return open_sources(SurplusConfig.model_validate({**section, "grid": grid, "battery": battery}))


def read(sources: dict[str, Source]) -> Sample:
    until = time.monotonic() + PATIENCE_SECONDS
    return sample({name: each.read(until) for name, each in sources.items()})


@pytest.mark.parametrize(
    ("target", "path", "time_path"),
    [
        ("/rpc/EM.GetStatus?id=0", "total_act_power", None),
        ("/status", "total_power", "unixtime"),
        (
            "/solar_api/v1/GetPowerFlowRealtimeData.fcgi",
            "Body.Data.Site.P_Grid",
            "Head.Timestamp",
        ),
        ("/api/state", "grid.power", None),
        ("/api/states/sensor.grid_power", "state", "last_reported"),
    ],
)
def test_devices(meter: MeterBox, target: str, path: str, time_path: str | None) -> None:
    """Every simulated device has the power of the meter, and its time if it has one."""
    grid = {"json": f"http://{meter.address}{target}", "path": path}
    before = time.monotonic()
    found = read(opened(grid | ({"time_path": time_path} if time_path else {})))
    shown = meter.house.meter.shown
    assert shown is not None
    assert found.grid_w == pytest.approx(shown.grid_w, abs=0.1)
    assert (found.battery_w, found.age_known) == (None, time_path is not None)
    assert found.measured_at == pytest.approx(before, abs=10)


def test_prometheus_with_a_battery(meter: MeterBox) -> None:
    """The sample has both powers, and is as old as the older one."""
    url = f"http://{meter.address}"
    sources = opened(
        {"prometheus": url, "query": "house_grid_power_watts", "positive": "export"},
        {
            "prometheus": url,
            "query": "sum(house_battery_power_watts)",
            "time_query": "min(timestamp(house_battery_power_watts))",
            "positive": "charge",
        },
    )
    found = read(sources)
    shown = meter.house.meter.shown
    assert shown is not None
    age_s = meter.house.time_s - shown.time_s
    assert (found.grid_w, found.battery_w) == (-shown.grid_w, -shown.battery_w)
    assert found.age_known
    assert time.monotonic() - found.measured_at == pytest.approx(age_s, abs=1)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"prometheus": "URL", "query": "house_grid_power_watts"}, "no_value"),
        ({"json": "URL/api/states/sensor.grid_power", "path": "state"}, "not_a_number"),
        ({"json": "URL/status", "path": "total_power"}, "truncated"),
    ],
)
def test_dead_meter(meter: MeterBox, source: dict[str, str], reason: str) -> None:
    """A dead meter is an error, through every kind of source."""
    meter.house.meter.fault = "dead"
    url = f"http://{meter.address}"
    with pytest.raises(SourceError) as failed:
        read(opened({key: value.replace("URL", url) for key, value in source.items()}))
    assert failed.value.reason == reason


def test_battery_fails(meter: MeterBox) -> None:
    """Without the battery's power there is no sample; the error names the battery."""
    url = f"http://{meter.address}"
    grid = {"prometheus": url, "query": "house_grid_power_watts"}
    with pytest.raises(SourceError, match=r"^battery: the query found nothing"):
        read(opened(grid, {"prometheus": url, "query": "nothing"}))


def test_follow(fakes: Fakes) -> None:
    """Mode `follow` reads one number, here a current."""
    now = datetime.now(UTC).isoformat()
    server = fakes(lambda _request: Reply(200, f'{{"amps":7.5,"at":"{now}"}}'.encode()))
    available = {"json": f"{server.url}/", "path": "amps", "time_path": "at", "unit": "A"}
    section = {"mode": "follow", "charger": "garage", "max_current": "16A", "available": available}
    found = open_sources(SurplusConfig.model_validate(section))["available"]
    value, measured_at, age_known = found.read(time.monotonic() + PATIENCE_SECONDS)
    assert (value, age_known) == (7.5, True)
    assert measured_at == pytest.approx(time.monotonic(), abs=10)


def test_older_of_two() -> None:
    """A sample is as old as its oldest part, and has a known age if all parts have one."""
    grid, battery = Reading(-3210.0, 95.0, True), Reading(500.0, 90.0, False)
    assert sample({"grid": grid, "battery": battery}) == Sample(-3210.0, 90.0, 500.0, False)
    assert sample({"grid": grid}) == Sample(-3210.0, 95.0, None, True)


def test_secret_that_is_gone() -> None:
    """A token that cannot be read is a mistake in the configuration."""
    grid = {"json": "http://127.0.0.1/", "path": "x", "token_file": "/no/such/file"}
    with pytest.raises(ConfigError, match="cannot read the token file /no/such/file"):
        opened(grid)
