"""`goe-exporter spool`: status, delivery, and rejected lines."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import InfluxDB, free_port, push_config, wait_for

from goe_exporter.durable import clock
from goe_exporter.influx import parked
from goe_exporter.influx.dead_letters import DeadLetters
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.spool.queue import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Goe, Launch

NOW = int(time.time()) * 1000


@pytest.fixture
def influxdb(tmp_path: Path, processes: None) -> Iterator[InfluxDB]:  # noqa: ARG001
    """Yield a running InfluxDB with an empty database `goe`."""
    with InfluxDB(tmp_path).up() as server:
        yield server


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    """Return a configuration whose server is down."""
    return str(push_config(tmp_path, f"http://127.0.0.1:{free_port()}", {}))


def spooled(folder: Path, *lines: str) -> None:
    """Put lines into the spool, as a stopped agent leaves them."""
    spool = Spool(folder / "spool", 1024**2)
    for line in lines:
        assert spool.append(line.encode())
    spool.close()


def measured(count: int) -> list[str]:
    """Return lines a second apart."""
    return [f"goe_charger,charger=garage power_w={n}.0 {NOW + 1000 * n}" for n in range(count)]


def rejected(folder: Path, *letters: tuple[str, str]) -> None:
    """Put pairs of line and message into `dead/`, as a stopped agent leaves them."""
    dead = DeadLetters(folder / "spool" / "dead", 1024**2)
    for line, words in letters:
        dead.put(line.encode(), words)
    dead.close()


def shown(out: str, name: str) -> str:
    """Return what `spool status` says of `name`."""
    found = re.search(rf"^{name} +(.*)$", out, re.MULTILINE)
    assert found, out
    return found[1]


# spool status


def test_status_of_nothing(goe: Goe, nowhere: str) -> None:
    """Before the first run there is no spool, which is no error, and none is created."""
    outcome = goe("spool", "status", "--config", nowhere)
    assert (outcome.status, outcome.err) == (0, "")
    assert "nothing yet" in outcome.out


def test_status(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """The status shows the waiting points, the oldest, their size, and the rejected lines."""
    spooled(tmp_path, *measured(7))
    rejected(tmp_path, ("x", "no"))
    outcome = goe("spool", "status", "--config", nowhere)
    assert (outcome.status, outcome.err) == (0, "")
    assert shown(outcome.out, "spool") == str(tmp_path / "spool")
    assert shown(outcome.out, "points waiting") == "7"
    assert shown(outcome.out, "size") == "0.0 of 512 MiB"
    oldest = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(NOW / 1000))
    assert shown(outcome.out, "oldest") == oldest
    assert shown(outcome.out, "rejected") == "1"
    assert shown(outcome.out, "dropped") == "0"


def test_status_of_dropped_points(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """The status shows the dropped points of all queues, and when the last was dropped."""
    for count, part in ((5, "."), (2, "held"), (1, "dead")):
        spool = Spool(tmp_path / "spool" / part, 65_536)
        spool.extend([b"x" * 65_536] * count)
        spool.close()
    (tmp_path / "spool" / "dropped").write_bytes(b"d14ac549 5 1900000000\n")
    outcome = goe("spool", "status", "--config", nowhere)
    assert (outcome.status, outcome.err) == (0, "")
    assert shown(outcome.out, "dropped") == "8, the last 2030-03-17 17:46:40 UTC"


@pytest.mark.parametrize("command", ["status", "drain", "dead"])
def test_spool_of_a_newer_release(goe: Goe, tmp_path: Path, nowhere: str, command: str) -> None:
    """Every command rejects it with 2 and one line with directory and versions."""
    spooled(tmp_path, *measured(2))
    rejected(tmp_path, ("x", "no"))
    newer = tmp_path / "spool" / ("dead" if command == "dead" else ".")
    (newer / "version").write_text("7\n")
    outcome = goe("spool", command, "--config", nowhere)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == (
        f"goe-exporter: the spool {newer} has version 7, and this release reads versions up to 1:"
        " use a newer release, or another directory\n"
    )


def test_status_beside_a_running_agent(goe: Goe, launch: Launch, tmp_path: Path) -> None:
    """The status works while the agent runs, and counts points without a timestamp."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        url = f"http://127.0.0.1:{free_port()}"
        config = str(push_config(tmp_path, url, {"garage": box.address}))
        agent = launch("push", "--config", config)
        wait_for(lambda: box.requests >= 2, "two polls")
        outcome = goe("spool", "status", "--config", config)
        assert (outcome.status, outcome.err) == (0, "")
        assert int(shown(outcome.out, "points waiting")) >= 1
        assert agent.end(signal.SIGTERM).status == 0
    outcome = goe("spool", "status", "--config", config)
    assert shown(outcome.out, "points waiting") == str(box.requests)


