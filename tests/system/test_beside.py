"""The configurations of docs/beside-evcc-and-home-assistant.md, run by the programs they are for.

vmagent, Prometheus and jq are always tried; Grafana Alloy, Telegraf and Home Assistant where they
are on the PATH.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from commands import Launch
from exporters import LISTEN, Exporter, charging
from recipes import EXPORTER, VICTORIA, command, recipe, recipes
from servers import (
    PATIENCE_SECONDS,
    VictoriaMetrics,
    answers,
    binary,
    free_port,
    running,
    wait_for,
)

from goe_exporter.simulator import Box, Simulator

pytestmark = pytest.mark.system

CHARGER = "192.168.1.36"
"""The charger's address on the page."""


class World(NamedTuple):
    """A charger that charges, and the exporter that reads it."""

    box: Box
    exporter: Exporter
    folder: Path

    def put(self, text: str, victoria: str = "") -> str:
        """Return a recipe with the addresses of this world."""
        text = text.replace(EXPORTER, f"127.0.0.1:{self.exporter.port}")
        return text.replace(CHARGER, self.box.address).replace(VICTORIA, victoria)

    def file(self, name: str, text: str) -> str:
        """Write a file and return its path."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return str(path)


@pytest.fixture
def world(launch: Launch, standing_still: Simulator, tmp_path: Path) -> World:
    """Return a charger and an exporter that has read it."""
    box = standing_still.add(charging())
    started = launch("serve", f"garage={box.address}", "--refresh-interval", "1s", *LISTEN)
    exporter = Exporter(started)
    exporter.wait('goe_up{charger="garage"}', 1)
    return World(box, exporter, tmp_path)


# Collectors


class Collector(NamedTuple):
    """A program that scrapes the exporter and writes to a server."""

    heading: str
    file: str
    language: str
    options: tuple[str, ...]
    """Options for a test: a port of loopback and haste; {port} is free."""


VMAGENT = Collector(
    "vmagent", "vmagent.yml", "yaml",
    ("-httpListenAddr=127.0.0.1:{port}", "-remoteWrite.flushInterval=1s"),
)  # fmt: skip
PROMETHEUS = Collector(
    "Prometheus agent", "prometheus.yml", "yaml",
    ("--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
)  # fmt: skip
ALLOY = Collector(
    "Grafana Alloy", "config.alloy", "alloy",
    ("--server.http.listen-addr=127.0.0.1:{port}", "--disable-reporting"),
)  # fmt: skip


def collector(world: World, of: Collector) -> None:
    """Run a collector until VictoriaMetrics has what the charger has."""
    victoria = VictoriaMetrics(world.folder)
    with victoria.up():
        address = victoria.url.removeprefix("http://")
        path = world.file(of.file, world.put(recipe(of.heading, of.language), address))
        name, *words = (world.put(word, address) for word in command(of.heading))
        words = [word.replace(of.file, path) for word in words]
        words = [re.sub("=/var/lib/", f"={world.folder}/", word) for word in words]
        if name == "prometheus" and _is_old(binary(name)):
            words = [word.replace("--agent", "--enable-feature=agent", 1) for word in words]
        words += [option.format(port=free_port()) for option in of.options]
        with running([binary(name), *words], world.folder / "log"):
            wait_for(lambda: victoria.series("goe_power_watts") != [], "the charger's power")
            (power,) = victoria.series("goe_power_watts", charger="garage", job="goe")
            (energy,) = victoria.series("goe_energy_joules_total", charger="garage", job="goe")
    charger = world.box.charger
    assert charger.power_w > 3000
    assert next(iter(power.values.values())) == pytest.approx(charger.power_w, abs=0.01)
    assert next(iter(energy.values.values())) == charger.energy_wh // 1 * 3600


def _is_old(prometheus: str) -> bool:
    """Return whether it is a Prometheus before 3.0, whose agent is a feature flag."""
    done = subprocess.run([prometheus, "--version"], capture_output=True, text=True, check=True)
    return "version 2." in done.stdout + done.stderr


# Telegraf and Home Assistant


def telegraf(world: World) -> None:
    """Telegraf reads the metrics, and the JSON with its texts, once."""
    text = "".join(map(world.put, recipes("Telegraf", "toml")))
    path = world.file("telegraf.conf", f'[agent]\n{text}\n[[outputs.file]]\nfiles = ["stdout"]\n')
    done = subprocess.run(
        [binary("telegraf"), "--config", path, "--test"], capture_output=True, text=True, check=True
    )
    (metric,) = re.findall(
        r"(?m)^> prometheus,charger=garage,.* goe_power_watts=(\S+) ", done.stdout
    )
    (point,) = re.findall(r"(?m)^> wallbox,.*name=garage.* (\S+) \d+$", done.stdout)
    fields = dict(field.split("=") for field in point.split(","))
    assert float(metric) == pytest.approx(world.box.charger.power_w, abs=0.01)
    assert float(fields["readings_power"]) == pytest.approx(world.box.charger.power_w, abs=0.01)
    assert (fields["readings_car_state_state"], fields["up"]) == ('"charging"', "true")


class HomeAssistant:
    """Home Assistant on a port of its own, asked as its first user."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.log = folder, folder / "log"
        self._url = f"http://127.0.0.1:{port}"
        self._token = ""

    def is_up(self) -> bool:
        return answers(f"{self._url}/api/onboarding")

    def sign_up(self) -> None:
        """Create the first user."""
        client = f"{self._url}/"
        user = {"client_id": client, "name": "a", "username": "a", "password": "b"}
        body = json.dumps(user | {"language": "en"}).encode()
        code = self._ask("onboarding/users", body, "application/json")["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": client}
        self._token = self._ask("../auth/token", urllib.parse.urlencode(grant).encode())[
            "access_token"
        ]

    def states(self) -> dict[str, str]:
        """Return the states of the entities of the wallbox."""
        found = {each["entity_id"]: each["state"] for each in self._ask("states")}
        return {name: state for name, state in found.items() if ".wallbox_" in name}

    def _ask(self, path: str, body: bytes | None = None, kind: str = "") -> Any:
        request = urllib.request.Request(urllib.parse.urljoin(f"{self._url}/api/", path), body)
        if kind:
            request.add_header("Content-Type", kind)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return json.load(response)


