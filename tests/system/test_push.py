"""The push agent as a process: signals, locks, secrets, its metrics, and a full disk."""

from __future__ import annotations

import base64
import contextlib
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest
from disks import Disk
from exporters import LISTEN, Exporter, charging
from fake_influx import FakeInflux
from servers import PATIENCE_SECONDS, InfluxDB, binary, free_port, push_config, wait_for

from goe_exporter.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from commands import Command, Goe, Launch
    from speaker import Speaker

SECRET = "kVq3-verySecretToken_88=="
COST = bcrypt.gensalt(rounds=4)
LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
UNAUTHORIZED = (
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 45\r\nConnection: close\r\n\r\n"
    b'{"code":"unauthorized","message":"no access"}'
)


@pytest.fixture
def nowhere() -> str:
    """Return a URL where nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def status(goe: Goe, config: Path, name: str) -> str:
    """Return `name` of `spool status`, "" while there is no spool."""
    outcome = goe("spool", "status", "--config", str(config))
    assert (outcome.status, outcome.err) == (0, "")
    found = re.search(rf"^{name} +(.*)$", outcome.out, re.MULTILINE)
    return found[1] if found else ""


def waiting(goe: Goe, config: Path) -> int:
    """Return the number of waiting points by `spool status`."""
    return int(status(goe, config, "points waiting") or 0)


# Signals and locks


@pytest.mark.parametrize("command", ["push", "serve"])
def test_sigterm_during_an_outage(
    launch: Launch, goe: Goe, standing_still: Simulator, tmp_path: Path, command: str
) -> None:
    """It stops with 0 within 5 s while the server is down, and all points are on disk."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    config = push_config(tmp_path, influxdb.url, {"garage": box.address})
    place = LISTEN if command == "serve" else ()
    with influxdb.up():
        agent = launch(command, "--config", str(config), *place)
        wait_for(lambda: influxdb.points() != [], "the first point")
    agent.line("delivery failed")
    during = box.requests
    wait_for(lambda: box.requests >= during + 2, "polls during the outage")
    outcome = agent.end(signal.SIGTERM)
    assert outcome.status == 0
    assert outcome.err.splitlines()[-1].endswith("event=stopped")
    assert waiting(goe, config) >= 2
    with influxdb.up():
        # A server that stopped before it could respond may have the first of them already.
        assert goe("spool", "drain", "--config", str(config)).status == 0
        assert len(influxdb.points()) == box.requests


def test_sigterm_before_the_first_contact(
    launch: Launch, goe: Goe, standing_still: Simulator, tmp_path: Path, nowhere: str
) -> None:
    """The same if the server has never responded."""
    box = standing_still.add(charging())
    config = push_config(tmp_path, nowhere, {"garage": box.address})
    agent = launch("push", "--config", str(config))
    wait_for(lambda: box.requests >= 2, "two polls")
    assert agent.end(signal.SIGTERM).status == 0
    assert waiting(goe, config) == box.requests


def test_sigterm_while_everything_hangs(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """Neither a charger nor a server that never responds delays the stop: 0 within 5 s."""
    good, hanging = standing_still.add(charging()), standing_still.add(charging())
    hanging.fault = "hang"
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        config = push_config(tmp_path, url, {"garage": good.address, "slow": hanging.address})
        agent = launch("push", "--config", str(config))
        server.settimeout(PATIENCE_SECONDS)
        with server.accept()[0]:
            wait_for(lambda: good.requests >= 2 and hanging.requests > 0, "polls under way")
            outcome = agent.end(signal.SIGTERM)
    assert outcome.status == 0
    assert outcome.err.splitlines()[-1].endswith("event=stopped")


def test_two_agents_on_one_spool(
    launch: Launch, standing_still: Simulator, tmp_path: Path, nowhere: str
) -> None:
    """The second one fails with 2 and one line with the directory; the first goes on."""
    box = standing_still.add(charging())
    config = str(push_config(tmp_path, nowhere, {"garage": box.address}))
    first = launch("push", "--config", config)
    first.line("event=started")
    outcome = launch("push", "--config", config).end()
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        f"goe-exporter: the spool {tmp_path / 'spool'} is in use by another process;"
        " give each its own directory\n"
    )
    polls = box.requests
    wait_for(lambda: box.requests >= polls + 2, "further polls of the first")
    assert first.end(signal.SIGTERM).status == 0


