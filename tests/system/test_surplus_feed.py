"""`serve` in mode `feed`: the powers that a charger receives, a dead meter, a reload, the end."""

from __future__ import annotations

import json
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Guarded(ThreadingHTTPServer):
    """A meter that gives its value only to those who send the token."""

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.token = token
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Guarded)
        known = self.headers["Authorization"] == f"Bearer {self.server.token}"
        body = b'{"power": -3000}' if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def test_another_token_of_the_meter(launch: Launch, garage: Garage, tmp_path: Path) -> None:
    """A reload reads the secret files of the sources too, as those of everything else."""
    token = tmp_path / "token"
    token.write_text("first")
    with Guarded("first") as meter:
        text = garage.config.read_text()
        start = text.index("  grid:")
        host, port = meter.server_address[:2]
        grid = f"json: 'http://{host}:{port}/', path: power, token_file: '{token}'"
        garage.config.write_text(f"{text[:start]}  grid: {{{grid}}}\n")
        exporter = garage.serve(launch)
        meter.token = "second"
        exporter.wait(STATE.format("blind"), 1)
        token.write_text("second")
        exporter.command.process.send_signal(signal.SIGHUP)
        exporter.wait(STATE.format("feeding"), 1)
        meter.shutdown()


def test_reload(launch: Launch, garage: Garage) -> None:
    """A change of the section requires a restart; powers are sent all the same."""
    exporter = garage.serve(launch)
    before = garage.config.read_text()
    garage.config.write_text(before + "  stale_after: 30s\n")
    exporter.command.process.send_signal(signal.SIGHUP)
    exporter.command.line("surplus: a change requires a restart")
    count = len(garage.sent)
    wait_for(lambda: len(garage.sent) > count + 1, "powers")
