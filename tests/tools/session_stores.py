"""Session stores with typed content, as the exporter would write them."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from paths import FIXTURES

from goe_exporter.sessions import schema
from goe_exporter.sessions.session import Book, Correction, DayReading, Session, Unassigned

BERLIN = ZoneInfo("Europe/Berlin")

Record = Session | Unassigned | Correction | DayReading | Book


def unix(text: str) -> int:
    """Return the Unix time of a local time in Berlin."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp())


def created(path: Path) -> sqlite3.Connection:
    """Create a store without records, and return a connection to it."""
    connection = sqlite3.connect(path, isolation_level=None)
    schema.create(connection)
    return connection


def write(path: Path, records: Iterable[Record]) -> Path:
    """Write a store with records, and return its path."""
    connection = created(path)
    connection.execute("BEGIN")
    for record in records:
        table, row = _row(record)
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
    connection.execute("COMMIT")
    connection.close()
    return path


def of_version_1(path: Path) -> Path:
    """Create the store that `session_writer` wrote in version 1 up to second 520."""
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / "sessions_version_1.sql").read_text())
    connection.close()
    return path


def outbox(path: Path) -> dict[str, str]:
    """Return the lines that wait in a store for another sink, by the session's id."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT session, line FROM outbox ORDER BY rowid"))


def _row(each: Record) -> tuple[str, tuple[object, ...]]:
    if isinstance(each, Session):
        row = (each.id, each.charger, each.serial, each.started, each.ended, each.energy_wh)
        return "session", (*row, each.meter_wh, each.card, each.to_json())
    if isinstance(each, Unassigned):
        return "unassigned", (each.serial, each.start, each.charger, each.energy_wh)
    if isinstance(each, Correction):
        row = (each.serial, each.charger, each.time, each.before_wh, each.after_wh)
        return "correction", (*row, each.energy_wh, each.reason)
    if isinstance(each, DayReading):
        row = (each.serial, each.day, each.charger, each.time, each.meter_wh, each.mid_wh)
        return "reading", (*row, each.certification, each.model, each.firmware)
    under_way = each.under_way.to_json() if each.under_way else None
    row = (each.serial, each.charger, each.api, each.first_time, each.first_wh)
    return "tracked", (*row, each.last_time, each.last_wh, under_way, "{}")


def slots(first: str, count: int, energy_wh: int) -> tuple[tuple[int, int], ...]:
    """Return quarter hours of the same energy from a local time in Berlin on."""
    since = unix(first)
    return tuple((since + 900 * number, energy_wh) for number in range(count))


def session(
    started: str,
    ended: str,
    meter_start_wh: int,
    energies: tuple[tuple[int, int], ...],
    card: int | None = 1,
    flags: tuple[str, ...] = (),
    **more: Any,
) -> Session:
    """Return a session of the charger `garage` between local times in Berlin."""
    energy_wh = sum(energy for _, energy in energies)
    since = unix(started)
    found = Session(
        f"212234_{since}",
        "garage",
        "212234",
        2,
        since,
        unix(ended),
        energy_wh,
        meter_start_wh,
        meter_start_wh + energy_wh,
        energies,
        card,
        flags,
        charging_seconds=900 * len(energies),
        counter_wh=energy_wh,
        meter_wh=energy_wh,
        max_power_w=11_040,
    )
    return dataclasses.replace(found, **more)


def renamed() -> list[Record]:
    """Return the records of `autumn` after `garage` was renamed to `home`."""
    return [
        dataclasses.replace(each, charger="home")
        if isinstance(each, Book) and each.charger == "garage"
        else each
        for each in autumn()
    ]


def autumn() -> list[Record]:
    """Return the records of two chargers in autumn 2026.

    `garage` has a session over the end of October, one whose card changes, energy in no session, a
    meter that was reset, and a session under way in December. `yard` speaks API v1: its meter moves
    in kWh, its session counter does not.
    """
    over_the_end = slots("2026-10-31 22:00", 16, 500)
    anna = session(
        "2026-11-05 18:00:20",
        "2026-11-05 20:00:40",
        1_008_000,
        slots("2026-11-05 18:00", 8, 700),
        flags=("card_changed",),
    )
    other = session(
        "2026-11-05 20:00:40",
        "2026-11-05 23:00",
        1_013_600,
        slots("2026-11-05 20:00", 12, 250),
        3,
        flags=("card_changed", "end_not_seen"),
        unobserved_wh=750,
        unobserved_seconds=2_700,
        sources={"solar": 1_000, "grid": 2_000},
    )
    under_way = session(
        "2026-12-01 10:00", "2026-12-02 12:00", 16_910, slots("2026-12-01 10:15", 4, 1_000), 0
    )
    yard = Session(
        "999_1",
        "=yard;",
        "999",
        1,
        unix("2026-11-20 12:00"),
        unix("2026-11-20 16:00"),
        10_050,
        52_000,
        62_000,
        (*slots("2026-11-20 12:00", 10, 1_000), (unix("2026-11-20 14:30"), 50)),
        None,
        ("may_be_two",),
        9_300,
        counter_wh=10_050,
        meter_wh=10_000,
    )
    reset = unix("2026-11-10 12:00")
    return [
        session(
            "2026-10-31 20:00",
            "2026-11-01 08:00",
            1_000_000,
            over_the_end,
            flags=("start_not_seen",),
        ),
        anna,
        other,
        Unassigned("garage", "212234", unix("2026-11-06 12:00"), 310),
        Correction("garage", "212234", reset, 1_016_910, 16_910, -1_000_000, "meter_reset"),
        DayReading("garage", "212234", "2026-10-31", unix("2026-10-31 00:00") + 2, 1_000_000),
        DayReading("garage", "212234", "2026-11-02", unix("2026-11-02 00:00") + 2, 1_008_000),
        DayReading(
            *("garage", "212234", "2026-12-01", unix("2026-12-01 00:00") + 2, 16_910),
            *(None, "none", "go-eCharger V4", "60.3"),
        ),
        Book(
            *("garage", "212234", 2, unix("2026-10-30 12:00"), 1_000_000),
            *(unix("2026-12-02 12:00"), 20_910, under_way),
        ),
        yard,
        Book(
            *("=yard;", "999", 1, unix("2026-11-19 12:00"), 52_000),
            *(unix("2026-12-02 12:00"), 62_000),
        ),
    ]