def test_a_spool_that_cannot_be_made(launch: Launch, tmp_path: Path) -> None:
    """An unusable spool directory is exit 2 and one line with its name."""
    (tmp_path / "file").write_text("")
    spool = str(tmp_path / "file" / "spool")
    config = push_config(tmp_path, "http://127.0.0.1:9", {"garage": "127.0.0.1:9"}, spool=spool)
    outcome = launch("push", "--config", str(config)).end()
    assert outcome.status == 2
    assert outcome.err == f"goe-exporter: cannot use the spool {spool}: Not a directory\n"


def test_push_wants_an_influxdb_section(goe: Goe, tmp_path: Path) -> None:
    """`push` without an influxdb section is wrong usage."""
    config = tmp_path / "config.yaml"
    config.write_text("chargers: [{name: garage, host: 127.0.0.1}]\n")
    outcome = goe("push", "--config", str(config))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"goe-exporter: {config} has no influxdb section\n"


# Secrets


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("token_file", UNAUTHORIZED),
        ("token_env", b""),
        ("password", NO_CONTENT),
        ("password_v1", UNAUTHORIZED),
    ],
    ids=("token_file", "token_env", "password", "password_v1"),
)
def test_the_secret_stays_secret(
    launch: Launch,
    standing_still: Simulator,
    speak: Callable[..., Speaker],
    tmp_path: Path,
    kind: str,
    answer: bytes,
) -> None:
    """Only the server gets it: no log, error, page or process list shows it."""
    box = standing_still.add(charging())
    server = speak(answer)
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    settings, environment = secret_settings(kind, secret)
    config = push_config(tmp_path, f"http://{server.address}", {"garage": box.address}, **settings)
    arguments = ("--config", str(config), *LISTEN, "--log-level", "debug")
    exporter = Exporter(launch("serve", *arguments, **environment))
    wait_for(lambda: box.requests >= 2 and len(server.requests) >= 1, "polls and a write")
    sent = f"Token {SECRET}", f"Token goe:{SECRET}", f"Basic {encoded()}"
    assert any(f"authorization: {each}".lower() in server.requests[0].lower() for each in sent)
    shown = [exporter.get(path) for path in ("", "metrics", "api/v1/influx", "api/v1/chargers")]
    process = Path("/proc", str(exporter.command.process.pid))
    shown += [(process / "cmdline").read_text(), (process / "comm").read_text()]
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    # The spool may be read by more users than the file with the secret.
    shown += [path.read_text("latin-1") for path in (tmp_path / "spool").rglob("*.*")]
    shown += map(str, launch("spool", "drain", "--config", str(config), **environment).end())
    for text in (*shown, outcome.out, outcome.err):
        assert SECRET not in text
        assert encoded() not in text


def encoded() -> str:
    """Return user and secret as basic authentication sends them."""
    return base64.b64encode(f"goe:{SECRET}".encode()).decode()


def secret_settings(kind: str, file: Path) -> tuple[dict[str, object], dict[str, str]]:
    """Return the settings and the environment for each way to give a secret."""
    if kind == "token_file":
        return {"api": "v2", "token_file": str(file)}, {}
    if kind == "token_env":
        return {"api": "v2", "token_env": "MY_TOKEN"}, {"MY_TOKEN": SECRET}
    login = {"username": "goe", "password_file": str(file)}
    return {"api": "v2" if kind == "password" else "v1", **login}, {}


def test_a_bad_token_is_not_shown(goe: Goe, tmp_path: Path) -> None:
    """A token that no header can hold is rejected without being quoted."""
    secret = tmp_path / "token"
    secret.write_text(f"{SECRET}\nsecond line\n")
    settings = {"api": "v2", "token_file": str(secret)}
    config = push_config(tmp_path, "http://127.0.0.1:9", {"garage": "127.0.0.1:9"}, **settings)
    outcome = goe("push", "--config", str(config))
    assert outcome.status == 2
    assert str(secret) in outcome.err
    assert SECRET not in outcome.err


