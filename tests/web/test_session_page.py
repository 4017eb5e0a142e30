"""The page of charging sessions and its report: texts, selection, bounds, and foreign text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from servers import wait_for
from session_stores import Record, autumn, renamed, session, slots, unix, write
from sites import Reply, Site

from goe_exporter.config.strict_yaml import validated
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.sessions import schema
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web import pages, session_page, session_routes
from goe_exporter.web.content import SessionLog
from goe_exporter.web.locale import Locale
from goe_exporter.web.paths import Paths
from goe_exporter.web.session_page import SessionsPage, find
from goe_exporter.web.session_selection import Selection, selected

ENGLISH, GERMAN = Locale("en"), Locale("de")
NOW = unix("2026-12-02 12:00")
TODAY = date(2026, 12, 2)
HOSTILE = """<script>alert("1")</script>,;\t\x07&'"""
TARIFFS = [{"since": "2026-11-01", "price": 0.31, "basis": "Contract 4711"}]


def settings(path: Path, **more: Any) -> SessionSettings:
    """Return the settings of a store that is shown."""
    raw = {"store": str(path), "time_zone": "Europe/Berlin", "web": True, "tariffs": TARIFFS}
    return validated(SessionSettings, raw | more, "FILE")


def shown(
    path: Path, records: Iterable[Record], locale: Locale = ENGLISH, **chosen: Any
) -> SessionsPage:
    """Return the page of a store with these records on 2 December 2026."""
    store = path if path.exists() and path.is_file() else write(path / "sessions.db", records)
    with Records(store) as opened:
        found = find(
            opened, Selection(**chosen), settings(store), {"1": "Anna", "3": HOSTILE}, TODAY
        )
    return SessionsPage(found, locale)


