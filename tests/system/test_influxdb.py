"""Real servers store the points: InfluxDB 1.x by `api: v1`, VictoriaMetrics by `api: v2`."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from exporters import charging
from servers import (
    PATIENCE_SECONDS,
    InfluxDB,
    VictoriaMetrics,
    push_config,
    running,
    self_signed,
    wait_for,
)

from goe_exporter.influx import parked
from goe_exporter.influx.agent import open_agent
from goe_exporter.influx.dead_letters import letters
from goe_exporter.service import config
from goe_exporter.simulator import Simulator
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands import Command, Launch

    from goe_exporter.simulator import Box

NAMES = (
    "garage",
    "my garage",
    "a,b=c",
    'say "hi"',
    "two\nlines",
    "ends in \\",
    "two at the end \\\\",
    "C:\\cars",
    "backslash\\ space",
    "backslash\\,comma",
    "backslash\\=equals",
    'backslash\\"quote',
    " padded ",
    "tab\there",
    "carriage\rreturn",
    "line \u2028 next \x85",
    "🚗🔌 Straße",
    "# comment",
    "up=false 1",
    "\\",
    ",",
    "=",
    'x up=true 1\ngoe_charger,charger=forged up=true\n"',
)


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[InfluxDB]:
    """Yield a running InfluxDB with an empty database `goe`."""
    with InfluxDB(tmp_path).up() as server:
        yield server


def push(launch: Launch, config: Path) -> Command:
    """Start `push` and wait until it polls."""
    agent = launch("push", "--config", str(config))
    agent.line("event=started")
    return agent


def stop(agent: Command) -> str:
    """Stop an agent with SIGTERM and return its log."""
    outcome = agent.end(signal.SIGTERM)
    assert (outcome.status, outcome.out) == (0, "")
    return outcome.err


def all_there(server: InfluxDB, box: Box, charger: str = "garage") -> None:
    """Wait until each request to a charger is one point in the database.

    A server that stops without answering delays the next attempt by the deadline and the back-off.
    """
    wait_for(
        lambda: len(server.points(charger)) == box.requests,
        "a point for each poll",
    )


# Stored points


@pytest.mark.parametrize(("command", "model"), [("push", "V4"), ("serve", "V2")])
def test_influxdb_has_what_the_charger_has(
    launch: Launch,
    standing_still: Simulator,
    influxdb: InfluxDB,
    tmp_path: Path,
    command: str,
    model: str,
) -> None:
    """From v1 and v2: numbers, states with their names and codes, flags and `up`."""
    charger = charging(model)
    box = standing_still.add(charger)
    config = push_config(tmp_path, influxdb.url, {"garage": box.address})
    place = ("--web.listen-address", "127.0.0.1:0") if command == "serve" else ()
    agent = launch(command, "--config", str(config), *place)
    before = time.time()
    wait_for(lambda: len(influxdb.points()) >= 2, "two points")
    point = influxdb.points()[0]
    assert before - 5 < point["time"] / 1000 < time.time()
    step, energy_step = (5.001, 1000) if model == "V2" else (0.01, 1)
    assert point["power_w"] == pytest.approx(charger.power_w, abs=step)
    assert point["power_w"] > 10_000
    for phase, volts, amperes in zip(
        ("l1", "l2", "l3"), charger.phase_voltage_v, charger.phase_current_a, strict=False
    ):
        assert point[f"phase_voltage_{phase}_v"] == pytest.approx(volts, abs=0.501)
        assert point[f"phase_current_{phase}_a"] == pytest.approx(amperes, abs=0.051)
    assert point["energy_wh"] == pytest.approx(charger.energy_wh, abs=energy_step)
    assert point["session_energy_wh"] == pytest.approx(charger.session_wh, abs=0.01)
    assert (point["car_state"], point["car_state_code"]) == ("charging", 2)
    assert (point["error"], point["error_code"]) == ("none", 0)
    assert (point["charging_allowed"], point["up"]) == (True, True)
    assert point["firmware"] == charger.firmware
    assert (point["charger"], point["serial"]) == ("garage", "218042")
    tags = influxdb.query("SHOW TAG KEYS")
    assert [row["tagKey"] for row in tags] == ["charger", "serial"]
    stop(agent) if command == "push" else agent.end(signal.SIGTERM)


def test_victoria_metrics_has_what_the_charger_has(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """All numbers and flags arrive through `/api/v2/write`, with charger and serial."""
    charger = charging()
    box = standing_still.add(charger)
    with VictoriaMetrics(tmp_path).up() as server:
        further = {"tags": {"site": "at home", "row": "="}}
        config = push_config(tmp_path, server.url, {"garage": box.address}, api="v2", **further)
        agent = push(launch, config)

        def value(name: str) -> float | None:
            """Return the only value that a field ever had."""
            labels = {"charger": "garage", "serial": "218042", "site": "at home", "row": "="}
            found = server.series(f"goe_charger_{name}", **labels)
            values = {value for series in found for value in series.values.values()}
            assert len(values) < 2, (name, found)
            return values.pop() if values else None

        wait_for(lambda: value("power_w") is not None, "a point")
        assert value("power_w") == pytest.approx(charger.power_w, abs=0.01)
        assert value("phase_voltage_l3_v") == pytest.approx(charger.phase_voltage_v[2], abs=0.01)
        assert value("phase_power_l1_w") == pytest.approx(charger.phase_power_w[0], abs=0.01)
        assert value("session_energy_wh") == pytest.approx(charger.session_wh, abs=0.01)
        assert (value("car_state_code"), value("charging_allowed"), value("up")) == (2, 1, 1)
        labels = {"__name__", "db", "charger", "serial", "site", "row"}
        assert all(set(one.labels) <= labels for one in server.series())
        (up,) = server.series("goe_charger_up")
        assert all(abs(stamp / 1000 - time.time()) < 30 for stamp in up.values)
        stop(agent)


def test_a_gap_explains_itself(
    launch: Launch, standing_still: Simulator, influxdb: InfluxDB, tmp_path: Path
) -> None:
    """A failed poll is a point with only `up=false`, in the charger's own series."""
    box = standing_still.add(charging())
    config = push_config(tmp_path, influxdb.url, {"garage": box.address})
    agent = push(launch, config)
    wait_for(lambda: influxdb.points() != [], "a good poll")
    box.fault = "html"
    wait_for(lambda: influxdb.points()[-1]["up"] is False, "a failed poll")
    failed = influxdb.points()[-1]
    failed.pop("time")
    assert failed == {"charger": "garage", "serial": "218042", "up": False}
    box.fault = None
    wait_for(lambda: influxdb.points()[-1]["up"] is True, "a good poll again")
    stop(agent)
    assert len(influxdb.points()) == box.requests