def home_assistant(world: World) -> None:
    """Home Assistant shows the readings, and `unavailable` in outages, without template errors."""
    port = free_port()
    settings = {"http": {"server_host": "127.0.0.1", "server_port": port}, "api": {}}
    text = yaml.safe_dump(settings | {"onboarding": {}})
    world.file("configuration.yaml", text + world.put(recipe("Sensors", "yaml")))
    home = HomeAssistant(world.folder, port)
    program = [binary("hass"), "--config", str(world.folder), "--skip-pip"]
    with running(program, home.log):
        wait_for(home.is_up, "Home Assistant", 300)
        home.sign_up()
        wait_for(lambda: home.states().get("sensor.wallbox_state") == "charging", "states")
        states = home.states()
        assert float(states["sensor.wallbox_power"]) == pytest.approx(
            world.box.charger.power_w, abs=0.01
        )
        assert float(states["sensor.wallbox_energy"]) == world.box.charger.energy_wh // 1
        assert states["binary_sensor.wallbox_answers"] == "on"
        assert states["binary_sensor.wallbox_car_plugged_in"] == "on"
        assert len(states) == 9
        world.box.fault = "reset"
        wait_for(lambda: _unavailable(home) == 8, "a charger that does not answer")
        assert home.states()["binary_sensor.wallbox_answers"] == "off"
        world.exporter.command.kill()
        wait_for(lambda: _unavailable(home) == 9, "an exporter that does not answer")
    assert "emplate" not in home.log.read_text("utf-8")


def _unavailable(home: HomeAssistant) -> int:
    return sum(state == "unavailable" for state in home.states().values())


