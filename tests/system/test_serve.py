"""`serve` and `demo` as processes: real sockets, real signals, simulated chargers."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from exporters import LISTEN, Exporter, charging
from servers import PATIENCE_SECONDS, free_port, wait_for

from goe_exporter.sessions.settings import local_time_zone
from goe_exporter.simulator import Simulator

if TYPE_CHECKING:
    from commands import Launch

EVENT = re.compile(r'time=\S+ level=(?:info|warning) event=("[^"]+"|\S+)( \w+=("[^"]*"|\S+))*\n')


def events(err: str) -> list[str]:
    """Return the logged events; fails unless each is one line."""
    lines = err.splitlines(keepends=True)
    assert all(EVENT.fullmatch(line) for line in lines), err
    return [re.findall(r'event=("[^"]+"|\S+)', line)[0].strip('"') for line in lines]


@pytest.mark.parametrize("model", ["V2", "V4"])
def test_metrics_show_what_the_charger_has(
    launch: Launch, standing_still: Simulator, model: str
) -> None:
    """`serve garage=HOST` is enough, for v1 and v2: readings, JSON, health."""
    charger = charging(model)
    box = standing_still.add(charger)
    exporter = Exporter(launch("serve", f"garage={box.address}", *LISTEN))
    exporter.wait('goe_up{charger="garage"}', 1)
    found = exporter.samples()
    step = 5.001 if model == "V2" else 0.01
    power = found['goe_power_watts{charger="garage"}']
    assert power == pytest.approx(charger.power_w, abs=step)
    assert power > 10_000
    volts = found['goe_phase_voltage_volts{charger="garage",phase="L3"}']
    assert volts == pytest.approx(charger.phase_voltage_v[2], abs=0.501)
    session = found['goe_session_energy_joules{charger="garage"}']
    assert session == pytest.approx(charger.session_wh * 3600, abs=10, rel=1e-6)
    assert found['goe_car_state{charger="garage",state="charging"}'] == 1
    assert found['goe_car_state{charger="garage",state="idle"}'] == 0
    (listed,) = json.loads(exporter.get("api/v1/chargers"))["chargers"]
    assert (listed["name"], listed["up"]) == ("garage", True)
    assert listed["readings"]["power"] == power
    assert exporter.get("-/healthy") == "healthy\n"
    assert exporter.get("-/ready") == "ready\n"
    outcome = exporter.command.end(signal.SIGTERM)
    assert (outcome.status, outcome.out) == (0, "")
    assert events(outcome.err) == ["started", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(
    launch: Launch, standing_still: Simulator, number: signal.Signals
) -> None:
    """SIGTERM and Ctrl-C stop it with 0 at once, also with an open connection of a client."""
    box = standing_still.add(charging("V4"))
    exporter = Exporter(launch("serve", box.address, *LISTEN))
    exporter.wait(f'goe_up{{charger="{box.address}"}}', 1)
    with urllib.request.urlopen(exporter.url, timeout=PATIENCE_SECONDS):
        outcome = exporter.command.end(number)
    assert outcome.status == 0
    assert events(outcome.err) == ["started", "stopped"]


def test_a_signal_while_a_charger_hangs(launch: Launch, standing_still: Simulator) -> None:
    """A poll that hangs does not delay the stop: exit 0 within 5 s."""
    box = standing_still.add(charging("V4"))
    box.fault = "hang"
    exporter = Exporter(launch("serve", box.address, *LISTEN))
    wait_for(lambda: box.requests > 0, "a poll under way")
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    assert set(events(outcome.err)) <= {"started", "poll failed", "stopped"}


def test_a_signal_before_it_has_started(launch: Launch, tmp_path: Path) -> None:
    """SIGTERM while a configuration is read ends the first process of a container."""
    if os.geteuid() != 0:
        pytest.skip("only root can start the first process of a container")
    path = tmp_path / "config.yaml"
    rows = (f"  - {{name: c{number}, host: 192.0.2.1}}\n" for number in range(5000))
    path.write_text(f"chargers:\n{''.join(rows)}")
    alone = ("unshare", "--pid", "--fork", "--kill-child")
    running = launch("serve", "--config", str(path), *LISTEN, within=alone)
    outer = running.process.pid
    children = Path(f"/proc/{outer}/task/{outer}/children")
    wait_for(lambda: children.read_text() != "", "the first process")
    pid = int(children.read_text())
    wait_for(lambda: signal.SIGTERM in caught(pid), "a handler of SIGTERM")
    os.kill(pid, signal.SIGTERM)
    outcome = running.end()
    assert (outcome.status, outcome.out, outcome.err) == (128 + signal.SIGTERM, "", "")


def caught(pid: int) -> set[signal.Signals]:
    """Return the signals that a process handles."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(re.findall(r"^SigCgt:\s+([0-9a-f]+)$", status, re.MULTILINE)[0], 16)
    return {each for each in signal.Signals if mask >> (each - 1) & 1}