# Names


def deliver(config: Path, boxes: list[Box]) -> None:
    """Push until each charger was polled twice more and no point waits on disk."""
    goal = [box.requests + 2 for box in boxes]
    command = [sys.executable, "-m", "goe_exporter.cli", "push", "--config", str(config)]
    with running(command, config.with_name("log")) as agent:
        wait_for(
            lambda: (
                all(box.requests >= least for box, least in zip(boxes, goal, strict=True))
                and survey(config.with_name("spool")).pending == 0
            ),
            "two polls of each charger, delivered",
        )
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_SECONDS) == 0


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InfluxDB, VictoriaMetrics]]:
    """Yield both servers, each with points of a charger for each of `NAMES`."""
    folders = [tmp_path_factory.mktemp("named") for _ in range(2)]
    influxdb, victoria = InfluxDB(folders[0]), VictoriaMetrics(folders[1])
    with Simulator(clock=lambda: 0.0) as simulator, influxdb.up(), victoria.up():
        boxes = [simulator.add(charging(serial=f"{n:06}")) for n in range(len(NAMES))]
        chargers = {name: box.address for name, box in zip(NAMES, boxes, strict=True)}
        configs = (
            push_config(folders[0], influxdb.url, chargers),
            push_config(folders[1], victoria.url, chargers, api="v2"),
        )
        for config in configs:
            deliver(config, boxes)
        yield influxdb, victoria


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_influxdb(named: tuple[InfluxDB, VictoriaMetrics], name: str) -> None:
    """Whatever a charger's name is, its points are complete, and the text is stored.

    Only a line break is stored as the two characters backslash and n.
    """
    serial = f"{NAMES.index(name):06}"
    points = [point for point in named[0].points() if point.get("serial") == serial]
    assert points
    for point in points:
        assert point.get("charger_name", point.get("charger")) == name.replace("\n", "\\n")
        assert (point["up"], point["car_state"]) == (True, "charging")
        assert point["power_w"] > 10_000


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_victoria_metrics(named: tuple[InfluxDB, VictoriaMetrics], name: str) -> None:
    """The points are complete here too; the tag is the name as far as a tag can hold it."""
    serial = f"{NAMES.index(name):06}"
    (power,) = named[1].series("goe_charger_power_w", serial=serial)
    assert all(value > 10_000 for value in power.values.values())
    if name.isprintable() and name.strip() == name and "\\" not in name:
        assert power.labels["charger"] == name


