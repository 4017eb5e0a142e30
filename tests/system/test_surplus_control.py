"""`serve` with a surplus section: the writes, the end, a crash, a reload, and the metrics."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command, Launch
from exporters import LISTEN, Exporter
from servers import wait_for

from goe_exporter.simulator import Box, Car, Charger, House, MeterBox, Simulator

MAX_EXIT_SECONDS = 5.0
SERIAL = "218042"
STATE = 'goe_surplus_state{{charger="garage",state="{}"}}'


class Garage:
    """A charger without a car, and the meter of its house, at night, in real time."""

    def __init__(self, network: Simulator, folder: Path, model: str = "V4") -> None:
        self.folder = folder
        self.house = House("sunny", start_s=23 * 3600)
        self.charger = Charger(model, serial=SERIAL)
        self.box: Box = network.add(self.charger, story=self.house.live(self.charger))
        self.meter: MeterBox = network.add_meter(self.house, self.box)
        self.config = folder / "goe.yaml"
        self.section(
            f"mode: control, phases: auto, grid: {{prometheus: 'http://{self.meter.address}',"
            " query: house_grid_power_watts}"
        )

    def section(self, keys: str) -> None:
        """Write the configuration."""
        self.config.write_text(
            "refresh_interval: 1s\n"
            f"chargers: [{{name: garage, host: '{self.box.address}', serial: '{SERIAL}'}}]\n"
            f"surplus: {{charger: garage, max_current: 16A, state: {self.folder}/state, {keys}}}\n"
        )

    @property
    def settings(self) -> tuple[int, int, int]:
        """The charger's amp, psm and frc."""
        with self.box.lock:
            self.box.catch_up()
            return self.charger.amp, self.charger.phase_mode, self.charger.force

    def park(self) -> None:
        """Plug in a car, which stays."""
        self.box.play(self._steady())
        with self.box.lock:
            self.charger.plug(Car(battery_wh=60_000, soc=0.2))

    def _steady(self) -> Iterator[float]:
        while True:
            self.house.step(self.charger.power_w)
            yield 1.0

    def serve(self, launch: Launch) -> Exporter:
        return Exporter(launch("serve", "--config.file", str(self.config), *LISTEN))

    def run(self, launch: Launch) -> Exporter:
        """Serve until the charger is prepared for a car."""
        exporter = self.serve(launch)
        wait_for(lambda: self.settings == (6, 1, 0), "a charger that is prepared for a car")
        exporter.wait(STATE.format("no_car"), 1)
        return exporter


@pytest.fixture
def garage(tmp_path: Path) -> Iterator[Garage]:
    with Simulator() as network:
        yield Garage(network, tmp_path)


def ended(command: Command) -> tuple[float, str]:
    """Send SIGTERM, and return how long the end took and what was logged."""
    started = time.monotonic()
    outcome = command.end(signal.SIGTERM)
    assert outcome.status == 0, outcome.err
    return time.monotonic() - started, outcome.err


@pytest.mark.parametrize("latency", [0.0, 0.4])
def test_end(launch: Launch, garage: Garage, latency: float) -> None:
    """At the end current and phase mode are as they were found; a slow charger gets them too."""
    exporter = garage.run(launch)
    garage.box.latency = latency
    took, err = ended(exporter.command)
    wait_for(lambda: garage.settings == (16, 0, 0), "the settings as they were found")
    assert took <= MAX_EXIT_SECONDS
    assert 'given_back="max-current=16 phases=auto"' in err
    assert 'event="surplus started" mode=control charger=garage grid=prometheus' in err


@pytest.mark.parametrize("way", ["hang", "reset", "dead", "refusing"])
def test_end_of_a_charger_that_does_not_obey(launch: Launch, garage: Garage, way: str) -> None:
    """It takes no longer, and the log says how to give back by hand; `--release` does it later."""
    exporter = garage.run(launch)
    address = garage.box.address
    if way == "refusing":
        garage.charger.refused_keys.update({"amp", "psm"})
    elif way == "dead":
        garage.box.close()
    else:
        garage.box.fault = way
    took, err = ended(exporter.command)
    assert took <= MAX_EXIT_SECONDS
    for setting in ("max-current 16", "phases auto"):
        assert f'by_hand="goe-exporter set {address} {setting}"' in err
    if way == "dead":
        return
    garage.box.fault = None
    garage.charger.refused_keys.clear()
    released = launch("surplus", "--release", "--config.file", str(garage.config)).end()
    assert released.status == 0, released.err
    assert released.out == "garage: max-current is now 16 A\ngarage: phases is now auto\n"
    assert garage.settings == (16, 0, 0)
    again = launch("surplus", "--release", "--config.file", str(garage.config)).end()
    assert again.out == "garage: nothing to give back\n"