# spool drain


def test_drain(launch: Launch, goe: Goe, influxdb: InfluxDB, tmp_path: Path) -> None:
    """All waiting points are delivered, with exit 0; a second time there is nothing to do."""
    config = str(push_config(tmp_path, influxdb.url, {}, batch=100))
    spooled(tmp_path, *measured(250))
    outcome = launch("spool", "drain", "--config", config).end()
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.endswith("250 points delivered, 0 rejected\n")
    assert [point["power_w"] for point in influxdb.points()] == list(range(250))
    outcome = goe("spool", "status", "--config", config)
    assert (shown(outcome.out, "points waiting"), shown(outcome.out, "oldest")) == ("0", "-")
    outcome = launch("spool", "drain", "--config", config).end()
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.endswith("0 points delivered, 0 rejected\n")


def test_drain_of_points_that_wait_for_the_clock(
    launch: Launch, goe: Goe, influxdb: InfluxDB, tmp_path: Path
) -> None:
    """Points measured before the first contact with the server are delivered too."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        chargers = {"garage": box.address}
        config = push_config(tmp_path, f"http://127.0.0.1:{free_port()}", chargers)
        agent = launch("push", "--config", str(config))
        wait_for(lambda: box.requests >= 2, "two polls")
        assert agent.end(signal.SIGTERM).status == 0
    push_config(tmp_path, influxdb.url, chargers)
    outcome = goe("spool", "drain", "--config", str(config))
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.endswith(f"{box.requests} points delivered, 0 rejected\n")
    assert len(influxdb.points("garage")) == box.requests


def test_drain_with_a_rejected_line(goe: Goe, influxdb: InfluxDB, tmp_path: Path) -> None:
    """A line that the server rejects is parked for the agent and does not hold up the others."""
    config = str(push_config(tmp_path, influxdb.url, {}))
    spooled(tmp_path, *measured(3), "no line protocol", *measured(6)[3:])
    outcome = goe("spool", "drain", "--config", config)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.endswith(
        "6 points delivered, 0 rejected\n"
        "1 parked after a rejection: drain again in two minutes, or start the exporter\n"
    )
    assert len(influxdb.points()) == 6
    status = goe("spool", "status", "--config", config).out
    assert (shown(status, "points waiting"), shown(status, "  parked")) == ("1", "1")
    assert shown(status, "rejected") == "0"


def test_drain_with_the_server_down(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """The error is one line, with exit 1, and all points are kept."""
    spooled(tmp_path, *measured(7))
    outcome = goe("spool", "drain", "--config", nowhere)
    assert outcome.status == 1
    assert outcome.err == (
        "goe-exporter: the server does not accept more now (refused); the rest waits on disk\n"
    )
    assert "0 points delivered" in outcome.out
    assert shown(goe("spool", "status", "--config", nowhere).out, "points waiting") == "7"


def test_drain_beside_a_running_agent(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """A spool in use is exit 2 and one line with the directory."""
    spool = Spool(tmp_path / "spool", 1024**2)
    for command in (["drain"], ["dead", "--requeue"]):
        outcome = goe("spool", *command, "--config", nowhere)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err.count("\n") == 1
        assert f"{tmp_path / 'spool'} is in use" in outcome.err
    spool.close()


# spool dead


def test_dead(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """Each rejected line is shown below the server's message, the oldest first, and kept."""
    assert goe("spool", "dead", "--config", nowhere).out == "0 rejected\n"
    rejected(tmp_path, ("a 1", "HTTP 400: first"), ("b 2", "HTTP 400: second"))
    outcome = goe("spool", "dead", "--config", nowhere)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == "HTTP 400: first\n    a 1\nHTTP 400: second\n    b 2\n2 rejected\n"
    assert goe("spool", "dead", "--config", nowhere).out == outcome.out


