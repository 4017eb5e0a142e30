"""Sessions of a running exporter are points in a real InfluxDB: each of them, and each once."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import session_stores
import yaml
from commands import Launch
from disks import Disk
from exporters import LISTEN, Exporter
from servers import InfluxDB, push_config, wait_for

from goe_exporter.errors import UsageError
from goe_exporter.service.session_points import NUMBERS
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Session
from goe_exporter.simulator import Box, Car, Charger, Simulator

KILLS_PER_STATE = 2
"""Kills of the exporter before the server is stopped or started."""


def configuration(folder: Path, url: str, box: Box) -> Path:
    """Write a configuration with InfluxDB, spool and session store in a folder; return its file."""
    file = push_config(folder, url, {"garage": box.address}, tags={"house": "1"})
    document = yaml.safe_load(file.read_text())
    document["sessions"] = {"store": str(folder / "sessions.db")}
    document["cards"] = {1: "Anna"}
    document["chargers"][0]["labels"] = {"site": "home"}
    file.write_text(yaml.safe_dump(document))
    return file


def stored(folder: Path) -> list[Session]:
    """Return the closed sessions; none before the store exists."""
    try:
        with Records(folder / "sessions.db") as records:
            return list(records.sessions())
    except UsageError:
        return []


def waiting(folder: Path) -> int:
    """Return how many sessions wait in the store for InfluxDB."""
    return len(session_stores.outbox(folder / "sessions.db"))


def points(influxdb: InfluxDB) -> list[dict[str, Any]]:
    return influxdb.query("SELECT * FROM goe_session")


def charging() -> Charger:
    """Return a charger that charges with card 1; its car never becomes full."""
    charger = Charger("V4", serial="218042")
    charger.transaction = 1
    charger.plug(Car(battery_wh=1e9, soc=0.0))
    return charger


def change_cards(box: Box, until: Callable[[], bool]) -> None:
    """Use another card after each poll, which ends a session, until a condition is true."""
    asked = -1

    def is_over() -> bool:
        nonlocal asked
        if box.requests > asked:
            with box.lock:
                box.catch_up()
                box.charger.transaction = 3 - box.charger.transaction
            asked = box.requests
        return until()

    wait_for(is_over, "the end of changing cards")


def agree(found: list[dict[str, Any]], sessions: list[Session]) -> None:
    """Check that each session is one point, with the values of the store."""
    # Two sessions may end in the same second; InfluxDB returns them in the order of their cards.
    found = sorted(found, key=lambda point: (point["time"], point["id"]))
    sessions = sorted(sessions, key=lambda session: (session.ended, session.id))
    assert [point["id"] for point in found] == [session.id for session in sessions]
    for point, session in zip(found, sessions, strict=True):
        numbers = {name: number(session) for name, number in NUMBERS.items()}
        assert {name: point.get(name) for name in NUMBERS} == numbers
        assert point["time"] == session.ended * 1_000
        assert (point["charger"], point["serial"]) == ("garage", "218042")
        assert (point["site"], point["house"]) == ("home", "1")
        assert point["card"] == str(session.card)
        assert point.get("card_name") == ("Anna" if session.card == 1 else None)
        assert point["flags"] == " ".join(session.flags)


def test_sessions_survive_kills(launch: Launch, tmp_path: Path) -> None:
    """After kills at any moment, with the server up and down, each session is one point."""
    influxdb, chance = InfluxDB(tmp_path), random.Random(17)
    with Simulator(speed=20) as simulator:
        box = simulator.add(charging())
        config = configuration(tmp_path, influxdb.url, box)

        def live(until: Callable[[], bool]) -> None:
            exporter = launch("push", "--config", str(config))
            exporter.line("event=started")
            change_cards(box, until)
            exporter.process.kill()
            assert exporter.end().status == -signal.SIGKILL

        for server_is_up in (True, False, True, False):
            with influxdb.up() if server_is_up else contextlib.nullcontext():
                for _ in range(KILLS_PER_STATE):
                    end = time.monotonic() + chance.uniform(1.0, 4.0)
                    live(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
        live(lambda: waiting(tmp_path) > 0)
        before, waited = len(stored(tmp_path)), waiting(tmp_path)
        with influxdb.up():
            exporter = launch("push", "--config", str(config))
            exporter.line("event=started")
            change_cards(box, lambda: len(stored(tmp_path)) > before)
            wait_for(lambda: not waiting(tmp_path), "all lines in the queue")
            assert exporter.end(signal.SIGTERM).status == 0
            drained = launch("spool", "drain", "--config", str(config)).end()
            assert drained.status == 0, drained.err
            found, sessions = points(influxdb), stored(tmp_path)
            late = waiting(tmp_path)
            kinds = influxdb.query("SHOW FIELD KEYS FROM goe_session")
    agree(found, sessions[: len(sessions) - late])
    print(f"{len(sessions)} sessions, {waited} waited for the server, {late} still wait")
    types = {row["fieldKey"]: row["fieldType"] for row in kinds}
    assert types == dict.fromkeys(NUMBERS, "float") | dict.fromkeys(
        ("id", "flags", "card_name"), "string"
    )


def test_sessions_survive_a_full_disk(launch: Launch, tmp_path: Path, disk: Disk) -> None:
    """Sessions that end while the disk is full become points once there is room."""
    influxdb = InfluxDB(tmp_path)
    with Simulator(speed=20) as simulator, influxdb.up():
        box = simulator.add(charging())
        config = configuration(disk.folder, influxdb.url, box)
        exporter = Exporter(launch("serve", "--config", str(config), *LISTEN))
        change_cards(box, lambda: points(influxdb) != [])
        before = len(stored(disk.folder))

        def nothing_can_be_written() -> bool:
            disk.fill()
            return exporter.count("goe_session_store_failures_total") >= 4

        change_cards(box, nothing_can_be_written)
        disk.free()
        wait_for(lambda: len(stored(disk.folder)) > before, "the sessions on disk")
        wait_for(lambda: not waiting(disk.folder), "their lines in the queue")
        assert exporter.value("goe_sessions_lost_total") == 0
        outcome = exporter.command.end(signal.SIGTERM)
        assert (outcome.status, outcome.err.count("Traceback")) == (0, 0)
        drained = launch("spool", "drain", "--config", str(config)).end()
        assert drained.status == 0, drained.err
        sessions = stored(disk.folder)
        print(f"{before} sessions before the disk was full, {len(sessions)} in the end")
        agree(points(influxdb), sessions[: len(sessions) - waiting(disk.folder)])