CROWD = 100


def test_a_signal_while_a_crowd_scrapes(launch: Launch, standing_still: Simulator) -> None:
    """SIGTERM during a hundred scrapes, read or not, ends it with 0 and without a traceback."""
    boxes = [standing_still.add(charging("V4")) for _ in range(20)]
    exporter = Exporter(launch("serve", *(box.address for box in boxes), *LISTEN))
    wait_for(lambda: exporter.answer("-/ready")[0] == 200, "the first polls")
    with contextlib.ExitStack() as stack:
        for number in range(CROWD):
            client = socket.create_connection(("127.0.0.1", exporter.port), PATIENCE_SECONDS)
            stack.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            path = ("metrics", "", "api/v1/chargers")[number % 3]
            client.sendall(f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 3)
        outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    assert set(events(outcome.err)) <= {"started", "poll failed", "stopped"}


def test_a_charger_that_is_off_at_the_start(launch: Launch, standing_still: Simulator) -> None:
    """It is no error: `goe_up` is 0 without readings until it responds; both are logged once."""
    port = free_port()
    hurry = ("--refresh-interval", "1s")
    exporter = Exporter(launch("serve", f"garage=127.0.0.1:{port}", *hurry, *LISTEN))
    exporter.wait('goe_up{charger="garage"}', 0)
    assert 'goe_power_watts{charger="garage"}' not in exporter.samples()
    assert exporter.value('goe_poll_failures_total{charger="garage",reason="refused"}') >= 1
    standing_still.add(charging("V3"), port=port)
    exporter.wait('goe_up{charger="garage"}', 1)
    assert exporter.value('goe_power_watts{charger="garage"}') > 10_000
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    assert events(outcome.err) == ["started", "poll failed", "poll succeeded again", "stopped"]
    assert "reason=refused" in outcome.err


def test_two_chargers_by_a_file(launch: Launch, standing_still: Simulator, tmp_path: Path) -> None:
    """The chargers of a file are polled at their intervals, one request at a time."""
    garage, carport = standing_still.add(charging("V4")), standing_still.add(charging("V2"))
    path = tmp_path / "config.yaml"
    path.write_text(
        "refresh_interval: 1s\n"
        "chargers:\n"
        f"  - {{name: garage, host: '{garage.address}'}}\n"
        f"  - {{name: 'car \"port\"', host: '{carport.address}', api: 1, refresh_interval: 1h}}\n"
    )
    exporter = Exporter(launch("serve", "--config", str(path), *LISTEN, "--log-format", "json"))
    exporter.wait('goe_up{charger="garage"}', 1)
    wait_for(lambda: garage.requests >= 3, "three polls")
    exporter.wait(r'goe_up{charger="car \"port\""}', 1)
    assert carport.requests == 1
    assert garage.max_concurrent == 1
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    logged = [json.loads(line) for line in outcome.err.splitlines()]
    assert [each["event"] for each in logged] == ["started", "stopped"]
    assert logged[0]["chargers"] == 2


def test_only_the_environment(launch: Launch, standing_still: Simulator) -> None:
    """The environment can set all that a container needs."""
    one, two = standing_still.add(charging("V4")), standing_still.add(charging("V4"))
    running = launch(
        "serve",
        GOE_EXPORTER_HOSTS=f"garage={one.address} carport={two.address}",
        GOE_EXPORTER_WEB_LISTEN_ADDRESS="127.0.0.1:0",
        GOE_EXPORTER_REFRESH_INTERVAL="1s",
        GOE_EXPORTER_API="1",
        GOE_EXPORTER_LOG_LEVEL="info",
    )
    exporter = Exporter(running)
    exporter.wait('goe_up{charger="garage"}', 1)
    exporter.wait('goe_up{charger="carport"}', 1)
    assert {target for _time, target in one.log} == {"/status"}
    assert running.end(signal.SIGTERM).status == 0


def test_the_log_level(launch: Launch, standing_still: Simulator) -> None:
    """`--log-level warning` leaves out normal events, but no failures."""
    box = standing_still.add(charging("V4"))
    box.fault = "html"
    port = free_port()
    place = ("--web.listen-address", f"127.0.0.1:{port}")
    running = launch("serve", f"garage={box.address}", *place, "--log-level", "warning")
    running.line("poll failed")
    outcome = running.end(signal.SIGTERM)
    assert outcome.status == 0
    assert events(outcome.err) == ["poll failed"]
    assert "reason=not_json" in outcome.err


