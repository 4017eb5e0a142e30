"""SIGHUP: the configuration is read again, a wrong one is refused, and what stays goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Launch
from exporters import LISTEN, Exporter, charging
from servers import InfluxDB, push_config, wait_for

from goe_exporter.simulator import Box, Charger, Simulator

SUCCESSFUL = "goe_config_last_reload_successful"
MOMENT = "goe_config_last_reload_success_timestamp_seconds"


@pytest.fixture
def boxes(simulator: Simulator) -> dict[str, Box]:
    """Return three simulated chargers by the names that the configurations give them."""
    return {name: simulator.add(charging("V4"), api="2") for name in ("garage", "carport", "yard")}


class Configured:
    """An exporter whose configuration file can be written anew."""

    def __init__(self, launch: Launch, path: Path, boxes: dict[str, Box]) -> None:
        self.path = path
        self.boxes = boxes
        self.write("garage", "carport")
        self.exporter = Exporter(launch("serve", "--config", str(path), *LISTEN))

    def write(self, *names: str, **intervals: str) -> None:
        """Write a configuration with these chargers, polled each second but for `intervals`."""
        chargers = "".join(
            f"  - {{name: {name}, host: '{self.boxes[name].address}', api: 2,"
            f" refresh_interval: {intervals.get(name, '1s')}}}\n"
            for name in names
        )
        self.path.write_text(f"chargers:\n{chargers}")

    def reload(self, event: str = "configuration reloaded") -> None:
        """Send SIGHUP and wait until what came of it is logged."""
        command = self.exporter.command
        before = sum(event in line for line in command.err)
        command.process.send_signal(signal.SIGHUP)
        wait_for(lambda: sum(event in line for line in command.err) > before, event)

    def polls(self, name: str) -> float:
        """Return how often a charger was polled since it is known."""
        return self.exporter.value(f'goe_polls_total{{charger="{name}"}}') or 0.0

    def chargers(self) -> set[str]:
        """Return the names of the chargers that are shown."""
        return {key.split('"')[1] for key in self.exporter.samples() if key.startswith("goe_up{")}


@pytest.fixture
def configured(launch: Launch, tmp_path: Path, boxes: dict[str, Box]) -> Iterator[Configured]:
    """Yield an exporter of `garage` and `carport`, both polled at least once."""
    running = Configured(launch, tmp_path / "config.yaml", boxes)
    for name in ("garage", "carport"):
        running.exporter.wait(f'goe_up{{charger="{name}"}}', 1)
    yield running
    assert running.exporter.command.end(signal.SIGTERM, seconds=10).status == 0


def test_chargers_come_and_go(configured: Configured, boxes: dict[str, Box]) -> None:
    """One that stays keeps its counters, one that goes is polled and shown no more."""
    wait_for(lambda: configured.polls("garage") >= 3, "three polls")
    first = configured.exporter.value(MOMENT)
    assert configured.exporter.value(SUCCESSFUL) == 1
    before = configured.polls("garage")
    configured.write("garage", "yard")
    configured.reload()
    assert configured.polls("garage") >= before
    configured.exporter.wait('goe_up{charger="yard"}', 1)
    assert configured.chargers() == {"garage", "yard"}
    gone = boxes["carport"].requests
    polled = configured.polls("garage")
    wait_for(lambda: configured.polls("garage") >= polled + 3, "three more polls")
    assert boxes["carport"].requests == gone
    assert boxes["garage"].most_at_once == 1
    assert configured.exporter.value(SUCCESSFUL) == 1
    again = configured.exporter.value(MOMENT)
    assert first is not None
    assert again is not None
    assert again > first


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("chargers: [{name: garage}]\n", r"chargers\[0\].host"),
        ("refresh_interval: soon\n", "refresh_interval"),
        ("chargers: [\n", "yaml:2:1"),
        ("chargers: []\n", "no charger"),
        (
            "chargers: [{name: garage, host: garage.test, token_file: /nowhere}]\n",
            "token_file.*/nowhere",
        ),
        ("influxdb: {bucket: goe, spool: /nowhere}\n", "influxdb.*restart"),
    ],
)
def test_a_wrong_configuration_is_refused(configured: Configured, wrong: str, named: str) -> None:
    """The old one stays as a whole, the mistake is named, and a right one ends the state."""
    moment = configured.exporter.value(MOMENT)
    good = configured.path.read_text()
    configured.path.write_text(wrong if "influxdb" not in wrong else good + wrong)
    configured.reload("configuration refused")
    configured.exporter.command.line(f"event=.configuration refused.*{named}")
    assert configured.exporter.value(SUCCESSFUL) == 0
    assert configured.exporter.value(MOMENT) == moment
    polled = configured.polls("garage"), configured.polls("carport")
    wait_for(lambda: configured.polls("garage") > polled[0], "a poll")
    wait_for(lambda: configured.polls("carport") > polled[1], "a poll")
    assert configured.chargers() == {"garage", "carport"}
    configured.path.write_text(good)
    configured.reload()
    assert configured.exporter.value(SUCCESSFUL) == 1


def test_a_missing_file_is_refused(configured: Configured) -> None:
    """A file that is being exchanged when the signal comes costs nothing."""
    configured.path.unlink()
    configured.reload("configuration refused")
    assert configured.chargers() == {"garage", "carport"}
    assert configured.exporter.value(SUCCESSFUL) == 0


def test_another_interval(configured: Configured, boxes: dict[str, Box]) -> None:
    """A shorter interval counts at once, though the next poll was an hour away."""
    configured.write("garage", "carport", garage="1h")
    configured.reload()
    rare = boxes["garage"].requests
    others = boxes["carport"].requests
    wait_for(lambda: boxes["carport"].requests >= others + 4, "polls of the other one")
    assert boxes["garage"].requests <= rare + 2
    configured.write("garage", "carport")
    configured.reload()
    rare = boxes["garage"].requests
    wait_for(lambda: boxes["garage"].requests >= rare + 3, "three polls")
    assert boxes["garage"].most_at_once == 1


def test_another_address(configured: Configured, boxes: dict[str, Box]) -> None:
    """A charger that moved is polled where it is now."""
    configured.boxes["garage"] = boxes["yard"]
    configured.write("garage", "carport")
    configured.reload()
    wait_for(lambda: boxes["yard"].requests >= 2, "polls at the new address")


def test_hangups_in_a_row(configured: Configured) -> None:
    """A hundred signals at once do no harm."""
    for _ in range(100):
        configured.exporter.command.process.send_signal(signal.SIGHUP)
    polled = configured.polls("garage")
    wait_for(lambda: configured.polls("garage") >= polled + 2, "two polls")
    assert configured.exporter.value(SUCCESSFUL) == 1


@pytest.mark.server
def test_delivery_moves_to_another_server(launch: Launch, tmp_path: Path) -> None:
    """A server's new address is delivered to at once, all that waited included."""
    with Simulator(speed=20) as simulator:
        box = simulator.add(Charger("V4", serial="218042"), api="2")
        (tmp_path / "server").mkdir()
        influxdb = InfluxDB(tmp_path / "server")
        config = push_config(tmp_path, "http://127.0.0.1:1", {"garage": box.address})
        agent = launch("push", "--config", str(config))
        agent.line("delivery fails")
        wait_for(lambda: box.requests >= 4, "four polls")
        with influxdb.up():
            text = config.read_text()
            config.write_text(text.replace("http://127.0.0.1:1", influxdb.url))
            agent.process.send_signal(signal.SIGHUP)
            agent.line("configuration reloaded")
            agent.line("delivery works again")
            wait_for(lambda: len(influxdb.points("garage")) >= 4, "the points that waited")
            config.write_text(text.replace("spool:", "spool_limit: 7MiB\n  spool:"))
            agent.process.send_signal(signal.SIGHUP)
            agent.line("configuration refused.*influxdb.spool_limit wants a restart")
            polls = box.requests
            wait_for(lambda: box.requests > polls + 1, "two more polls")
            assert agent.end(signal.SIGTERM).status == 0