def test_a_name_given_in_the_app(standing_still: Simulator, tmp_path: Path) -> None:
    """A line break or a quote in a charger's own name costs no point on either server."""
    charger = charging()
    charger.name = 'two\nlines, "quoted" \\'
    box = standing_still.add(charger)
    with InfluxDB(tmp_path).up() as influxdb, VictoriaMetrics(tmp_path).up() as victoria:
        config = push_config(tmp_path, influxdb.url, {"garage": box.address})
        deliver(config, [box])
        for point in influxdb.points():
            assert point["device_name"] == 'two\\nlines, "quoted" \\'
        push_config(tmp_path, victoria.url, {"garage": box.address}, api="v2")
        asked = box.requests
        deliver(config, [box])
        (up,) = victoria.series("goe_charger_up")
        assert len(up.values) >= box.requests - asked - 1


def test_names_make_no_other_points(named: tuple[InfluxDB, VictoriaMetrics]) -> None:
    """No name adds a measurement, tag, series or field, or makes a server reject a line."""
    influxdb, victoria = named
    assert [row["name"] for row in influxdb.query("SHOW MEASUREMENTS")] == ["goe_charger"]
    tags = influxdb.query("SHOW TAG KEYS")
    assert [row["tagKey"] for row in tags] == ["charger", "serial"]
    assert len(influxdb.query("SHOW SERIES")) == len(NAMES)
    labels = {"__name__", "db", "charger", "serial"}
    strange = [one.labels for one in victoria.series() if not set(one.labels) <= labels]
    assert strange == []
    assert len(victoria.series("goe_charger_up")) == len(NAMES)
    assert {one.labels["__name__"][:12] for one in victoria.series()} == {"goe_charger_"}


# Failures of the server


