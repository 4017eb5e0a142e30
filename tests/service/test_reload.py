"""SIGHUP reloads the configuration: what is unchanged goes on, an invalid file is rejected."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Launch
from exporters import LISTEN, Exporter, charging
from fake_influx import Fakes, Received, Reply
from logfmt import fields
from servers import InfluxDB, push_config, wait_for

from goe_exporter.charger.client import Client
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.errors import ChargerError, UsageError
from goe_exporter.polling.poller import Poller
from goe_exporter.service import reload
from goe_exporter.service.config import RunConfig
from goe_exporter.service.service import Service
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.simulator import Box, Charger, Simulator

SUCCESSFUL = "goe_config_last_reload_successful"
MOMENT = "goe_config_last_reload_success_timestamp_seconds"


@pytest.fixture
def boxes(simulator: Simulator) -> dict[str, Box]:
    """Return three simulated chargers by the names that the configurations give them."""
    return {name: simulator.add(charging("V4"), api="2") for name in ("garage", "carport", "yard")}


class Configured:
    """An exporter whose configuration file can be rewritten."""

    def __init__(self, launch: Launch, path: Path, boxes: dict[str, Box]) -> None:
        self.path = path
        self.boxes = boxes
        self.write("garage", "carport")
        self.exporter = Exporter(launch("serve", "--config", str(path), *LISTEN))

    def write(self, *names: str, labels: str = "{}", **intervals: str) -> None:
        """Write a configuration of these chargers, all with the same `labels`.

        Those without an interval get one second.
        """
        chargers = "".join(
            f"  - {{name: {name}, host: '{self.boxes[name].address}', api: 2,"
            f" refresh_interval: {intervals.get(name, '1s')}, labels: {labels}}}\n"
            for name in names
        )
        self.path.write_text(f"chargers:\n{chargers}")

    def reload(self, event: str = "configuration reloaded") -> None:
        """Send SIGHUP and wait until its result is logged."""
        command = self.exporter.command
        before = sum(event in line for line in command.err)
        command.process.send_signal(signal.SIGHUP)
        wait_for(lambda: sum(event in line for line in command.err) > before, event)

    def polls(self, name: str) -> float:
        """Return the number of polls of a charger since it was added."""
        return self.exporter.value(f'goe_polls_total{{charger="{name}"}}') or 0.0

    def chargers(self) -> set[str]:
        """Return the names of the chargers in the metrics."""
        return {key.split('"')[1] for key in self.exporter.samples() if key.startswith("goe_up{")}


@pytest.fixture
def configured(launch: Launch, tmp_path: Path, boxes: dict[str, Box]) -> Iterator[Configured]:
    """Yield an exporter of `garage` and `carport`, both polled at least once."""
    running = Configured(launch, tmp_path / "config.yaml", boxes)
    for name in ("garage", "carport"):
        running.exporter.wait(f'goe_up{{charger="{name}"}}', 1)
    yield running
    assert running.exporter.command.end(signal.SIGTERM).status == 0


def test_chargers_are_added_and_removed(configured: Configured, boxes: dict[str, Box]) -> None:
    """A charger that stays keeps its counters; a removed one is neither polled nor exposed."""
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
    assert boxes["garage"].max_concurrent == 1
    assert configured.exporter.value(SUCCESSFUL) == 1
    again = configured.exporter.value(MOMENT)
    assert first is not None
    assert again is not None
    assert again > first


@pytest.mark.parametrize(
    ("invalid", "named"),
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
        ("sessions: {store: /nowhere}\n", "sessions section requires a restart"),
    ],
)
def test_an_invalid_configuration_is_rejected(
    configured: Configured, invalid: str, named: str
) -> None:
    """The old one stays in effect, the log names the error, and a valid one ends the state."""
    moment = configured.exporter.value(MOMENT)
    good = configured.path.read_text()
    section = invalid.startswith(("influxdb", "sessions"))
    configured.path.write_text(good + invalid if section else invalid)
    configured.reload("configuration reload failed")
    configured.exporter.command.line(f"event=.configuration reload failed.*{named}")
    assert configured.exporter.value(SUCCESSFUL) == 0
    assert configured.exporter.value(MOMENT) == moment
    polled = configured.polls("garage"), configured.polls("carport")
    wait_for(lambda: configured.polls("garage") > polled[0], "a poll")
    wait_for(lambda: configured.polls("carport") > polled[1], "a poll")
    assert configured.chargers() == {"garage", "carport"}
    configured.path.write_text(good)
    configured.reload()
    assert configured.exporter.value(SUCCESSFUL) == 1


def test_every_mistake_is_in_one_line_of_the_log(configured: Configured) -> None:
    """A reload logs all mistakes of a file as one event, unknown keys first."""
    configured.path.write_text(
        "refresh_interval: 0s\nchargers:\n- {name: a, hsot: 10.0.0.1}\n- {name: a, host: b}\n"
    )
    configured.reload("configuration reload failed")
    [line] = [each for each in configured.exporter.command.err if "reload failed" in each]
    path = configured.path
    assert fields(line.strip())["error"] == (
        f"{path}:3:13: chargers[0].hsot: unknown key; did you mean 'host'?;"
        f" {path}:1:19: refresh_interval: must be 1s to 24h, not '0s';"
        f" {path}:4:10: chargers[1].name: duplicate charger name 'a'"
    )


def test_a_missing_file_is_rejected(configured: Configured) -> None:
    """A file that is missing during the reload changes nothing."""
    configured.path.unlink()
    configured.reload("configuration reload failed")
    assert configured.chargers() == {"garage", "carport"}
    assert configured.exporter.value(SUCCESSFUL) == 0


def test_another_interval(configured: Configured, boxes: dict[str, Box]) -> None:
    """A shorter interval takes effect at once, although the next poll was an hour away."""
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
    assert boxes["garage"].max_concurrent == 1


def test_other_labels(configured: Configured) -> None:
    """Labels of a charger that stays are added, changed and removed, and it keeps its counters."""
    exporter = configured.exporter
    assert not any("goe_charger_info" in name for name in exporter.samples())
    polls = configured.polls("garage")
    for labels, found in (("{site: depot}", 'site="depot"'), ("{feeder: A1}", 'feeder="A1"')):
        configured.write("garage", "carport", labels=labels)
        configured.reload()
        assert {name for name in exporter.samples() if "goe_charger_info" in name} == {
            f'goe_charger_info{{charger="{name}",{found}}}' for name in ("garage", "carport")
        }
    shown = json.loads(exporter.get("api/v1/chargers"))["chargers"]
    assert [each["labels"] for each in shown] == [{"feeder": "A1"}, {"feeder": "A1"}]
    configured.write("garage", "carport")
    configured.reload()
    assert not any("goe_charger_info" in name for name in exporter.samples())
    assert configured.polls("garage") >= polls


def test_another_address(configured: Configured, boxes: dict[str, Box]) -> None:
    """A charger with another address is polled at its new address."""
    configured.boxes["garage"] = boxes["yard"]
    configured.write("garage", "carport")
    configured.reload()
    wait_for(lambda: boxes["yard"].requests >= 2, "polls at the new address")


def test_hangups_in_a_row(configured: Configured) -> None:
    """A hundred signals in a row do no harm."""
    for _ in range(100):
        configured.exporter.command.process.send_signal(signal.SIGHUP)
    polled = configured.polls("garage")
    wait_for(lambda: configured.polls("garage") >= polled + 2, "two polls")
    assert configured.exporter.value(SUCCESSFUL) == 1


@pytest.mark.system
def test_delivery_moves_to_another_server(launch: Launch, tmp_path: Path) -> None:
    """Points are delivered to a new address at once, those that waited included."""
    with Simulator(speed=20) as simulator:
        box = simulator.add(Charger("V4", serial="218042"), api="2")
        (tmp_path / "server").mkdir()
        influxdb = InfluxDB(tmp_path / "server")
        config = push_config(tmp_path, "http://127.0.0.1:1", {"garage": box.address})
        agent = launch("push", "--config", str(config))
        agent.line("delivery failed")
        wait_for(lambda: box.requests >= 4, "four polls")
        with influxdb.up():
            text = config.read_text()
            config.write_text(text.replace("http://127.0.0.1:1", influxdb.url))
            agent.process.send_signal(signal.SIGHUP)
            agent.line("configuration reloaded")
            wait_for(lambda: len(influxdb.points("garage")) >= 4, "the points that waited")
            config.write_text(text.replace("spool:", "spool_limit: 7MiB\n  spool:"))
            agent.process.send_signal(signal.SIGHUP)
            agent.line(
                "configuration reload failed.*influxdb.spool_limit: a change requires a restart"
            )
            polls = box.requests
            wait_for(lambda: box.requests > polls + 1, "two more polls")
            outcome = agent.end(signal.SIGTERM)
    assert outcome.status == 0
    assert outcome.err.count("delivery failed") == outcome.err.count("delivery recovered") == 1


@pytest.mark.system
def test_delivery_with_another_token(launch: Launch, fakes: Fakes, tmp_path: Path) -> None:
    """After a reload, requests have the new token, organization and bucket."""

    def rule(request: Received) -> Reply:
        return Reply(204 if request.headers["authorization"] == "Token new-token" else 401)

    influxdb = fakes(rule)
    token = tmp_path / "token"
    token.write_text("old-token")
    settings = {"api": "v2", "org": "home", "bucket": "goe", "token_file": str(token)}
    with Simulator() as simulator:
        chargers = {"garage": simulator.add(charging("V4"), api="2").address}
        config = push_config(tmp_path, influxdb.url, chargers, **settings)
        agent = launch("push", "--config", str(config))
        agent.line("delivery failed.*reason=unauthorized")
        token.write_text("new-token")
        push_config(tmp_path, influxdb.url, chargers, **settings | {"org": "o&o", "bucket": "100%"})
        agent.process.send_signal(signal.SIGHUP)
        wait_for(lambda: influxdb.taken, "points with the new token")
        assert agent.end(signal.SIGTERM).status == 0
    assert influxdb.received[0].query == {"org": ["home"], "bucket": ["goe"], "precision": ["ms"]}
    assert influxdb.received[-1].query == {"org": ["o&o"], "bucket": ["100%"], "precision": ["ms"]}


# Without a process


def test_another_serial_number_is_another_charger() -> None:
    """A charger keeps its poller while its serial number is unchanged; then nothing of it stays."""

    def reloaded(serial: str, api: str, current: tuple[Poller, ...]) -> tuple[Poller, ...]:
        charger = ChargerConfig.model_validate(
            {"name": "garage", "host": "192.0.2.1", "serial": serial, "api": api}
        )
        config = RunConfig((charger,), 5.0)
        return reload.pollers(config, reload.clients(config, {}), current, lambda _poll: None)

    first = reloaded("111111", "auto", ())
    second = reloaded("111111", "2", first)
    third = reloaded("222222", "2", second)
    assert second == first
    assert third != second
    assert isinstance(third[0].client, Client)
    assert third[0].client.serial == "222222"


def test_reload_of_a_charger_that_flaps(records: list[logging.LogRecord]) -> None:
    """Another host does not begin a charger's log again; a removed charger is logged at once."""

    def config(**hosts: str) -> RunConfig:
        chargers = [ChargerConfig(name=name, host=host) for name, host in hosts.items()]
        return RunConfig(tuple(chargers), 1.0)

    configs = [
        config(garage="192.0.2.1", carport="192.0.2.9"),
        *(config(garage=f"192.0.2.{number}", carport="192.0.2.9") for number in (2, 3, 4)),
        config(carport="192.0.2.9"),
    ]
    service = Service(configs[0], lambda: configs.pop(0))
    for _ in range(4):
        service.reload()
        garage = service._scheduler.pollers[0]
        garage.log.failed(ChargerError("timeout", "no answer"))
        garage.log.succeeded()
    assert garage.host == "192.0.2.4"
    events = [each.getMessage() for each in records if "reload" not in each.getMessage()]
    assert events == ["poll failed"]
    records.clear()
    service.reload()
    assert [(each.getMessage(), each.__dict__["values"]) for each in records] == [
        ("poll succeeded again", {"charger": "garage", "failures": 4, "recoveries": 4}),
        ("configuration reloaded", {"chargers": 1}),
    ]


def test_stop_of_a_charger_that_flaps(records: list[logging.LogRecord]) -> None:
    """What is held back is logged before the exporter stops."""
    charger = ChargerConfig(name="garage", host="192.0.2.1")
    config = RunConfig((charger,), 1.0)
    service = Service(config, lambda: config)
    (garage,) = service._scheduler.pollers
    for _ in range(3):
        garage.log.failed(ChargerError("timeout", "no answer"))
        garage.log.succeeded()
    service._stop(0.0)
    assert [each.getMessage() for each in records] == [
        "poll failed",
        "poll succeeded again",
        "stopped",
    ]
    assert records[1].__dict__["values"] == {"charger": "garage", "failures": 3, "recoveries": 3}


def test_showing_sessions_requires_a_restart() -> None:
    """The paths of the web server are fixed when it starts."""
    shown, hidden = SessionSettings(web=True), SessionSettings(web=False)
    with pytest.raises(UsageError, match=r"^sessions\.web: a change requires a restart$"):
        reload.check_restart_only(
            RunConfig((), 5.0, sessions=hidden), RunConfig((), 5.0, sessions=shown)
        )
