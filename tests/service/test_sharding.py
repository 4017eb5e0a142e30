"""Shards: each charger belongs to one process, and few move when their number changes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from commands import Goe, Launch
from exporters import LISTEN, Exporter, charging
from servers import InfluxDB, push_config, wait_for

from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.service.self_metrics import sharding
from goe_exporter.service.sharding import Shard, shard
from goe_exporter.simulator import Simulator

NAMES = [f"charger-{number:04}" for number in range(1000)]


def shards_of(count: int) -> list[set[str]]:
    """Return the names of each shard."""
    return [{name for name in NAMES if Shard(number, count).polls(name)} for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 4, 8, 9])
def test_each_charger_belongs_to_one_shard(count: int) -> None:
    """The shards are disjoint, cover all names, and are about equally large."""
    found = shards_of(count)
    assert sum(map(len, found)) == 1000
    assert set().union(*found) == set(NAMES)
    assert max(map(len, found)) <= 1.25 * 1000 / count


def test_one_more_shard_moves_about_a_ninth() -> None:
    """From 8 to 9 shards 9 to 14 % of the chargers move, all of them to the new shard."""
    before, after = shards_of(8), shards_of(9)
    moved = {name for old, new in zip(before, after, strict=False) for name in old - new}
    assert 90 <= len(moved) <= 140
    assert after[8] == moved


def test_the_shard_of_a_name_is_fixed() -> None:
    """The assignment is a promise, since a spool and the history stay with the process.

    Worked out with sha256sum: of 0/garage, 1/garage, 2/garage and 3/garage, the largest digest
    is that of the listed number.
    """
    assert [number for number in range(4) if Shard(number, 4).polls("garage")] == [0]
    assert [number for number in range(4) if Shard(number, 4).polls("Höfe 3")] == [1]


@pytest.mark.parametrize(
    ("text", "expected"), [("0/1", (0, 1)), ("2/8", (2, 8)), ("1023/1024", (1023, 1024))]
)
def test_a_shard_by_number(text: str, expected: tuple[int, int]) -> None:
    """NUMBER/COUNT counts from 0."""
    assert shard(text) == Shard(*expected)


@pytest.mark.parametrize(
    ("host", "number"), [("exporter-3", 3), ("exporter-3.fleet.svc", 3), ("box07", 7)]
)
def test_a_shard_by_host_name(host: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With auto the number is at the end of the host name."""
    monkeypatch.setattr("platform.node", lambda: host)
    assert shard("auto/8") == Shard(number, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8/8", "NUMBER must be 0 to 7 of 8, not 8 of '8/8'"),
        ("0/0", "COUNT must be 1 to 1024, not 0"),
        ("0/1025", "COUNT must be 1 to 1024, not 1025"),
        ("1", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '1'"),
        ("-1/4", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '-1/4'"),
        ("auto", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not 'auto'"),
        ("1/4 ", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '1/4 '"),
        (
            "auto/8",
            "auto: the host name 'localhost' does not end with a number of up to 9 digits",
        ),
        ("\u0661/4", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '\u0661/4'"),
    ],
)
def test_refusals(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is refused with what is allowed."""
    monkeypatch.setattr("platform.node", lambda: "localhost")
    with pytest.raises(ValueError, match=r"must|does not") as error:
        shard(text)
    assert str(error.value) == message


def test_a_number_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last digits of a longer number, such as an instance's in a cloud, are no shard."""
    monkeypatch.setattr("platform.node", lambda: "exporter-1000000000002")
    with pytest.raises(ValueError, match="does not end with a number of up to 9 digits"):
        shard("auto/8")


def test_a_pod_beyond_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ninth pod of eight shards is refused, by the host name."""
    monkeypatch.setattr("platform.node", lambda: "exporter-8")
    with pytest.raises(ValueError, match="not 8 of the host name 'exporter-8'"):
        shard("auto/8")


# Two processes; the shards of these names are worked out with sha256sum as above

FIRST, SECOND = ("garage", "yard", "office"), ("carport",)


def test_the_check_counts_the_chargers_of_the_shard(
    goe: Goe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config.check` returns how many of the chargers are in the shard; it may have none."""
    hosts = [f"{name}=192.0.2.1" for name in (*FIRST, *SECOND)]
    valid = "the configuration is valid: "
    first = goe("serve", *hosts, "--shard=0/2", "--config.check")
    assert first.out == f"{valid}shard 0/2 has 3 of 4 charger(s)\n"
    monkeypatch.setenv("GOE_EXPORTER_SHARD", "1/2")
    assert goe("serve", *hosts, "--config.check").out == (
        f"{valid}shard 1/2 has 1 of 4 charger(s)\n"
    )
    assert goe("serve", *hosts[:3], "--config.check").out == (
        f"{valid}shard 1/2 has 0 of 3 charger(s)\n"
    )


def test_a_name_of_two_shards_is_refused(goe: Goe) -> None:
    """Each process refuses a duplicate name, also of a charger of another process."""
    for number in (0, 1):
        outcome = goe("serve", "carport=a", "carport=b", f"--shard={number}/2", "--config.check")
        assert outcome.status == 2
        assert "duplicate charger name 'carport'" in outcome.err


@pytest.mark.parametrize("command", ["serve", "push"])
def test_a_bad_shard_is_refused(goe: Goe, command: str, tmp_path: Path) -> None:
    """The error names the option and what is allowed."""
    config = push_config(tmp_path, "http://192.0.2.1", {"garage": "192.0.2.1"})
    outcome = goe(command, f"--config.file={config}", "--shard=2/2")
    assert outcome.status == 2
    assert "--shard: NUMBER must be 0 to 1 of 2, not 2 of '2/2'" in " ".join(outcome.err.split())


def test_metric() -> None:
    """The shard is a series of its own."""
    shown = Exposition(tuple, [lambda: sharding(Shard(2, 8))]).render()[0].decode()
    assert 'goe_exporter_shard_info{shard="2",shards="8"} 1.0\n' in shown


def test_a_process_has_its_own_chargers_only(launch: Launch, simulator: Simulator) -> None:
    """It polls and serves them alone; one whose shard is empty is ready, and has a page."""
    boxes = {name: simulator.add(charging("V4")) for name in (*FIRST, *SECOND)}
    hosts = [f"{name}={box.address}" for name, box in boxes.items()]
    first = Exporter(launch("serve", *hosts, "--shard=0/2", *LISTEN))
    wait_for(lambda: first.answer("-/ready") == (200, "ready\n"), "the first polls")
    shown = json.loads(first.get("api/v1/chargers"))["chargers"]
    assert [each["name"] for each in shown] == list(FIRST)
    assert {name for name in first.samples() if name.startswith("goe_up{")} == {
        f'goe_up{{charger="{name}"}}' for name in FIRST
    }
    assert first.value('goe_exporter_shard_info{shard="0",shards="2"}') == 1
    assert all(boxes[name].requests for name in FIRST)
    assert boxes["carport"].requests == 0
    empty = Exporter(launch("serve", *hosts[:3], "--shard=1/2", *LISTEN))
    assert empty.answer("-/ready") == (200, "ready\n")
    assert empty.answer("api/v1/chargers") == (200, '{"chargers":[]}')
    assert "<h1" in empty.get("")
    assert empty.command.end(signal.SIGTERM).status == 0


@pytest.mark.system
def test_each_process_pushes_its_own_points(
    launch: Launch, simulator: Simulator, tmp_path: Path
) -> None:
    """Two processes of one configuration deliver each charger's points, from a spool each."""
    hosts = {name: simulator.add(charging("V4")).address for name in (*FIRST, *SECOND)}
    (tmp_path / "server").mkdir()
    influxdb = InfluxDB(tmp_path / "server")
    config = push_config(tmp_path, influxdb.url, hosts, spool="spool")
    agents = []
    for number in (0, 1):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        command = ("push", f"--config.file={config}", f"--shard={number}/2", *LISTEN)
        agents.append(Exporter(launch(*command, within=("env", f"--chdir={folder}"))))
    with influxdb.up():
        wait_for(lambda: len({each["charger"] for each in influxdb.points()}) == 4, "points")
        for agent, own in zip(agents, (FIRST, SECOND), strict=True):
            shown = json.loads(agent.get("sd"))
            assert [each["labels"]["__param_target"] for each in shown] == list(own)
            assert agent.command.end(signal.SIGTERM).status == 0
        points = [(each["charger"], each["time"]) for each in influxdb.points()]
    assert len(points) == len(set(points))
    assert all((tmp_path / f"{number}/spool").is_dir() for number in (0, 1))