PROGRAMS: dict[str, Callable[[World], None]] = {
    "vmagent": lambda world: collector(world, VMAGENT),
    "prometheus": lambda world: collector(world, PROMETHEUS),
    "alloy": lambda world: collector(world, ALLOY),
    "telegraf": telegraf,
    "hass": home_assistant,
}
INSTALLED = ("vmagent", "prometheus")
"""Those that tests/install-servers installs."""


@pytest.mark.parametrize(
    "program", [name for name in PROGRAMS if name in INSTALLED or shutil.which(name)]
)
def test_program(world: World, program: str) -> None:
    """The program understands its configuration on the page, and has the charger's values."""
    PROGRAMS[program](world)


# evcc


def jq(expression: str, answer: str) -> str:
    """Return what an expression makes of an answer, `error` if it fails."""
    done = subprocess.run(
        [binary("jq"), "-c", expression], input=answer, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "error"


def test_evcc(world: World) -> None:
    """The expressions for evcc find the values, and give none while the charger does not answer."""
    (meter,) = yaml.safe_load(recipe("A meter", "yaml"))["meters"]
    (charger,) = yaml.safe_load(recipe("A charger that evcc controls", "yaml"))["chargers"]
    sources = [meter["power"], meter["energy"], *meter["currents"]]
    sources += [charger["status"], charger["enabled"]]
    assert {source["uri"] for source in sources} == {
        f"http://{EXPORTER}/api/v1/chargers/garage",
    }
    answer = world.exporter.get("api/v1/chargers/garage")
    power, energy, *currents, status, enabled = [jq(each["jq"], answer) for each in sources]
    box = world.box.charger
    assert float(power) == pytest.approx(box.power_w, abs=0.01)
    assert float(energy) * meter["energy"]["scale"] == pytest.approx(box.energy_wh / 1000, abs=1e-3)
    measured = [pytest.approx(amperes, abs=0.01) for amperes in box.phase_current_a[:3]]
    assert [float(amperes) for amperes in currents] == measured
    assert (status, enabled) == ('"C"', "true")
    nothing = '{"up": false, "readings": {}}'
    assert {jq(source["jq"], nothing) for source in sources} == {"null", "error"}


@pytest.mark.parametrize(
    ("state", "status"),
    [
        *(("idle", '"A"'), ("waiting_for_car", '"B"'), ("complete", '"B"'), ("charging", '"C"')),
        *(("error", "null"), ("unknown", "null")),
    ],
)
def test_evcc_status(state: str, status: str) -> None:
    """Each state of the car is the status that evcc's driver for go-e gives it."""
    (charger,) = yaml.safe_load(recipe("A charger that evcc controls", "yaml"))["chargers"]
    answer = json.dumps({"readings": {"car_state": {"state": state, "code": 0}}})
    assert jq(charger["status"]["jq"], answer) == status


@pytest.mark.parametrize(("enable", "state"), [(True, 2), (False, 1)])
def test_evcc_commands(simulator: Simulator, enable: bool, state: int) -> None:
    """The commands of evcc set the charger's release and current."""
    (charger,) = yaml.safe_load(recipe("A charger that evcc controls", "yaml"))["chargers"]
    box = simulator.add(charging())
    choice = re.sub(r"{{if .enable}}(\d){{else}}(\d){{end}}", r"\1 \2", charger["enable"]["uri"])
    address, _query, values = choice.replace(CHARGER, box.address).partition("frc=")
    chosen = values.split()[0 if enable else 1]
    current = charger["maxcurrent"]["uri"].replace("{{.maxcurrent}}", "10")
    for url in (f"{address}frc={chosen}", current.replace(CHARGER, box.address)):
        assert answers(url)
    status = f"http://{box.address}/api/status?filter=frc,amp"

    def settings() -> object:
        with urllib.request.urlopen(status, timeout=PATIENCE_SECONDS) as response:
            return json.load(response)

    wait_for(lambda: settings() == {"frc": state, "amp": 10}, "the settings")
