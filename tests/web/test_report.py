"""The monthly report: its whole text, what it hides, and that text from outside stays text."""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from paths import GOLDEN
from session_stores import BERLIN, Record, autumn, session, slots, unix, write

from goe_exporter import __version__
from goe_exporter.config.strict_yaml import validated
from goe_exporter.sessions import books
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import FLAGS, Book, DayReading, Session
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web import pages
from goe_exporter.web.locale import LANGUAGES, Locale, translations
from goe_exporter.web.report import Contents

NOVEMBER = Period.month(date(2026, 11, 1), BERLIN)
SETTINGS: dict[str, Any] = {
    "time_zone": "Europe/Berlin",
    "tariffs": [
        {
            "since": "2026-11-01",
            "price": 0.31,
            "basis": "Contract 4711",
            "windows": [{"from": "22:00", "to": "06:00", "price": 0.2215, "days": "mon-fri"}],
        }
    ],
    "report": ["Employee: Anna Muster"],
}


def report(
    path: Path,
    records: list[Record],
    language: str = "en",
    *,
    cards: tuple[int, ...] = (),
    period: Period = NOVEMBER,
    names: dict[str, str] | None = None,
    settings: dict[str, Any] = SETTINGS,
) -> str:
    """Return the page of a month."""
    with Records(write(path / "sessions.db", records)) as store:
        accounts = books.accounts(store, period)
        wrong = {each.book.serial for each in accounts if books.difference_wh(store, each.book)}
    contents = Contents(
        period,
        accounts,
        wrong,
        cards,
        {"1": "Anna", "3": "Bert"} if names is None else names,
        validated(SessionSettings, settings, "FILE"),
        unix("2026-12-03 09:05"),
    )
    return pages.report(contents, Locale(language))


def beside(path: Path) -> Path:
    """Return another folder, for a second store."""
    other = path / "other"
    other.mkdir()
    return other


