"""`serve` in mode `feed`: the powers that a charger receives, a dead meter, a reload, the end."""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from commands import Launch
from exporters import LISTEN, Exporter
from servers import wait_for

from goe_exporter.simulator import Box, Car, Charger, House, MeterBox, Simulator

MAX_EXIT_SECONDS = 5.0
SERIAL = "218042"
STATE = 'goe_surplus_state{{charger="garage",state="{}"}}'
POLLS = 'goe_polls_total{charger="garage"}'


class Garage:
    """A charger with a car that stays, and the meter of its house, at noon, in real time."""

    def __init__(self, network: Simulator, folder: Path) -> None:
        self.house = House("sunny", start_s=12 * 3600)
        self.charger = Charger("V4", serial=SERIAL)
        self.charger.plug(Car(battery_wh=60_000, soc=0.2))
        self.box: Box = network.add(self.charger, story=self._steady())
        self.meter: MeterBox = network.add_meter(self.house, self.box)
        meter = f"prometheus: 'http://{self.meter.address}'"
        self.config = folder / "goe.yaml"
        self.config.write_text(
            "refresh_interval: 1s\n"
            f"chargers: [{{name: garage, host: '{self.box.address}', serial: '{SERIAL}'}}]\n"
            "surplus:\n"
            "  mode: feed\n"
            "  charger: garage\n"
            f"  grid: {{{meter}, query: house_grid_power_watts}}\n"
            f"  pv: {{{meter}, query: house_solar_power_watts}}\n"
        )

    def _steady(self) -> Iterator[float]:
        while True:
            self.house.step(self.charger.power_w)
            yield 1.0

    @property
    def sent(self) -> list[tuple[float, dict[str, float]]]:
        """The writes that the charger has received, with their times."""
        return [
            (at, json.loads(unquote(target.removeprefix("/api/set?ids="))))
            for at, target in list(self.box.log)
            if target.startswith("/api/set")
        ]

    def serve(self, launch: Launch) -> Exporter:
        exporter = Exporter(launch("serve", "--config.file", str(self.config), *LISTEN))
        exporter.wait(STATE.format("feeding"), 1)
        return exporter


@pytest.fixture
def garage(tmp_path: Path) -> Iterator[Garage]:
    with Simulator() as network:
        yield Garage(network, tmp_path)


def test_feed(launch: Launch, garage: Garage) -> None:
    """The powers are sent every 4 s, and nothing else; they end with a dead meter and at the end.

    The settings of the charger are as before, and no state is kept.
    """
    before = dict(garage.charger.writes)
    exporter = garage.serve(launch)
    wait_for(lambda: len(garage.sent) >= 6, "powers")
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(garage.sent)]
    assert 3 <= statistics.median(gaps) <= 5
    assert all(set(ids) == {"pGrid", "pPv"} and ids["pPv"] > 0 for _, ids in garage.sent)
    found = exporter.samples()
    assert found[STATE.format("unconfirmed")] == 0
    assert found['goe_surplus_writes_total{charger="garage",key="ids"}'] >= 5
    assert found['goe_surplus_source_up{source="pv"}'] == 1
    surplus = json.loads(exporter.get("api/v1/chargers/garage"))["surplus"]
    assert (surplus["mode"], surplus["state"]) == ("feed", "feeding")
    assert "the charger decides itself" in exporter.get("")
    garage.meter.fault = "reset"
    exporter.wait(STATE.format("blind"), 1)
    count = len(garage.sent)
    polls = exporter.samples()[POLLS]
    wait_for(lambda: exporter.samples()[POLLS] >= polls + 6, "polls")
    assert len(garage.sent) == count
    garage.meter.fault = None
    exporter.wait(STATE.format("feeding"), 1)
    started = time.monotonic()
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0, outcome.err
    assert time.monotonic() - started <= MAX_EXIT_SECONDS
    assert 'event="surplus started" mode=feed charger=garage grid=prometheus pv=prometheus' in (
        outcome.err
    )
    assert dict(garage.charger.writes) == before | {"ids": garage.charger.writes["ids"]}
    assert [each.name for each in garage.config.parent.iterdir()] == ["goe.yaml"]


def test_reload(launch: Launch, garage: Garage) -> None:
    """A change of the section requires a restart; powers are sent all the same."""
    exporter = garage.serve(launch)
    before = garage.config.read_text()
    garage.config.write_text(before + "  stale_after: 30s\n")
    exporter.command.process.send_signal(signal.SIGHUP)
    exporter.command.line("surplus: a change requires a restart")
    count = len(garage.sent)
    wait_for(lambda: len(garage.sent) > count + 1, "powers")
