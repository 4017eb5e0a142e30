"""The charging sessions of the demo, as if it had been running for a month."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from goe_exporter.cli import demo, demo_sessions
from goe_exporter.sessions import books
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.simulator import Charger, fleet

BERLIN = ZoneInfo("Europe/Berlin")
NAMES = ("demo", "demo-2", "demo-3")


def chargers(number: int = 3) -> dict[str, Charger]:
    """Return the first chargers of the demo, whose stories have begun."""
    found = {}
    for name, member in zip(NAMES, fleet(number), strict=False):
        next(member.story)
        found[name] = member.charger
    return found


def written(folder: Path, now: datetime, number: int = 3) -> SessionSettings:
    """Write a store, and return its settings."""
    settings = demo_sessions.settings(folder).model_copy(update={"time_zone": BERLIN})
    demo_sessions.write(settings, chargers(number), now.timestamp())
    return settings


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Records]:
    """Yield what is recorded at noon on 30 November 2026."""
    settings = written(tmp_path, datetime(2026, 11, 30, 12, tzinfo=BERLIN))
    with Records(settings.path) as records:
        yield records


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 30, 12, tzinfo=BERLIN),
        datetime(2026, 3, 29, 0, 30, tzinfo=BERLIN),  # the clock is put forward in this night
        datetime(2026, 10, 25, 23, 59, tzinfo=BERLIN),  # it was put back in the last one
        datetime(2027, 1, 1, 0, 0, 1, tzinfo=BERLIN),
    ],
)
def test_the_books_close(tmp_path: Path, now: datetime) -> None:
    """At any time, all energy until the meters' present readings is in sessions without a flag."""
    settings = written(tmp_path, now)
    with Records(settings.path) as records:
        accounts = books.accounts(records, Period(None, None, BERLIN))
        assert [each.book.charger for each in accounts] == list(NAMES)
        for account, charger in zip(accounts, chargers().values(), strict=True):
            assert books.faults(records, account) == []
            assert (account.unassigned_wh, account.corrections_wh) == (0, 0)
            assert account.meter_end_wh == int(charger.energy_wh)
            assert {flag for each in account.entries for flag in each.session.flags} == set()
            assert account.until == int(now.timestamp())


def test_a_month_is_complete(opened: Records) -> None:
    """October has sessions of each charger, with the meters read at its beginning and its end."""
    for account in books.accounts(opened, Period.month(date(2026, 10, 1), BERLIN)):
        assert len(account.entries) >= 5
        assert account.start_read
        assert account.end_read
        assert not account.difference_wh
        assert account.latest is not None
        assert account.latest.model in ("go-eCharger_V4", "go-eCharger_Phoenix", "go-eCharger")
        assert any(each.session.unobserved_wh for each in account.entries) or (
            account.book.charger != "demo"
        )


def test_the_full_car_is_there(opened: Records) -> None:
    """The car that is full when the demo starts has been there, with the energy on its page."""
    charger = chargers()["demo-2"]
    under_way = {each.charger: each.under_way for each in opened.books() if each.under_way}
    assert set(under_way) == {"demo-2"}
    assert under_way["demo-2"].energy_wh == int(charger.session_wh) > 4_000


def test_every_run_is_the_same(tmp_path: Path) -> None:
    """At the same time, the same sessions are written."""

    def run(name: str) -> list[Session]:
        (tmp_path / name).mkdir()
        settings = written(tmp_path / name, datetime(2026, 11, 30, 12, tzinfo=BERLIN))
        with Records(settings.path) as records:
            return list(records.sessions())

    assert run("first") == run("second")


def test_one_charger(tmp_path: Path) -> None:
    """A demo of one charger has the history of the first."""
    settings = written(tmp_path, datetime(2026, 11, 30, 12, tzinfo=BERLIN), 1)
    with Records(settings.path) as records:
        assert {each.charger for each in records.sessions()} == {"demo"}


def test_no_place_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no temporary directory can be created, the demo has no sessions."""

    def fail(**_options: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    with contextlib.ExitStack() as stack:
        assert demo._sessions(stack, {}) is None