def words(page: str) -> str:
    """Return the text of a page, without its style, in one line."""
    body = page.partition("</head>")[2]
    return " ".join(unescape(re.sub("<[^>]*>", " ", body)).split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden(tmp_path: Path, language: str, update_golden: bool) -> None:
    """The page of a month in each language; `pytest --update-golden` updates it."""
    golden = GOLDEN / f"session_report.{language}.html"
    text = report(tmp_path, autumn(), language).replace(__version__, "VERSION")
    if update_golden:
        golden.write_text(text, encoding="utf-8", newline="\n")
    assert text == golden.read_text("utf-8")


def test_amounts(tmp_path: Path) -> None:
    """The amounts are those computed by hand, and the sum is theirs.

    4 kWh in the night to Sunday, 1 November, which the window does not cover, at 0.31 are 1.24.
    5.6 kWh at 0.31 are 1.736; 2 kWh at 0.31 and, from 22:00, 1 kWh at 0.2215 are 0.8415; 10.05 kWh
    at 0.31 are 3.1155.
    """
    text = words(report(tmp_path, autumn()))
    for amount in ("1.24", "1.74", "0.84", "3.12"):
        assert f" {amount} " in text
    assert "4 sessions 22.650 6.94 " in text
    assert "22:00–06:00, Mon Tue Wed Thu Fri 0.2215 1.000 " in text
    assert "other times 0.31 21.650 " in text


def test_readings_and_balance(tmp_path: Path) -> None:
    """The account of the month is there, with the readings that were calculated."""
    text = words(report(tmp_path, autumn(), "de"))
    assert "01.11.2026 00:00, berechnet 1.004,000 kWh" in text
    assert "01.12.2026 00:00, abgelesen 16,910 kWh" in text
    assert "In keinem Ladevorgang 0,310 kWh" in text
    assert "Korrekturen des Zählers −1.000,000 kWh" in text
    assert "Nicht beobachtet: 45 min, 0,750 kWh." in text
    assert "Zulassung des Zählers, wie die Wallbox sie meldet Keine" in text


def test_card_shows_no_other_sessions(tmp_path: Path) -> None:
    """With a card, the report lists only its sessions; the energy of all others is one sum."""
    text = words(report(tmp_path, autumn(), cards=(3,)))
    assert "Only sessions of: Bert" in text
    assert "Anna " not in text.replace("Employee: Anna Muster", "")
    assert "1 session 3.000 0.84" in text
    assert "In the sessions of this report 3.000 kWh" in text
    assert "In other sessions 9.600 kWh" in text
    assert "2026-11-05 18:00" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_wording(tmp_path: Path, language: str) -> None:
    """The report makes no legal claim: it never says that it conforms to a law."""
    text = words(report(tmp_path, autumn(), language))
    assert {"en": "meant to support a claim", "de": "die einen Antrag stützen soll"}[
        language
    ] in text
    assert re.search("(?i)konform|conform|compliant|certified|geeicht|rechtssicher", text) is None


class _Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_foreign_text_is_escaped(tmp_path: Path) -> None:
    """Names and texts from the configuration and the charger stay text everywhere."""
    evil = "</style></td><script>alert(1)</script><img src=x onerror='a'>{{ 7*7 }}\"&"
    records = [
        dataclasses.replace(each, charger=evil)
        if isinstance(each, Session | Book)
        else dataclasses.replace(each, certification=evil, model=evil, firmware=evil)
        if isinstance(each, DayReading)
        else each
        for each in autumn()
    ]
    settings = SETTINGS | {
        "report": [evil],
        "tariffs": [{"since": "2026-01-01", "price": 1, "basis": evil}],
    }
    page = report(tmp_path, records, cards=(1,), names={"1": evil}, settings=settings)
    seen, plain = _Tags(), _Tags()
    seen.feed(page)
    plain.feed(report(beside(tmp_path), autumn(), cards=(1,)))
    assert seen.tags == plain.tags
    assert seen.attributes == plain.attributes
    assert "49" not in page
    # Head, selected card, 2 chargers, 3 facts, charger and card of 2 sessions, basis.
    assert words(page).count(evil) == 12


def test_page_is_self_contained(tmp_path: Path) -> None:
    """It loads nothing and runs no script."""
    page = report(tmp_path, autumn())
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert re.search(r"src=|href=|url\(|@import|<script", page) is None


def test_hour_that_is_there_twice(tmp_path: Path) -> None:
    """Its times have the time zone."""
    found = session("2026-10-25 02:15", "2026-10-25 02:45", 0, slots("2026-10-25 02:15", 2, 100))
    later = dataclasses.replace(found, ended=found.ended + 3600)
    book = Book("garage", "212234", 2, unix("2026-10-01 00:00"), 0, unix("2026-11-02 00:00"), 200)
    text = words(report(tmp_path, [later, book], period=Period.month(date(2026, 10, 1), BERLIN)))
    assert "2026-10-25 02:15 CEST 2026-10-25 02:45 CET" in text


def test_warnings(tmp_path: Path) -> None:
    """The report says if a month was not fully recorded, or the books do not close."""
    records = [each for each in autumn() if not (isinstance(each, Session) and each.card == 3)]
    text = words(report(tmp_path, records))
    assert "do not add up to its meter; goe-exporter sessions check shows where." in text
    assert text.count("do not add up") == 1
    assert "The charger was recorded only from 2026-11-19 12:00 to 2026-12-01 00:00." in text
    assert text.count("recorded only") == 1


def test_without_tariffs_or_sessions(tmp_path: Path) -> None:
    """Without tariffs there are no amounts, and without sessions no table."""
    text = words(report(tmp_path, autumn(), settings={"time_zone": "Europe/Berlin"}))
    assert "EUR" not in text
    assert "Price basis" not in text
    book = Book("garage", "212234", 2, unix("2026-10-01 00:00"), 0, unix("2026-12-02 00:00"), 0)
    assert "Sessions No sessions." in words(report(beside(tmp_path), [book]))


def test_energy_before_the_first_tariff(tmp_path: Path) -> None:
    """It is shown for each session, and in total."""
    tariff = {"since": "2026-11-05", "price": 0.5}
    text = words(report(tmp_path, autumn(), settings=SETTINGS | {"tariffs": [tariff]}))
    assert "4.000 kWh have no price." in text
    assert "4.000 kWh were charged before the first price, on 2026-11-05, and are not in" in text
    assert "4 sessions 22.650 9.33 " in text


def test_every_flag_has_a_sentence() -> None:
    """Each flag of a session has a sentence in each language."""
    for language in LANGUAGES:
        known = {key for key in translations(language) if key.startswith("session_flag.")}
        assert known == {f"session_flag.{flag}" for flag in FLAGS}