def test_the_variables_of_influxdb_client(
    launch: Launch, standing_still: Simulator, speak: Callable[..., Speaker], tmp_path: Path
) -> None:
    """INFLUXDB_V2_URL, _ORG and _TOKEN apply to keys that the file leaves out."""
    box = standing_still.add(charging())
    server = speak(NO_CONTENT)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"refresh_interval: 1s\ninfluxdb: {{bucket: my bucket, spool: '{tmp_path / 'spool'}'}}\n"
    )
    agent = launch(
        *("push", f"garage={box.address}", "--config", str(config)),
        INFLUXDB_V2_URL=f"http://{server.address}",
        INFLUXDB_V2_ORG="my org",
        INFLUXDB_V2_TOKEN=SECRET,
    )
    wait_for(lambda: any("goe_charger," in request for request in server.requests), "a point")
    assert agent.end(signal.SIGTERM).status == 0
    for request in server.requests:
        first, _, rest = request.partition("\r\n")
        assert first.startswith("POST /api/v2/write?")
        assert "org=my%20org" in first.replace("+", "%20")
        assert "bucket=my%20bucket" in first.replace("+", "%20")
        assert "precision=ms" in first
        assert f"authorization: token {SECRET}".lower() in rest.lower()


# Status of the delivery


COUNTS = ("written", "rejected", "dropped", "damaged", "spooled", "spool_bytes")