def test_a_persisting_failure_is_logged_once(launch: Launch, standing_still: Simulator) -> None:
    """Every failed poll is counted, but only the first is logged."""
    box = standing_still.add(charging("V4"))
    box.fault = "unauthorized"
    hurry = ("--refresh-interval", "1s")
    exporter = Exporter(launch("serve", f"garage={box.address}", *hurry, *LISTEN))
    exporter.wait('goe_poll_failures_total{charger="garage",reason="unauthorized"}', 2)
    outcome = exporter.command.end(signal.SIGTERM)
    assert events(outcome.err) == ["started", "poll failed", "stopped"]


def test_a_very_long_interval(launch: Launch, standing_still: Simulator) -> None:
    """An interval of a day works: one poll, and a normal stop."""
    box = standing_still.add(charging("V4"))
    once = ("--refresh-interval", "24h")
    exporter = Exporter(launch("serve", f"garage={box.address}", *once, *LISTEN))
    exporter.wait('goe_up{charger="garage"}', 1)
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    assert events(outcome.err) == ["started", "stopped"]


def test_demo(launch: Launch) -> None:
    """`demo` prints its addresses, shows changing numbers, and Ctrl-C stops it with 0."""
    running = launch("demo", *LISTEN, "--speed", "1000")
    charger = running.line(r"Simulated charger: +(http://127\.0\.0\.1:\S+)")[1]
    page = running.line(r"Page: +(http://127\.0\.0\.1:\d+/)$")[1]
    metrics = running.line(r"Metrics: +(\S+)$")[1]
    running.line("Press Ctrl-C to stop")
    assert metrics == f"{page}metrics"
    with urllib.request.urlopen(charger, timeout=PATIENCE_SECONDS) as response:
        assert set(json.load(response)) == {"car", "nrg"}
    exporter = Exporter(running)
    assert exporter.url == page
    energy = 'goe_energy_joules_total{charger="demo"}'
    seen: set[float] = set()

    def grown() -> bool:
        value = exporter.value(energy)
        if value is not None:
            assert value >= max(seen, default=0)
            seen.add(value)
        return len(seen) >= 3

    wait_for(grown, "energy that grows")
    with urllib.request.urlopen(page, timeout=PATIENCE_SECONDS) as response:
        assert b"demo" in response.read()
    sessions = running.line(r"Charging sessions: +(\S+)$")[1]
    assert sessions == f"{page}sessions"
    assert "ABC-E 123 (company car)" in exporter.get("sessions")
    month = dt.datetime.now(local_time_zone()).date().replace(day=1) - dt.timedelta(days=1)
    assert "In no session" in exporter.get(f"sessions/report?month={month:%Y-%m}")
    outcome = running.end(signal.SIGINT)
    assert outcome.status == 0
    assert events(outcome.err) == ["started", "stopped"]


def test_chargers_of_the_demo(launch: Launch) -> None:
    """By default there are three chargers: one charges, one is full, and one has an error."""
    exporter = Exporter(launch("demo", *LISTEN))
    for name, state in (("demo", "charging"), ("demo-2", "complete"), ("demo-3", "error")):
        exporter.wait(f'goe_car_state{{charger="{name}",state="{state}"}}', 1)
    exporter.wait('goe_error{charger="demo-3",error="gnd_invalid"}', 1)
    with urllib.request.urlopen(exporter.url, timeout=PATIENCE_SECONDS) as response:
        page = response.read().decode()
    assert page.count('<tr class="') == 3
    assert page.index(">demo-3<") < page.index(">demo<") < page.index(">demo-2<")
    assert exporter.command.end(signal.SIGINT).status == 0


def test_the_house_of_the_demo(launch: Launch) -> None:
    """With `--house` the first charger charges from the start, and a Controller measures it."""
    running = launch("demo", *LISTEN, "--house", "sunny")
    house = running.line(r"Simulated house: +(http://127\.0\.0\.1:\S+)")[1]
    exporter = Exporter(running)
    exporter.wait('goe_car_state{charger="demo",state="charging"}', 1)

    def charged() -> bool:
        car = 'goe_controller_power_watts{category="car",controller="demo-house"}'
        return (exporter.value(car) or 0) > 5_000

    wait_for(charged, "the car's power")
    with urllib.request.urlopen(house, timeout=PATIENCE_SECONDS) as response:
        assert set(json.load(response)) == {"ccn", "ccp"}
    assert running.end(signal.SIGINT).status == 0


def test_a_demo_of_many_chargers(launch: Launch) -> None:
    """`--chargers` says how many there are; all but those that do not answer are up."""
    command = launch("demo", *LISTEN, "--chargers", "16")
    command.line(r"Simulated charger: +http://127\.0\.0\.1:\S+ \(the first of 16\)$")
    exporter = Exporter(command)
    exporter.wait('goe_up{charger="demo-16"}', 1)
    exporter.wait('goe_poll_failures_total{charger="demo-14",reason="not_found"}', 1)
    assert exporter.value('goe_up{charger="demo-14"}') == 0
    assert exporter.value('goe_up{charger="demo-17"}') is None
    assert exporter.command.end(signal.SIGINT).status == 0