def test_a_type_conflict(
    launch: Launch,
    standing_still: Simulator,
    influxdb: InfluxDB,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that InfluxDB rejects is parked, and later in `dead/` with the server's message.

    The others arrive, and polls go on.
    """
    serial = "goe_charger,charger=garage,serial=218042"
    influxdb.write(f'{serial} power_w="a lot" {int(time.time() * 1000)}')
    refused, silent = standing_still.add(charging()), standing_still.add(charging())
    silent.fault = "html"
    chargers = {"garage": refused.address, "carport": silent.address}
    agent = push(launch, push_config(tmp_path, influxdb.url, chargers))
    folder = tmp_path / "spool"
    wait_for(lambda: survey(folder / "parked").pending >= 2, "two rejected lines")
    polls = refused.requests
    wait_for(lambda: refused.requests >= polls + 2, "further polls")
    assert stop(agent).count("lines parked") == 1
    assert survey(folder / "dead").pending == 0
    # Two minutes later.
    monkeypatch.setattr(parked, "RETRY_SECONDS", 0.0)
    section = config.load(str(tmp_path / "config.yaml")).influxdb
    assert section is not None
    drained = open_agent(section)
    drained.store.queue.append(b"another up=true %d" % (time.time() * 1000))
    while drained.stats().spooled:
        drained.sender.deliver_once()
    drained.stop(0)
    found = list(letters(folder / "dead"))
    assert len(found) == refused.requests
    assert all("field type conflict" in letter.message for letter in found)
    assert all("charger=garage" in letter.line for letter in found)
    assert len(influxdb.points("carport")) == silent.requests


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_wrong_path(launch: Launch, standing_still: Simulator, tmp_path: Path, api: str) -> None:
    """VictoriaMetrics returns 400 for a wrong path: no point is lost; the right path gets all."""
    box = standing_still.add(charging())
    with VictoriaMetrics(tmp_path).up() as server:
        chargers = {"garage": box.address}
        agent = push(launch, push_config(tmp_path, f"{server.url}/nonsense", chargers, api=api))
        agent.line("delivery failed.*reason=rejected_all.*unsupported path")
        wait_for(lambda: box.requests >= 3, "three polls")
        assert stop(agent).count("level=warning") == 1
        assert survey(tmp_path / "spool" / "dead").pending == 0
        agent = push(launch, push_config(tmp_path, server.url, chargers, api=api))

        def arrived() -> int:
            found = server.series("goe_charger_up", charger="garage")
            return sum(len(series.values) for series in found)

        wait_for(lambda: arrived() == box.requests, "a point for each poll")
        stop(agent)


def test_http_to_a_tls_port(launch: Launch, standing_still: Simulator, tmp_path: Path) -> None:
    """InfluxDB returns 400 for http on its TLS port: no point is lost."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path, certificate=self_signed(tmp_path))
    with influxdb.up():
        agent = push(launch, push_config(tmp_path, influxdb.url, {"garage": box.address}))
        # It closes without reading the lines, so its response may be lost to a reset.
        agent.line("delivery failed.*reason=(rejected_all.*HTTPS|truncated)")
        wait_for(lambda: box.requests >= 4, "four polls")
        assert stop(agent).count("level=warning") == 1
    assert survey(tmp_path / "spool" / "dead").pending == 0
    waiting = survey(tmp_path / "spool").pending + survey(tmp_path / "spool" / "held").pending
    assert waiting == box.requests


def test_a_slow_uplink(launch: Launch, tmp_path: Path) -> None:
    """A backlog too large for one request over a slow uplink is delivered in several."""
    influxdb = InfluxDB(tmp_path)
    spool = Spool(tmp_path / "spool", 64 * 1024**2)
    noise = random.Random(1)
    now = int(time.time()) * 1000
    spool.extend(
        b'goe_charger,charger=garage x="%b" %d' % (noise.randbytes(400).hex().encode(), now + n)
        for n in range(2000)
    )
    spool.close()
    with influxdb.up(), slow_line(influxdb.port, bytes_per_second=400_000) as port:
        url = f"http://127.0.0.1:{port}"
        agent = push(launch, push_config(tmp_path, url, {"garage": "127.0.0.1:9"}, timeout="500ms"))
        wait_for(lambda: len(influxdb.points()) >= 2000, "the backlog")
        assert "reason=timeout" in stop(agent)


@contextlib.contextmanager
def slow_line(target: int, bytes_per_second: int) -> Iterator[int]:
    """Yield a port that forwards to another port at a limited rate."""

    def pass_on(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", target)) as server:
            threading.Thread(target=answer, args=(server, client), daemon=True).start()
            with contextlib.suppress(OSError):
                while piece := client.recv(8192):
                    time.sleep(len(piece) / bytes_per_second)
                    server.sendall(piece)

    def answer(server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(8192):
                client.sendall(piece)

    def listen(door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = door.accept()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                threading.Thread(target=pass_on, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        threading.Thread(target=listen, args=(door,), daemon=True).start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)


def test_a_wrong_password(launch: Launch, standing_still: Simulator, tmp_path: Path) -> None:
    """401 loses no point: with the right password and a restart all are delivered."""
    box = standing_still.add(charging())
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    login = {"username": "goe", "password_file": str(secret)}
    with InfluxDB(tmp_path, password="right").up() as influxdb:
        config = push_config(tmp_path, influxdb.url, {"garage": box.address}, **login)
        agent = push(launch, config)
        agent.line("delivery failed.*reason=unauthorized")
        wait_for(lambda: box.requests >= 2, "two polls")
        log = stop(agent)
        assert log.count("delivery failed") == 1
        assert influxdb.points() == []
        secret.write_text("right\n")
        agent = push(launch, config)
        all_there(influxdb, box)
        assert "delivery failed" not in stop(agent)


def test_a_database_that_comes_later(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """404 for a missing database loses no point: once it exists, all are delivered."""
    box = standing_still.add(charging())
    with InfluxDB(tmp_path).up(database="") as influxdb:
        agent = push(launch, push_config(tmp_path, influxdb.url, {"garage": box.address}))
        agent.line("delivery failed.*reason=not_found")
        wait_for(lambda: box.requests >= 2, "two polls")
        influxdb.query("CREATE DATABASE goe")
        all_there(influxdb, box)
        log = stop(agent)
    assert (log.count("delivery failed"), log.count("delivery recovered")) == (1, 1)


def whole(influxdb: InfluxDB, box: Box, polls: int, until: float) -> None:
    """Wait for a point of each poll, and check that it has the time of the poll.

    At `until`, before the server was started, `polls` were complete or in progress.
    """
    all_there(influxdb, box)
    stamps = [point["time"] / 1000 for point in influxdb.points()]
    assert all(earlier < later for earlier, later in itertools.pairwise(stamps)), stamps
    assert sum(stamp <= until for stamp in stamps) in (polls - 1, polls), (stamps, until)


def test_a_server_that_comes_later(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """A server that is started later gets all points, with the right timestamps."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    before = time.time()
    agent = push(launch, push_config(tmp_path, influxdb.url, {"garage": box.address}))
    agent.line("delivery failed.*reason=refused")
    wait_for(lambda: box.requests >= 3, "three polls")
    polls, until = box.requests, time.time()
    with influxdb.up():
        whole(influxdb, box, polls, until)
        assert before < influxdb.points()[0]["time"] / 1000 < until
        stop(agent)


def test_a_server_that_goes_and_comes(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """An outage leaves no gap; its begin and its end are one log line each."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    with influxdb.up():
        agent = push(launch, push_config(tmp_path, influxdb.url, {"garage": box.address}))
        wait_for(lambda: influxdb.points() != [], "the first point")
    # A stopping server may also truncate its response, so the reason can differ.
    agent.line("delivery failed")
    outage = box.requests
    wait_for(lambda: box.requests >= outage + 2, "polls during the outage")
    polls, until = box.requests, time.time()
    with influxdb.up():
        whole(influxdb, box, polls, until)
        log = stop(agent)
    assert (log.count("delivery failed"), log.count("delivery recovered")) == (1, 1)


def test_victoria_metrics_that_comes_later(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """The same through v2: all polls before the server was started are stored."""
    box = standing_still.add(charging())
    server = VictoriaMetrics(tmp_path)
    config = push_config(tmp_path, server.url, {"garage": box.address}, api="v2")
    agent = push(launch, config)
    agent.line("delivery failed.*reason=refused")
    wait_for(lambda: box.requests >= 2, "two polls")
    with server.up():

        def arrived() -> int:
            found = server.series("goe_charger_up", charger="garage", serial="218042")
            return sum(len(series.values) for series in found)

        wait_for(lambda: arrived() == box.requests, "a point for each poll")
        stop(agent)