def test_how_delivery_goes(launch: Launch, standing_still: Simulator, tmp_path: Path) -> None:
    """`/metrics` and `/api/v1/influx` show written points, and in an outage what waits and why.

    The output passes `promtool check metrics`.
    """
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    config = push_config(tmp_path, influxdb.url, {"garage": box.address})
    with influxdb.up():
        exporter = Exporter(launch("serve", "--config", str(config), *LISTEN))
        wait_for(
            lambda: exporter.count('goe_influx_points_total{result="written"}') >= 2,
            "written points",
        )
        assert exporter.value('goe_influx_points_total{result="rejected"}') == 0
        assert exporter.value('goe_influx_points_total{result="dropped"}') == 0
        assert exporter.value("goe_influx_damaged_records_total") == 0
        wait_for(lambda: exporter.value("goe_influx_spooled_points") == 0, "an empty spool")
        wait_for(
            lambda: exporter.value("goe_influx_oldest_spooled_timestamp_seconds") is None,
            "no oldest",
        )
        wait_for(lambda: exporter.delivery()["oldest"] is None, "no oldest in JSON")
        stats = exporter.delivery()
        assert {*stats} == {*COUNTS, "oldest", "failing", "failures"}
        assert all(type(stats[name]) is int for name in COUNTS)
        assert (stats["failing"], stats["failures"]) == ("", {})
        last = influxdb.points()[-1]["time"] / 1000
    wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 2, "points that wait")
    wait_for(lambda: exporter.delivery()["failing"] == "refused", "a failed write")
    oldest = exporter.value("goe_influx_oldest_spooled_timestamp_seconds")
    assert oldest is not None
    assert 0 < oldest - last < 5
    assert exporter.count("goe_influx_spool_bytes") > 1000
    stats = exporter.delivery()
    # A stopping server may truncate its response first.
    assert {*stats["failures"]} <= {"refused", "truncated", "timeout", "server_error"}
    refused = stats["failures"]["refused"]
    assert type(refused) is int
    assert 1 <= refused <= exporter.count('goe_influx_write_failures_total{reason="refused"}')
    assert stats["oldest"] == oldest
    assert stats["spooled"] >= 2
    promtool = [binary("promtool"), "check", "metrics"]
    body = exporter.get("metrics").encode()
    checked = subprocess.run(promtool, input=body, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    with influxdb.up():
        wait_for(
            lambda: exporter.count('goe_influx_points_total{result="written"}') == box.requests,
            "delivery of all that waited",
        )
        assert exporter.value('goe_influx_points_total{result="dropped"}') == 0
        wait_for(lambda: exporter.delivery()["failing"] == "", "the end of the failure")
    exporter.command.end(signal.SIGTERM)


def test_without_influxdb(launch: Launch, standing_still: Simulator) -> None:
    """Without an influxdb section there are no metrics of the delivery, and the JSON is `null`."""
    box = standing_still.add(charging())
    exporter = Exporter(launch("serve", box.address, *LISTEN))
    assert exporter.get("api/v1/influx") == "null"
    assert "goe_influx" not in exporter.get("metrics")
    exporter.command.end(signal.SIGTERM)


def test_a_line_for_telegraf(launch: Launch, standing_still: Simulator, tmp_path: Path) -> None:
    """`read --format influx` prints one line, which InfluxDB accepts with timestamps in ns."""
    charger = charging()
    charger.name = "two\nlines"
    box = standing_still.add(charger)
    outcome = launch("read", f"my garage={box.address}", "--format", "influx").end()
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.count("\n") == 1
    with InfluxDB(tmp_path).up() as influxdb:
        influxdb.write(outcome.out, precision="ns")
        (point,) = influxdb.points("my garage")
    assert point["power_w"] == pytest.approx(charger.power_w, abs=0.01)
    assert (point["car_state"], point["up"], point["serial"]) == ("charging", True, "218042")
    assert time.time() - 30 < point["time"] / 1000 < time.time()


def test_web_server_of_push(launch: Launch, standing_still: Simulator, tmp_path: Path) -> None:
    """With an address `push` serves `/metrics`, health and delivery, but no page."""
    box = standing_still.add(charging())
    passwords = tmp_path / "web.yaml"
    passwords.write_text(
        f"basic_auth_users: {{prometheus: '{bcrypt.hashpw(b'p', COST).decode()}'}}"
    )
    with FakeInflux() as influx:
        config = push_config(tmp_path, influx.url, {"garage": box.address})
        web = ("--web.config.file", str(passwords), "--web.open-health")
        exporter = Exporter(launch("push", "--config", str(config), *LISTEN, *web))
        wait_for(lambda: len(influx.taken) > 1, "points")
        assert exporter.answer("-/healthy")[0] == 200
        assert exporter.answer("-/ready")[0] == 200
        assert exporter.answer("metrics")[0] == 401
        exporter.password = "prometheus:p"
        wait_for(
            lambda: exporter.count('goe_influx_points_total{result="written"}') > 1,
            "written points",
        )
        assert 'goe_up{charger="garage"} 1.0' in exporter.get("metrics")
        assert exporter.delivery()["written"] > 1
        for path in ("", "charger/garage", "api/v1/chargers", "assets/style.css"):
            assert exporter.answer(path)[0] == 404
        assert exporter.command.end(signal.SIGTERM).status == 0


def test_push_by_itself_listens_nowhere(
    launch: Launch, standing_still: Simulator, tmp_path: Path, nowhere: str
) -> None:
    """Without an address there is no web server."""
    box = standing_still.add(charging())
    config = push_config(tmp_path, nowhere, {"garage": box.address})
    agent = launch("push", "--config", str(config))
    agent.line("event=started")
    wait_for(lambda: box.requests > 0, "a poll")
    sockets = {link.readlink().name for link in Path(f"/proc/{agent.process.pid}/fd").iterdir()}
    listening = [
        fields[9]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == LISTENING
    ]
    assert not sockets & {f"socket:[{inode}]" for inode in listening}
    assert agent.end(signal.SIGTERM).status == 0


@pytest.mark.parametrize(
    "given",
    [
        ("--web.config.file", "web.yml"),
        ("--web.open-health",),
        ("--web.telemetry-path", "/own"),
        ("--web.external-url", "https://example.org/goe"),
        ("--web.route-prefix", "/"),
    ],
)
def test_web_options_without_an_address(goe: Goe, tmp_path: Path, given: tuple[str, ...]) -> None:
    """Options of a web server that is not started are an error, not ignored."""
    config = str(push_config(tmp_path, "http://127.0.0.1:1", {"garage": "127.0.0.1:1"}))
    outcome = goe("push", "--config", config, *given)
    assert outcome.status == 2
    assert outcome.err == f"goe-exporter: {given[0]} requires --web.listen-address\n"


# A spool that has disappeared


@contextlib.contextmanager
def paused(command: Command) -> Iterator[None]:
    """Stop a process until the block ends."""
    command.process.send_signal(signal.SIGSTOP)
    yield
    command.process.send_signal(signal.SIGCONT)


def points_of(launch: Launch, influxdb: InfluxDB, config: Path) -> list[int]:
    """Deliver the points of a spool; return the timestamps (ms) of all points on the server."""
    drained = launch("spool", "drain", "--config", str(config)).end()
    assert drained.status == 0, drained.err
    return [point["time"] for point in influxdb.points()]


@pytest.mark.parametrize("command", ["push", "serve"])
def test_a_moved_spool(
    launch: Launch, goe: Goe, standing_still: Simulator, tmp_path: Path, command: str
) -> None:
    """A moved spool can be drained at once; later points are kept in a new spool."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    config = push_config(tmp_path, influxdb.url, {"garage": box.address})
    exporter = Exporter(launch(command, "--config", str(config), *LISTEN))
    wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 3, "points that wait")
    moved = tmp_path / "elsewhere"
    subprocess.run(["mv", str(tmp_path / "spool"), str(moved)], check=True)
    for part in ("", "/held", "/dead"):
        place = f"directory={tmp_path / 'spool'}{part} to={moved}{part} "
        exporter.command.line(f'event="spool moved" {place}')
    wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 3, "points in the new spool")
    assert exporter.answer("-/healthy")[0] == 200
    (tmp_path / "other").mkdir()
    other = push_config(tmp_path / "other", influxdb.url, {}, spool=str(moved))
    assert waiting(goe, other) >= 3
    with influxdb.up():
        points_of(launch, influxdb, other)
        wait_for(lambda: exporter.count("goe_influx_spooled_points") == 0, "delivery")
        polls = box.requests
        wait_for(lambda: box.requests >= polls + 2, "further polls")
        outcome = exporter.command.end(signal.SIGTERM)
        arrived = points_of(launch, influxdb, config)
    assert outcome.status == 0
    assert box.requests - 1 <= len(arrived) <= box.requests
    assert "Traceback" not in outcome.err


def test_a_file_in_place_of_the_spool(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """Health fails with its name; points are delivered from memory, and later from disk."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    config = push_config(tmp_path, influxdb.url, {"garage": box.address})
    spool = tmp_path / "spool"
    with influxdb.up():
        exporter = Exporter(launch("push", "--config", str(config), *LISTEN))
        wait_for(
            lambda: exporter.count('goe_influx_points_total{result="written"}') >= 2,
            "written points",
        )
        with paused(exporter.command):
            subprocess.run(["rm", "-rf", str(spool)], check=True)
            spool.write_text("in the way")
        exporter.command.line("spool unavailable, points wait in memory.*Not a directory")
        assert exporter.answer("-/healthy") == (
            503,
            f"cannot use the spool {spool}: Not a directory\n",
        )
        written = exporter.count('goe_influx_points_total{result="written"}')
        wait_for(
            lambda: exporter.count('goe_influx_points_total{result="written"}') >= written + 2,
            "delivery from memory",
        )
    wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 3, "points in memory")
    assert spool.read_text() == "in the way"
    spool.unlink()
    exporter.command.line("spool available again")
    wait_for(lambda: exporter.answer("-/healthy") == (200, "healthy\n"), "health")
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    with influxdb.up():
        arrived = points_of(launch, influxdb, config)
    assert box.requests - 1 <= len(arrived) <= box.requests


