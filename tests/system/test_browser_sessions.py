"""The page of charging sessions and the report in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from browsers import Browser
from session_stores import autumn, session, slots, unix, write
from shown import CHARGING, IDLE, shown
from sites import Site

from goe_exporter.config.strict_yaml import validated
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web import session_page
from goe_exporter.web.content import SessionLog

pytestmark = pytest.mark.system

LONG = "<b>ABC-E 123</b> & " + "x" * 200


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a site with the sessions of two chargers, one of them with a card of a long name."""
    energies = slots("2026-11-25 08:00", 4, 9)
    long = session("2026-11-25 08:00", "2026-11-25 09:00", 0, energies, 2)
    store = write(tmp_path_factory.mktemp("store") / "sessions.db", [*autumn(), long])
    raw = {
        "store": str(store), "time_zone": "Europe/Berlin", "web": True,
        "tariffs": [{"since": "2026-11-01", "price": 0.31}],
    }  # fmt: skip
    settings = validated(SessionSettings, raw, "FILE")
    names = {"1": "Anna", "2": LONG}
    log = SessionLog(lambda: settings, lambda: names, lambda: unix("2026-12-02 12:00"))
    views = [shown("garage", CHARGING), shown("=yard;", IDLE)]
    with Site(lambda: views, sessions=log) as running:
        yield running


@pytest.mark.parametrize(("width", "dark"), list(product((320, 390, 1440, 2560), (False, True))))
def test_layout(browser: Browser, site: Site, width: int, dark: bool) -> None:
    """At every width, light and dark, in both languages, nothing overflows or is inaccessible."""
    for language, path in product(
        ("de-DE", "en-GB"), ("sessions", "sessions?month=2026-11&charger=garage&card=2")
    ):
        browser.be(width, dark=dark, language=language)
        browser.open(site.url + path)
        assert browser.run("document.documentElement.lang") == language
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.violations() == []
        assert browser.console() == []


def test_a_way_through(browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the overview, links lead to the sessions, to a month, a card, and back to all."""
    monkeypatch.setattr(session_page, "ROWS", 2)
    browser.be()
    browser.open(site.url)

    def click(text: str, awaited: str) -> None:
        found = f"[...document.querySelectorAll('a')].find((a) => a.innerText === '{text}')"
        browser.driver.execute_script(f"{found}.click()")
        browser.wait(f"document.readyState === 'complete' && ({awaited})", text)

    def starts() -> list[str]:
        return list(browser.run("[...document.querySelectorAll('.start')].map((e) => e.innerText)"))

    click("Charging sessions", "document.querySelector('.sessions')")
    assert starts() == ["2026-12-01 10:00", "2026-11-25 08:00", "2026-11-20 12:00"]
    click("Earlier sessions", "!document.body.innerText.includes('2026-11-25')")
    assert starts() == ["2026-11-05 20:00", "2026-11-05 18:00"]
    click("November 2026", "location.search === '?month=2026-11'")
    assert starts() == ["2026-11-25 08:00", "2026-11-20 12:00"]
    click("Anna", "location.search === '?month=2026-11&card=1'")
    assert starts() == ["2026-11-05 18:00", "2026-10-31 20:00"]
    click("Report", "document.querySelector('.signature')")
    assert "Only sessions of: Anna" in browser.text(".head")


def test_report(browser: Browser, site: Site) -> None:
    """The report has its own styles under the policy that the server sends, and logs nothing."""
    browser.be(language="de-DE")
    browser.open(f"{site.url}sessions/report?month=2026-11")
    assert browser.text("h1") == "Ladebericht November 2026"
    assert browser.run("getComputedStyle(document.querySelector('table')).borderCollapse") == (
        "collapse"
    )
    assert browser.console() == []