def test_a_pause_stays_until_it_is_released(launch: Launch, garage: Garage) -> None:
    """A car that is paused at night stays paused after the end, and `--release` lets it charge."""
    exporter = garage.run(launch)
    garage.park()
    exporter.wait(STATE.format("waiting"), 1)
    wait_for(lambda: garage.settings[2] == 1, "a pause")
    _took, err = ended(exporter.command)
    assert "charger left off" in err
    assert garage.settings[2] == 1
    released = launch("surplus", "--release", "--config.file", str(garage.config)).end()
    assert "garage: force-state is now neutral" in released.out, released
    assert garage.settings == (16, 0, 0)


def test_two_processes(launch: Launch, garage: Garage) -> None:
    """A second process with the same state is refused, and a release too."""
    garage.run(launch)
    second = launch("serve", "--config.file", str(garage.config), *LISTEN).end()
    assert second.status == 2
    text = f"the surplus state {garage.folder}/state is in use by another process"
    assert text in second.err
    release = launch("surplus", "--release", "--config.file", str(garage.config)).end()
    assert release.status == 2
    assert "stop the exporter first" in release.err


def test_metrics(launch: Launch, garage: Garage) -> None:
    """The state, the source and the counts, also as JSON; without a section there are none."""
    garage.park()
    exporter = garage.serve(launch)
    exporter.wait(STATE.format("waiting"), 1)
    wait_for(lambda: garage.settings[2] == 1, "a pause")
    found = exporter.samples()
    assert found['goe_surplus_source_up{source="grid"}'] == 1
    assert found['goe_surplus_source_power_watts{source="grid"}'] > 0
    assert found['goe_surplus_pauses_total{charger="garage"}'] == 1
    assert found['goe_surplus_writes_total{charger="garage",key="force_state"}'] == 1
    surplus = json.loads(exporter.get("api/v1/chargers/garage"))["surplus"]
    assert (surplus["mode"], surplus["state"]) == ("control", "waiting")
    assert surplus["sources"]["grid"]["power"] > 0
    assert '<p class="surplus" data-state>PV surplus: ' in exporter.get("")
    plain = Exporter(launch("serve", garage.box.address, *LISTEN))
    assert not [name for name in plain.samples() if "surplus" in name]
    assert "surplus" not in json.loads(plain.get("api/v1/chargers"))["chargers"][0]


def test_reload(launch: Launch, garage: Garage) -> None:
    """A change of the section, or of the charger, requires a restart, and the log says so."""
    exporter = garage.run(launch)
    before = garage.config.read_text()
    for old, new, text in (
        ("16A", "14A", "surplus: a change requires a restart"),
        ("refresh_interval: 1s", "refresh_interval: 2s", "surplus: a change of 'garage' requires"),
    ):
        garage.config.write_text(before.replace(old, new))
        exporter.command.process.send_signal(signal.SIGHUP)
        exporter.command.line(text)
    garage.config.write_text(before)
    exporter.command.process.send_signal(signal.SIGHUP)
    exporter.command.line('event="configuration reloaded"')


def test_damaged_state(launch: Launch, garage: Garage) -> None:
    """A damaged file is set aside and named; an "off" that is found then counts as a person's."""
    (garage.folder / "state").mkdir()
    file = garage.folder / "state" / f"{SERIAL}.json"
    file.write_text('{"version": 1, "bas')
    garage.park()
    with garage.box.lock:
        garage.charger.write("frc", 1)
    wait_for(lambda: garage.settings[2] == 1, "the charger to be off")
    exporter = garage.serve(launch)
    line = exporter.command.line('event="lease file damaged".*')
    assert f"file={file} " in line[0]
    assert file.with_suffix(".damaged").read_text() == '{"version": 1, "bas'
    exporter.wait(STATE.format("handed_over"), 1)
    assert (
        "force-state is neutral" in exporter.command.line("setting changed by somebody else.*")[0]
    )
    assert not json.loads(file.read_text())["owned"] if file.exists() else True


def test_follow_with_api_v1(launch: Launch, tmp_path: Path) -> None:
    """Mode `follow` writes `amx` only; the end restores the current that was found."""
    with Simulator() as network, contextlib.ExitStack() as stack:
        garage = Garage(network, tmp_path, "V2")
        garage.park()
        meter = f"http://{garage.meter.address}/rpc/EM.GetStatus?id=0"
        garage.section(f"mode: follow, available: {{json: '{meter}', path: a_current, unit: A}}")
        exporter = garage.serve(launch)
        stack.callback(exporter.command.kill)
        exporter.wait(STATE.format("following"), 1)
        wait_for(lambda: garage.charger.amx > 0, "a temporary current")
        assert set(garage.charger.writes) == {"amx"}
        _took, err = ended(exporter.command)
        wait_for(lambda: bool(garage.settings) and garage.charger.amx == 16, "the last write")
        assert 'given_back="max-current=16"' in err