def words(page: str) -> str:
    """Return the text of a page in one line."""
    body = page.partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub("<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def site(path: Path, **more: Any) -> Site:
    """Return a site with the sessions of a store, and with one charger."""
    view = ChargerView("garage", "192.0.2.1", PollStats(), None, None)
    found = settings(path)
    log = SessionLog(lambda: found, lambda: {"1": "Anna", "3": HOSTILE}, lambda: NOW)
    return Site(lambda: [view], sessions=log, **more)


# What is shown


def test_the_latest_sessions(tmp_path: Path) -> None:
    """Sessions are listed from the one under way on, with energy, amount, card and remarks."""
    page = shown(tmp_path, autumn())
    rows = [(row.start, row.plugged, row.card, row.energy, row.amount) for row in page.rows]
    assert rows == [
        ("2026-12-01 10:00", "26 h 0 min", "without a card", "4.000", "1.24"),
        ("2026-11-20 12:00", "4 h 0 min", "unknown", "10.050", "3.12"),
        ("2026-11-05 20:00", "2 h 59 min", HOSTILE, "3.000", "0.93"),
        ("2026-11-05 18:00", "2 h 0 min", "Anna", "5.600", "1.74"),
        ("2026-10-31 20:00", "12 h 0 min", "Anna", "8.000", "1.24"),
    ]
    assert page.rows[0].end == "under way"
    assert page.rows[2].note.startswith("Not observed: 45 min, 0.750 kWh.")
    assert page.earlier_url == page.latest_url == page.earlier_months_url == page.csv_url == ""


def test_sums_by_month_and_card(tmp_path: Path) -> None:
    """Months come with the latest first, and each links to its sessions and its report."""
    page = shown(tmp_path, autumn())
    assert [(each.label, each.sessions, each.energy, each.amount) for each in page.months] == [
        ("December 2026", "1", "4.000", "1.24"),
        ("November 2026", "3", "22.650", "7.03"),
        ("October 2026", "1", "4.000", "–"),
    ]
    november = page.months[1]
    assert november.url == "sessions?month=2026-11"
    assert november.report == "sessions/report?month=2026-11"
    assert [(each.label, each.sessions, each.energy) for each in page.cards] == [
        ("without a card", "1", "4.000"),
        ("Anna", "2", "13.600"),
        (HOSTILE, "1", "3.000"),
        ("unknown", "1", "10.050"),
    ]
    assert [each.url for each in page.cards] == [
        *("sessions?card=0", "sessions?card=1", "sessions?card=3", ""),
    ]
    assert page.cards_of == "since October 2026"


def test_a_month(tmp_path: Path) -> None:
    """A month has the parts of sessions inside, its cards, and the energy in no session."""
    page = shown(tmp_path, autumn(), month=date(2026, 11, 1))
    assert [(row.start, row.energy) for row in page.rows] == [
        ("2026-11-20 12:00", "10.050"),
        ("2026-11-05 20:00", "3.000"),
        ("2026-11-05 18:00", "5.600"),
        ("2026-10-31 20:00", "4.000"),
    ]
    assert page.rows[-1].note.startswith("Only the energy within the month; the whole session had")
    assert page.heading == page.cards_of == "November 2026"
    assert [(each.label, each.energy) for each in page.cards] == [
        *(("Anna", "9.600"), (HOSTILE, "3.000"), ("unknown", "10.050")),
    ]
    assert page.rest == [
        "0.310 kWh are in no session.",
        "Corrections of the meter: −1,000.000 kWh.",
    ]
    assert [each.url for each in page.months if each.is_selected] == ["sessions"]
    assert page.csv_url == "api/v1/sessions.csv?month=2026-11"


def test_a_charger_and_a_card(tmp_path: Path) -> None:
    """A selected card keeps the sums of the others, so that another one can be chosen."""
    page = shown(tmp_path, autumn(), GERMAN, charger="garage", card=1)
    assert [row.start for row in page.rows] == ["05.11.2026 18:00", "31.10.2026 20:00"]
    assert [(each.label, each.energy) for each in page.months] == [
        ("November 2026", "9,600"),
        ("Oktober 2026", "4,000"),
    ]
    assert [(each.label, each.url, each.is_selected) for each in page.cards] == [
        ("ohne Karte", "sessions?charger=garage&card=0", False),
        ("Anna", "sessions?charger=garage", True),
        (HOSTILE, "sessions?charger=garage&card=3", False),
    ]
    assert page.months[0].report == "sessions/report?month=2026-11&charger=garage&card=1"
    assert page.all_chargers_url == "sessions?card=1"


def test_a_renamed_charger(tmp_path: Path) -> None:
    """A charger that was renamed has its former sessions, whose links and reports still work."""
    page = shown(tmp_path, renamed(), charger="home", month=date(2026, 11, 1))
    assert [row.energy for row in page.rows] == ["3.000", "5.600", "4.000"]
    assert {(row.charger, row.charger_url) for row in page.rows} == {
        ("garage", "sessions?month=2026-11&charger=home")
    }
    assert [(each.label, each.energy) for each in page.months] == [
        ("December 2026", "4.000"),
        ("November 2026", "12.600"),
        ("October 2026", "4.000"),
    ]
    with site(tmp_path / "sessions.db") as running:
        report = running.ask("/sessions/report?month=2026-11&charger=home")
        document = running.ask("/api/v1/sessions?month=2026-11&charger=home").body
        assert running.ask("/sessions/report?month=2026-11&charger=garage").status == 404
    assert "12.600 kWh" in report.body.decode()
    assert [each["energy_kwh"] for each in json.loads(document)["sessions"]] == [3.0, 5.6, 4.0]


def test_a_month_long_ago(tmp_path: Path) -> None:
    """A month outside the last twelve is shown with those before it; a link leads there."""
    old = session("2025-03-03 10:00", "2025-03-03 12:00", 0, slots("2025-03-03 10:00", 4, 500))
    book = Book("garage", "212234", 2, unix("2025-03-01 00:00"), 0, NOW, 2_000)
    first = shown(tmp_path, [old, book])
    assert [row.start for row in first.rows] == ["2025-03-03 10:00"]
    assert first.months == []
    assert first.earlier_months_url == "sessions?month=2025-12"
    page = shown(tmp_path / "sessions.db", [], month=date(2025, 12, 1))
    assert [each.label for each in page.months] == ["March 2025"]
    assert page.rows == []
    assert page.earlier_months_url == ""


def test_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list continues at a link, and nothing is listed twice or left out."""
    monkeypatch.setattr(session_page, "ROWS", 2)
    page, seen = shown(tmp_path, autumn()), []
    store = tmp_path / "sessions.db"
    seen += [row.start for row in page.rows]
    while page.earlier_url:
        before = page.earlier_url.partition("before=")[2]
        page = shown(store, [], before=before)
        assert page.latest_url == "sessions"
        seen += [row.start for row in page.rows]
    assert seen == [
        *("2026-12-01 10:00", "2026-11-20 12:00", "2026-11-05 20:00", "2026-11-05 18:00"),
        "2026-10-31 20:00",
    ]


def test_too_many_sessions_to_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only months whose sessions are all read are summed; the page says that some are not."""
    monkeypatch.setattr(session_page, "MAX_SUMMED", 3)
    page = shown(tmp_path, autumn())
    assert [each.label for each in page.months] == ["December 2026"]
    assert page.cards_of == "since December 2026"
    assert not page.incomplete
    old = shown(tmp_path / "sessions.db", [], month=date(2026, 11, 1))
    assert old.incomplete
    assert (len(old.rows), old.cards) == (4, [])
    assert "too many sessions" in words(pages.sessions(old, ENGLISH))
    monkeypatch.setattr(session_page, "MAX_SUMMED", 0)
    assert shown(tmp_path / "sessions.db", []).incomplete


@pytest.mark.parametrize(
    "query",
    [
        *("month=x", "month=2026-13", "month=2026-11-01", "card=11", "card=-1", "card=x"),
        *("card=٣", "card=" + "1" * 5000, "nothing=1", "month=&card="),
    ],
)
def test_invalid_selection_is_ignored(query: str) -> None:
    """An invalid value in the URL of the page selects everything."""
    parameters = dict(part.split("=") for part in query.split("&"))
    assert selected(parameters) == Selection()


def test_selection_in_the_url() -> None:
    """What is selected is what its URL selects."""
    chosen = Selection(date(2026, 11, 1), "a&b=c/ä", 0, "212234_1")
    assert chosen.url == (
        "sessions?month=2026-11&charger=a%26b%3Dc%2F%C3%A4&card=0&before=212234_1"
    )
    given = {"month": "2026-11", "charger": "a&b=c/ä", "card": "0", "before": "212234_1"}
    assert selected(given) == chosen
    assert Selection().url == "sessions"


# On a server


def test_pages(tmp_path: Path) -> None:
    """The page and the report are served in the reader's language; no script comes from a name."""
    with site(write(tmp_path / "sessions.db", autumn())) as running:
        page = running.ask("/sessions", Accept_Language="de-DE")
        report = running.ask("/sessions/report?month=2026-11&card=1", Accept_Language="de-DE")
        live = running.ask("/", Accept_Language="de-DE")
    text = page.body.decode()
    assert page.status == 200
    assert page.headers["Content-Language"] == "de-DE"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Neueste Ladevorgänge" in words(text)
    assert "<script>alert" not in text
    assert HOSTILE in unescape(text)
    assert report.status == 200
    assert "Ladebericht November 2026" in report.body.decode()
    assert '<a href="sessions">Ladevorgänge</a>' in live.body.decode()


def test_policy_of_the_report(tmp_path: Path) -> None:
    """The report's own styles are allowed by their digest, and nothing else is."""
    with site(write(tmp_path / "sessions.db", autumn())) as running:
        policy = running.ask("/sessions/report?month=2026-11").headers["Content-Security-Policy"]
        other = running.ask("/sessions").headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy
    assert re.search(r"style-src 'sha256-[A-Za-z0-9+/]{43}='; ", policy)
    assert policy.endswith("frame-ancestors 'none'")
    assert "style-src 'self'; " in other
    assert other.endswith("frame-ancestors 'none'")


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("", 400, "A report covers one month; choose one on the page."),
        ("?month=2026-13", 400, "A report covers one month; choose one on the page."),
        ("?month=2019-01", 404, "No charger was recorded in this month."),
        ("?month=2026-11&charger=nobody", 404, "No charger was recorded in this month."),
    ],
)
def test_no_report(tmp_path: Path, query: str, status: int, text: str) -> None:
    """Without a month, or without anything recorded in it, a page says so."""
    with site(write(tmp_path / "sessions.db", autumn())) as running:
        reply = running.ask(f"/sessions/report{query}")
    assert reply.status == status
    assert text in words(reply.body.decode())
    assert 'href="../assets/style.css' in reply.body.decode()


