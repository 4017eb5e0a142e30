"""A real Prometheus scrapes the exporter, and its query API returns the charger's readings."""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import PATIENCE_SECONDS, answers, binary, free_port, running, wait_for

from goe_exporter.simulator import Box, Car, Charger, Simulator

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: goe
  static_configs:
  - targets: ['127.0.0.1:{exporter}']
"""


class World:
    """A simulated v2 charger and a v1 charger, the exporter, and Prometheus."""

    def __init__(self, v2: Box, v1: Box, prometheus: str) -> None:
        self.v2 = v2
        self.v1 = v1
        self._prometheus = prometheus

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return an instant query's labels and values."""
        url = f"{self._prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
            found = json.load(response)["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, expression: str) -> float | None:
        """Return the value of an expression with one series, None without a series."""
        found = self.query(expression)
        assert len(found) < 2, found
        return found[0][1] if found else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start everything once for the tests of this module."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    prometheus, exporter_port, port = binary("prometheus"), free_port(), free_port()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(exporter=exporter_port))
    charging, old = Charger(model="V4", serial="112233"), Charger(model="V2", serial="445566")
    for charger in (charging, old):
        charger.plug(Car())
        charger.advance(120)
    url = f"http://127.0.0.1:{port}"
    # The chargers' clock is frozen, so that their state stays as polled.
    with Simulator(clock=lambda: 0.0) as simulator:
        v2, v1 = simulator.add(charging), simulator.add(old)
        exporter = [
            *(sys.executable, "-m", "goe_exporter.cli", "serve", f"new={v2.address}"),
            *(f"old={v1.address}", "--refresh-interval", "1s"),
            *("--web.listen-address", f"127.0.0.1:{exporter_port}"),
        ]
        server = [
            *(prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
        ]
        with running(exporter, folder / "exporter"), running(server, folder / "server"):
            wait_for(lambda: answers(f"{url}/-/ready"), "Prometheus")
            here = World(v2, v1, url)
            # The last of the slow rows arrives a few polls after the first.
            wait_for(
                lambda: here.value('goe_card_energy_joules_total{charger="new",card="10"}') == 0,
                "the chargers' readings in Prometheus",
            )
            yield here


def test_v2_readings(world: World) -> None:
    """Prometheus has the readings of a v2 charger in base units."""
    charger = world.v2.charger
    assert charger.power_w > 3000
    assert world.value('goe_power_watts{charger="new"}') == pytest.approx(charger.power_w, abs=0.01)
    for phase, volts in zip(("L1", "L2", "L3"), charger.phase_voltage_v, strict=False):
        measured = world.value(f'goe_phase_voltage_volts{{charger="new",phase="{phase}"}}')
        assert measured == pytest.approx(volts, abs=0.01)
    joules = world.value('goe_energy_joules_total{charger="new"}')
    assert joules == pytest.approx(charger.energy_wh * 3600, abs=3600)
    assert world.value('goe_car_state{charger="new",state="charging"}') == 1
    assert world.value('sum(goe_car_state{charger="new"})') == 1
    assert world.value('goe_up{charger="new"}') == 1


def test_v1_readings(world: World) -> None:
    """Prometheus has the readings of a v1 charger, with the resolution of v1."""
    charger = world.v1.charger
    assert charger.power_w > 3000
    power = world.value('goe_power_watts{charger="old"}')
    assert power == pytest.approx(charger.power_w, abs=10)
    current = world.value('goe_phase_current_amperes{charger="old",phase="L1"}')
    assert current == pytest.approx(charger.phase_current_a[0], abs=0.1)
    session = world.value('goe_session_energy_joules{charger="old"}')
    assert session == pytest.approx(charger.session_wh * 3600, abs=10)
    assert world.value('goe_temperature_celsius{charger="old",sensor="board"}') == pytest.approx(
        charger.board_c, abs=1
    )


def test_device_info(world: World) -> None:
    """Each charger's identity is one series with its serial, model, firmware and API."""
    found = {labels["charger"]: labels for labels, _one in world.query("goe_device_info")}
    assert (found["new"]["serial"], found["new"]["api"]) == ("112233", "2")
    assert found["new"]["model"] == "go-eCharger_V4"
    assert (found["old"]["serial"], found["old"]["api"]) == ("445566", "1")


def test_dead_charger(world: World) -> None:
    """A charger that stops responding is down in Prometheus, and its readings end."""
    world.v1.fault = "reset"
    wait_for(lambda: world.value('goe_up{charger="old"}') == 0, "goe_up 0")
    wait_for(
        lambda: not world.query('goe_power_watts{charger="old"}'), "the end of the readings", 15
    )
    assert world.value('goe_poll_failures_total{charger="old",reason="truncated"}') > 0  # type: ignore[operator]
    assert world.value('goe_up{charger="new"}') == 1