def test_a_spool_that_is_unmounted(
    launch: Launch, standing_still: Simulator, tmp_path: Path, disk: Disk
) -> None:
    """Nothing is written below the mount point; once mounted, waiting points are stored there."""
    box = standing_still.add(charging())
    influxdb = InfluxDB(tmp_path)
    spool = disk.folder / "spool"
    config = push_config(tmp_path, influxdb.url, {"garage": box.address}, spool=str(spool))
    exporter = Exporter(launch("serve", "--config", str(config), *LISTEN))
    wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 3, "points that wait")
    kept = tmp_path / "kept"
    kept.mkdir()
    subprocess.run(["mount", "--bind", str(disk.folder), str(kept)], check=True)
    try:
        subprocess.run(["umount", "-l", str(disk.folder)], check=True)
        exporter.command.line("spool unmounted")
        wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 3, "points in memory")
        assert exporter.answer("-/healthy") == (
            503,
            f"cannot use the spool {spool}: nothing is mounted on {disk.folder}\n",
        )
        assert [*disk.folder.iterdir()] == []
        subprocess.run(["mount", "--bind", str(kept), str(disk.folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(kept)], check=True)
    exporter.command.line("spool available again")
    wait_for(lambda: exporter.answer("-/healthy") == (200, "healthy\n"), "health")
    assert exporter.value('goe_influx_points_total{result="dropped"}') == 0
    assert exporter.command.end(signal.SIGTERM).status == 0
    with influxdb.up():
        arrived = points_of(launch, influxdb, config)
    assert len(arrived) == box.requests


def test_dropped_points_are_seen(
    launch: Launch, goe: Goe, standing_still: Simulator, tmp_path: Path, nowhere: str
) -> None:
    """The log has the begin of drops; `spool status` counts them, also later."""
    box = standing_still.add(charging())
    config = push_config(tmp_path, nowhere, {"garage": box.address})
    agent = launch("push", "--config", str(config))
    wait_for(lambda: waiting(goe, config) >= 2, "points that wait")
    assert status(goe, config, "dropped") == "0"
    with paused(agent):
        subprocess.run(["rm", "-rf", str(tmp_path / "spool")], check=True)
    lost = int(agent.line(r'event="spool deleted" .*spool lost=(\d+)')[1])
    agent.line('event="points dropped" dropped=')
    seen = r"(\d+), the last (20..-..-.. ..:..:.. UTC)"
    wait_for(lambda: re.fullmatch(seen, status(goe, config, "dropped")) is not None, "a count")
    assert agent.end(signal.SIGTERM).status == 0
    found = re.fullmatch(seen, status(goe, config, "dropped"))
    assert found is not None
    assert int(found[1]) >= max(lost, 2)


# A full disk


def test_a_full_disk(launch: Launch, standing_still: Simulator, tmp_path: Path, disk: Disk) -> None:
    """Polls go on, the oldest points are dropped and counted, and with room all are kept."""
    boxes = [standing_still.add(charging()) for _ in range(5)]
    influxdb = InfluxDB(tmp_path)
    chargers = {f"c{number}": box.address for number, box in enumerate(boxes)}
    config = push_config(tmp_path, influxdb.url, chargers, spool=str(disk.folder / "spool"))
    dropped = 'goe_influx_points_total{result="dropped"}'

    def polls() -> int:
        return sum(box.requests for box in boxes)

    with influxdb.up():
        exporter = Exporter(launch("serve", "--config", str(config), *LISTEN))
        wait_for(
            lambda: exporter.count('goe_influx_points_total{result="written"}') >= 5,
            "written points",
        )
    wait_for(lambda: exporter.count("goe_influx_spooled_points") >= 10, "points that wait")
    assert exporter.value(dropped) == 0
    disk.fill()
    wait_for(lambda: exporter.count(dropped) > 0, "the oldest to be dropped")
    fewest = exporter.count("goe_influx_spooled_points")

    def taken_into_the_room_of_the_oldest() -> bool:
        nonlocal fewest
        waiting_now = exporter.count("goe_influx_spooled_points")
        fewest = min(fewest, waiting_now)
        return waiting_now >= fewest + 2

    wait_for(taken_into_the_room_of_the_oldest, "points in the room of the oldest")
    so_far = exporter.count(dropped)

    def dropped_on_the_full_disk() -> bool:
        disk.fill()
        return exporter.count(dropped) >= so_far + 10

    wait_for(dropped_on_the_full_disk, "dropped points")
    before = polls()
    wait_for(lambda: polls() >= before + 5, "further polls")
    disk.free()
    # One poll of each may have been dropped while room was made.
    settled = polls() + len(boxes)
    wait_for(lambda: polls() >= settled, "polls after that")
    lost = exporter.count(dropped)
    kept = exporter.count("goe_influx_spooled_points")
    wait_for(
        lambda: exporter.count("goe_influx_spooled_points") >= kept + 5,
        "points that are kept again",
    )
    assert exporter.value(dropped) == lost
    outcome = exporter.command.end(signal.SIGTERM)
    assert outcome.status == 0
    assert "broke" not in outcome.err
    with influxdb.up():
        drained = launch("spool", "drain", "--config", str(config)).end()
        assert drained.status == 0, drained.err
        arrived = len(influxdb.points())
    assert polls() - len(boxes) <= arrived + lost <= polls()