def test_report_of_too_many_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that would be too long is not made."""
    monkeypatch.setattr(session_routes, "MAX_REPORTED", 3)
    with site(write(tmp_path / "sessions.db", autumn())) as running:
        reply = running.ask("/sessions/report?month=2026-11")
    assert reply.status == 400
    assert "choose a charger, or run goe-exporter sessions report" in words(reply.body.decode())


PATHS = ("/sessions", "/sessions/report?month=2026-11", "/api/v1/sessions", "/api/v1/sessions.csv")


def test_off_by_default() -> None:
    """Without the setting there is no such path, and no link leads there."""
    view = ChargerView("garage", "192.0.2.1", PollStats(), None, None)
    with Site(lambda: [view]) as running:
        assert [running.ask(path).status for path in PATHS] == [404] * 4
        assert "sessions" not in running.ask("/").body.decode()
        assert b"sessions" not in running.ask("/api/v1/openapi.json").body
    assert SessionSettings().web is False


def broken(kind: str, path: Path) -> Path:
    """Return the path of a store that cannot be read."""
    if kind == "missing":
        return path
    write(path, autumn())
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 40_960)
    elif kind == "newer":
        with closing(schema.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        path.write_text("hello")
    return path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "there is no such file"),
        ("damaged", "malformed"),
        ("newer", "newer"),
        ("foreign", "not a database"),
    ],
)
def test_a_store_that_cannot_be_read(tmp_path: Path, kind: str, reason: str, path: str) -> None:
    """The response is 503 with the reason; the other pages are not affected."""
    store = broken(kind, tmp_path / "sessions.db")
    with site(store) as running:
        reply: Reply = running.ask(path)
        assert running.ask("/metrics").status == 200
    text = unescape(reply.body.decode())
    assert reply.status == 503
    assert reason in text
    assert "Traceback" not in text
    assert not path.startswith("/sessions") or "The sessions cannot be shown" in text


def test_an_unknown_session(tmp_path: Path) -> None:
    """A link to a session that is not in the store is 404."""
    with site(write(tmp_path / "sessions.db", autumn())) as running:
        reply = running.ask("/sessions?before=x")
    assert reply.status == 404
    assert "This session does not exist." in words(reply.body.decode())


def test_a_scrape_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a page of sessions waits for the store, metrics and other pages are served."""
    store = write(tmp_path / "sessions.db", autumn())
    monkeypatch.setattr(session_routes, "READ_SECONDS", 60.0)
    with closing(schema.connect(store)) as writer, site(store) as running:
        writer.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(1) as others:
            waiting = others.submit(running.ask, "/sessions")
            wait_for(lambda: running.requests == 1, "the request")
            assert running.ask("/metrics").status == 200
            assert running.ask("/").status == 200
            assert not waiting.done()
            writer.execute("ROLLBACK")
            assert waiting.result().status == 200


@pytest.mark.parametrize("path", PATHS)
def test_read_only(tmp_path: Path, path: str) -> None:
    """Only GET and HEAD are allowed."""
    with site(write(tmp_path / "sessions.db", autumn())) as running:
        for method in ("POST", "PUT", "DELETE"):
            assert running.ask(path, method).status == 405
        head = running.ask(path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert running.ask(path, "OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_below_a_prefix(tmp_path: Path) -> None:
    """All links are relative, so that they lead below the prefix."""
    store = write(tmp_path / "sessions.db", autumn())
    with site(store, paths=Paths("/goe")) as running:
        page = running.ask("/goe/sessions?month=2026-11").body.decode()
        links = re.findall(r'(?:href|src)="([^"]*)"', page)
        assert not [link for link in links if link.startswith("/")]
        for link in {unescape(link) for link in links if "://" not in link and link[:1] != "#"}:
            assert running.ask(urljoin("/goe/sessions", link)).status == 200, link
        assert running.ask("/sessions").status == 404
