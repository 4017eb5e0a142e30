"""Sums of a large session store: a month of 500,000 sessions, and the meter's reading before it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.poll import side_by_side
from goe_exporter.sessions import books, ledger, schema, selection
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.tariff import Rates, Tariff, Window

SESSIONS = 500_000
CHARGERS = 100
YEARS = 3
FIRST = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
SLOTS = 12
SLOT_WH = 900
ZONE = ZoneInfo("Europe/Berlin")
MONTH = Period.month(date(2026, 11, 1), ZONE)
TURNS = 5


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "sessions.db"
        _fill(store)
        work = {
            "reading the month's rows": lambda: _bare(store),
            "a month's sum by card": lambda: _by_card(store),
            "a month's account of one charger": lambda: _account(store),
        }
        (baseline, floor), *costs = side_by_side(work, calls=1, rounds=TURNS).items()
        for what, seconds in costs:
            yield (
                f"{what}, {SESSIONS:,} sessions",
                f"{seconds * 1e3:.0f} ms of CPU",
                f"{seconds / floor:.1f} × {baseline}",
            )


def _fill(store: Path) -> None:
    """Write a store whose sessions are spread evenly over chargers and years."""
    connection = sqlite3.connect(store, isolation_level=None)
    schema.create(connection)
    connection.execute("BEGIN")
    apart = YEARS * 365 * 86_400 * CHARGERS // SESSIONS
    energy_wh = SLOTS * SLOT_WH
    for charger in range(CHARGERS):
        serial = f"{212000 + charger}"
        connection.executemany(
            "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_row(serial, number, apart) for number in range(SESSIONS // CHARGERS)),
        )
        total_wh = SESSIONS // CHARGERS * energy_wh
        end = FIRST + apart * (SESSIONS // CHARGERS)
        connection.execute(
            "INSERT INTO tracked VALUES (?, ?, 2, ?, 0, ?, ?, NULL, '{}')",
            (serial, f"c{serial}", FIRST, end, total_wh),
        )
    connection.execute("COMMIT")
    connection.close()


def _row(serial: str, number: int, apart: int) -> tuple[object, ...]:
    started = FIRST + number * apart
    first = started // 900 * 900
    energy_wh = SLOTS * SLOT_WH
    meter = number * energy_wh
    session = Session(
        f"{serial}_{started}",
        f"c{serial}",
        serial,
        2,
        started,
        started + SLOTS * 900,
        energy_wh,
        meter,
        meter + energy_wh,
        tuple((first + 900 * slot, SLOT_WH) for slot in range(SLOTS)),
        number % 4,
        charging_seconds=SLOTS * 900,
        counter_wh=energy_wh,
        meter_wh=energy_wh,
        max_power_w=11_000,
    )
    columns = (session.charger, session.serial, session.started, session.ended)
    return (session.id, *columns, energy_wh, energy_wh, session.card, session.to_json())


def _bare(store: Path) -> None:
    """Read the rows of the month, and do nothing with them."""
    connection = sqlite3.connect(store)
    rows = connection.execute(
        "SELECT doc FROM session WHERE ended >= ? AND started < ?", (MONTH.since, MONTH.until)
    ).fetchall()
    assert rows
    connection.close()


def _by_card(store: Path) -> None:
    night = Window(22 * 60, 6 * 60, frozenset(range(7)), Decimal("0.22"))
    rates = Rates([Tariff(date(2024, 1, 1), Decimal("0.34"), "", (night,))], ZONE)
    with Records(store) as records:
        lines = ledger.lines("card", selection.entries(records, MONTH), rates)
    assert len(lines) == 4


def _account(store: Path) -> None:
    with Records(store) as records:
        (account,) = books.accounts(records, MONTH, ["212007"])
        assert books.difference_wh(records, account.book) == 0
    assert account.closes