def test_hostile_text_in_dead(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """Neither a line nor a message can send control sequences or forge a line."""
    line = "\x1b]0;owned\x07 \u202eevil \x9b31m\r\n9 rejected"
    rejected(tmp_path, (line, "\x1b[2J no\nways"))
    outcome = goe("spool", "dead", "--config", nowhere)
    assert (outcome.status, outcome.err) == (0, "")
    assert len(outcome.out.splitlines()) == 3
    assert all(char.isprintable() or char == "\n" for char in outcome.out)
    assert r"\x1b[2J no\nways" in outcome.out
    assert outcome.out.endswith("\n1 rejected\n")


def test_requeue(
    goe: Goe, influxdb: InfluxDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the cause is fixed, `dead --requeue` and `drain` deliver the lines."""
    monkeypatch.setattr(parked, "RETRY_SECONDS", 0.0)
    config = str(push_config(tmp_path, influxdb.url, {}))
    influxdb.write(f'goe_charger,charger=garage power_w="a lot" {NOW - 1000}')
    line = f'goe_charger,charger=garage power_w=7.0,charger_name="two\nlines" {NOW}'
    spooled(tmp_path, line, f"goe_charger,charger=carport up=false {NOW}")
    assert goe("spool", "drain", "--config", config).status == 0
    outcome = goe("spool", "dead", "--config", config)
    assert "field type conflict" in outcome.out
    assert outcome.out.endswith("\n1 rejected\n")
    influxdb.query("DROP MEASUREMENT goe_charger")
    outcome = goe("spool", "dead", "--requeue", "--config", config)
    assert (outcome.status, outcome.out, outcome.err) == (0, "1 put back\n", "")
    assert goe("spool", "dead", "--config", config).out == "0 rejected\n"
    assert goe("spool", "drain", "--config", config).status == 0
    (point,) = influxdb.points()
    assert (point["power_w"], point["charger_name"]) == (7, "two\nlines")


def test_a_damaged_letter(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """A record damaged by a power cut does not prevent requeueing the others."""
    rejected(tmp_path, (measured(1)[0], "no"))
    (letters,) = (tmp_path / "spool" / "dead").glob("*.log")
    with letters.open("ab") as file:
        file.write(b'00000000 {"time": 1}\n12345678 {"ti')
    assert goe("spool", "dead", "--config", nowhere).status == 0
    outcome = goe("spool", "dead", "--requeue", "--config", nowhere)
    assert (outcome.status, outcome.out, outcome.err) == (0, "1 put back\n", "")
    assert shown(goe("spool", "status", "--config", nowhere).out, "points waiting") == "1"


def test_requeue_into_a_full_spool(goe: Goe, tmp_path: Path) -> None:
    """Requeueing drops no waiting point; without room it fails and says what to do."""
    nowhere = str(push_config(tmp_path, "http://127.0.0.1:9", {}, spool_limit="1MiB"))
    spool = Spool(tmp_path / "spool", 1024**2 * 15 // 16)
    while not spool.dropped:
        spool.extend([b"goe_charger x=1 %d %d" % (NOW, NOW)] * 500)
    spool.close()
    waiting = shown(goe("spool", "status", "--config", nowhere).out, "points waiting")
    letters = [(f"goe_charger,n={n} x={'1' * 900} {NOW + n}", "no") for n in range(60)]
    rejected(tmp_path, *letters)
    outcome = goe("spool", "dead", "--requeue", "--config", nowhere)
    put_back = int(outcome.out.split()[0])
    assert put_back < 60
    assert (outcome.status, outcome.out) == (1, f"{put_back} put back\n")
    assert outcome.err == (
        f"goe-exporter: no room in the spool for {60 - put_back} more; drain it first"
        " or raise spool_limit\n"
    )
    status = goe("spool", "status", "--config", nowhere).out
    assert int(shown(status, "points waiting")) == int(waiting) + put_back
    assert shown(status, "rejected") == str(60 - put_back)


def test_requeue_of_a_line_without_a_time(goe: Goe, tmp_path: Path, nowhere: str) -> None:
    """It is kept and counted, since the server would give it the present time."""
    rejected(tmp_path, ("goe_charger power_w=1.0", "measured"), (measured(1)[0], "no"))
    outcome = goe("spool", "dead", "--requeue", "--config", nowhere)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == (
        "1 put back\n1 not put back: they have no timestamp,"
        " and the server would give them the current time\n"
    )
    assert goe("spool", "dead", "--config", nowhere).out.endswith("\n1 rejected\n")


def test_drain_with_a_clock_that_nobody_confirms(
    launch: Launch, goe: Goe, influxdb: InfluxDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If clock and server differ by days, the error shows both times, and points are kept."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        config = push_config(tmp_path, f"http://127.0.0.1:{free_port()}", {"garage": box.address})
        agent = launch("push", "--config", str(config))
        wait_for(lambda: box.requests >= 2, "two polls")
        assert agent.end(signal.SIGTERM).status == 0
    waits = int(shown(goe("spool", "status", "--config", str(config)).out, "  for the clock"))
    if not waits:
        pytest.skip("the kernel vouches for the clock of this machine")
    push_config(tmp_path, influxdb.url, {})
    monkeypatch.setattr(clock.TrustedClock.__init__, "__defaults__", (
        lambda: 2_000_000_000.0, clock.uptime, lambda: False,
    ))  # fmt: skip
    outcome = goe("spool", "drain", "--config", str(config))
    assert outcome.status == 1
    assert outcome.err.startswith(
        "goe-exporter: the server does not accept more now"
        " (the clock shows 2033-05-18 03:33:20 UTC, the server's 20"
    )
    assert outcome.err.endswith("); the rest waits on disk\n")
    assert shown(goe("spool", "status", "--config", str(config)).out, "points waiting") == str(
        waits
    )


@pytest.mark.parametrize("command", ["status", "dead"])
def test_spool_of_another_user(
    goe: Goe, tmp_path: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Unreadable files are exit 2 and one line with the directory."""
    spooled(tmp_path, *measured(2))
    rejected(tmp_path, ("x", "no"))

    def denied(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    for method in ("iterdir", "read_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, method, denied)
            outcome = goe("spool", command, "--config", nowhere)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == (
            f"goe-exporter: cannot read the spool {tmp_path / 'spool'}: Permission denied\n"
        )


# Wrong usage


@pytest.mark.parametrize("command", ["status", "drain", "dead"])
def test_no_influxdb_section(goe: Goe, tmp_path: Path, command: str) -> None:
    """Without an influxdb section there is no spool: exit 2 and one line."""
    config = tmp_path / "config.yaml"
    config.write_text("chargers: []\n")
    outcome = goe("spool", command, "--config", str(config))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"goe-exporter: {config} has no influxdb section\n"


@pytest.mark.parametrize("command", ["status", "drain", "dead"])
def test_no_config(goe: Goe, tmp_path: Path, command: str) -> None:
    """A missing file or option is exit 2 and one line."""
    missing = tmp_path / "none.yaml"
    outcome = goe("spool", command, "--config", str(missing))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"goe-exporter: cannot read {missing}: No such file or directory\n"
    outcome = goe("spool", command)
    assert (outcome.status, outcome.out) == (2, "")
    assert "--config" in outcome.err
    assert outcome.err.count("\n") == 1
