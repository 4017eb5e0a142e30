"""The live page in a real Chromium, with simulated chargers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from urllib.parse import quote

import pytest
from browsers import Browser
from servers import wait_for
from shown import BROKEN, CHARGING, HOSTILE, IDLE, an_hour, shown
from sites import Site

from goe_exporter.charger.client import Client
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.simulator import Car, Charger, Simulator
from goe_exporter.web import app, pages
from goe_exporter.web.history import History

pytestmark = pytest.mark.system

INTERVAL_SECONDS = 0.5


class Garage:
    """A simulated charger that is polled twice a second, and its history."""

    def __init__(self, simulator: Simulator, name: str = "garage") -> None:
        self.charger = Charger("V4")
        self.simulator = simulator
        self.box = simulator.add(self.charger)
        self.history = History()
        self.poller = Poller(
            name,
            self.box.address,
            Client(self.box.address),
            INTERVAL_SECONDS,
            sink=self.history.take,
        )
        self.scheduler = Scheduler([self.poller])
        self.looks = 0

    def views(self) -> list[ChargerView]:
        """Return what the page shows, and count the calls."""
        self.looks += 1
        return [self.poller.view()]

    def site(self, port: int = 0) -> Site:
        return Site(self.views, self.history, port)

    def do(self, action: Callable[[Charger], None]) -> None:
        """Change the charger as a person or a car would."""
        with self.box.lock:
            self.box.catch_up()
            action(self.charger)


@pytest.fixture
def garage(simulator: Simulator) -> Iterator[Garage]:
    """Yield a charger that is polled."""
    running = Garage(simulator)
    running.scheduler.start()
    yield running
    running.scheduler.stop(2)


FLEET = (
    shown("garage", CHARGING),
    shown("carport", IDLE),
    shown(HOSTILE, BROKEN),
    shown("yard", None, age=700.0),
    shown("barn", None, age=None),
    ChargerView("shed", "192.0.2.1", PollStats(), None, None),
)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Site]:
    """Yield a site of six chargers in six conditions, two of them with an hour of history."""
    with Site(lambda: FLEET, an_hour(["garage", HOSTILE])) as running:
        yield running


# Live updates


def test_a_day(browser: Browser, garage: Garage) -> None:
    """An open page follows the charger: idle, plugged in, charging, error, unplugged, down, up."""
    with garage.site() as site:
        browser.be(language="de-DE")
        browser.open(site.url)
        browser.wait_for_text(".state", "Kein Auto angesteckt")
        garage.do(lambda charger: setattr(charger, "force", 1))
        garage.do(lambda charger: charger.plug(Car(wait_s=1, battery_wh=60_000)))
        browser.wait_for_text(".state", "Wartet auf das Auto")
        browser.wait_for_text(".why", "Nicht freigegeben: von Hand ausgeschaltet")
        garage.do(lambda charger: setattr(charger, "force", 0))
        browser.wait_for_text(".state", "Lädt")
        browser.wait_for_text(".power", "kW")
        browser.wait("document.title.startsWith('Lädt, ')")
        seen = set()

        def moved() -> bool:
            seen.add((browser.text(".power strong"), browser.text("tbody tr td")))
            return len({power for power, _volts in seen}) >= 3

        wait_for(moved, "numbers that move")
        browser.wait("document.querySelectorAll('.chart:not([hidden]) path').length >= 7")
        garage.do(lambda charger: charger.inject(8))
        browser.wait_for_text(".state", "Störung")
        browser.wait_for_text(".fault", "Erdungsfehler Code 8")
        garage.do(Charger.clear_error)
        garage.do(Charger.unplug)
        browser.wait_for_text(".state", "Kein Auto angesteckt")
        assert browser.run("document.querySelector('.fault')") is None
        garage.box.fault = "reset"
        browser.wait_for_text(".fresh", "Letzte Antwort vor")
        browser.wait_for_text(".state", "Antwortet nicht")
        browser.wait_for_text(".advice", "Was zu prüfen ist")
        assert browser.run("document.querySelector('.power')") is None
        garage.box.fault = None
        browser.wait_for_text(".state", "Kein Auto angesteckt")
        browser.wait_for_text(".power", "0 W")
        assert browser.run("document.querySelector('.advice')") is None
        browser.wait_for_text(".fresh", "Gemessen vor")
        assert browser.console() == []


def test_an_exporter_outage(browser: Browser, garage: Garage) -> None:
    """During an outage the page shows an alarm with an age and hides old values; it recovers."""
    browser.be()
    with garage.site() as site:
        browser.open(site.url)
        browser.wait_for_text(".state", "No car plugged in")
        assert not browser.run("document.querySelector('#lost').offsetHeight")
    browser.wait_for_text("#lost", "The exporter does not answer. The values are")
    browser.wait_for_text(".power strong", "–")
    assert browser.run("document.querySelector('.state').innerText.trim()") in ("", "–")
    first = browser.text("#lost")
    browser.wait(f"document.querySelector('#lost').innerText !== {first!r}", "a growing age")
    with garage.site(site.port):
        browser.wait_for_text(".power", "0 W")
        browser.wait_for_text(".state", "No car plugged in")
        browser.wait("document.querySelector('#lost').hidden", "the alarm to end")
        assert not browser.run("'withheld' in document.body.dataset")


def test_a_hidden_page_sends_no_requests(browser: Browser, garage: Garage) -> None:
    """A page in a hidden tab sends no requests; it updates when it becomes visible."""
    browser.be()
    with garage.site() as site:
        browser.open(site.url)
        page = browser.driver.current_window_handle
        wait_for(lambda: garage.looks > 8, "a page with requests")
        browser.driver.switch_to.new_window("tab")
        other = browser.driver.current_window_handle
        try:
            wait_for(lambda: not _grows(garage, 3), "a page without requests")
            polls = garage.poller.view().stats.polls
            browser.driver.close()
        finally:
            browser.driver.switch_to.window(page)
        assert other != page
        looks = garage.looks
        wait_for(lambda: garage.looks > looks + 4, "new requests")
        assert polls > 0


def _grows(garage: Garage, cycles: int) -> bool:
    """Return whether a page was requested during a number of polls."""
    looks, polls = garage.looks, garage.poller.view().stats.polls
    wait_for(lambda: garage.poller.view().stats.polls >= polls + cycles, "polls")
    return garage.looks > looks


def test_pages_cost_the_charger_nothing(browser: Browser, garage: Garage) -> None:
    """With three open windows the charger gets one request per poll."""
    browser.be()
    with garage.site() as site:
        browser.open(site.url)
        first = browser.driver.current_window_handle
        for _window in range(2):
            browser.driver.switch_to.new_window("window")
            browser.open(site.url)
        began, started = time.monotonic(), garage.poller.view().stats.polls
        looks = garage.looks
        wait_for(
            lambda: garage.poller.view().stats.polls >= started + 12 and garage.looks >= looks + 12,
            "twelve polls and pages",
        )
        seen, cycles = garage.looks - looks, (time.monotonic() - began) / INTERVAL_SECONDS
        for window in browser.driver.window_handles:
            if window != first:
                browser.driver.switch_to.window(window)
                browser.driver.close()
        browser.driver.switch_to.window(first)
    assert garage.box.requests - garage.poller.view().stats.polls in (0, 1)
    assert garage.box.max_concurrent == 1
    # Per poll each window requests the page and its history, with at most two early retries.
    assert seen <= 3 * 4 * cycles + 12


QUICK = [replace(shown("garage", BROKEN), interval_seconds=0.2)]


@pytest.mark.parametrize(
    ("status", "body", "message", "hidden"),
    [
        (401, "", "The exporter denied access (status 401). Reload the page to log in.", False),
        (403, "", "The exporter denied access (status 403). Reload the page to log in.", False),
        (429, "", "Too many requests (status 429). The page retries automatically.", False),
        (500, "oh", "The answer is not a page of the exporter (status 500).", True),
        (200, "<h1>Log in", "The answer is not a page of the exporter (status 200).", True),
        (404, "Not Found", "The answer is not a page of the exporter (status 404).", True),
        (502, "Bad Gateway", "The exporter does not answer.", True),
    ],
)
def test_other_answers(
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    *,
    status: int,
    body: str,
    message: str,
    hidden: bool,
) -> None:
    """The page shows which answer it got instead of the exporter's page, and recovers."""
    browser.be()
    with Site(lambda: QUICK) as site:
        browser.open(site.url)
        with monkeypatch.context() as patched:
            patched.setattr(app, "_page", lambda *_any, **_more: app.HTMLResponse(body, status))
            browser.wait_for_text("#lost", message)
            if hidden:
                browser.wait_for_text(".power strong", "–")
            assert ("withheld" in browser.run("Object.keys(document.body.dataset)")) is hidden
            assert browser.text("h1") == "garage"
        browser.wait("document.querySelector('#lost').hidden", "the alarm to end")
        browser.wait_for_text(".power strong", "0")


def test_an_old_error_is_hidden(browser: Browser) -> None:
    """During an outage the page and its title do not show an error that may be over."""
    browser.be()
    fault = "document.querySelector('.fault').checkVisibility()"
    with Site(lambda: QUICK) as site:
        browser.open(site.url)
        assert browser.run(fault) is True
        assert browser.run("document.title") == "Error, 0\u00a0W – garage"
    browser.wait("'withheld' in document.body.dataset")
    assert browser.run(fault) is False
    assert browser.run("document.title") == "The exporter does not answer. – garage"


def test_a_stale_charger_stands_out(browser: Browser) -> None:
    """After a failed poll the state has the colour of the warning, unless there is an error."""
    failing = PollStats(up=False, reason="timeout", polls=9)
    browser.be()
    for status, warned in ((CHARGING, True), (BROKEN, False)):
        stale = replace(shown("garage", status), stats=failing)
        with Site(lambda stale=stale: [stale]) as site:  # type: ignore[misc]
            browser.open(site.url)
            state, fresh = browser.run(
                "['.hero .state', '.hero .fresh'].map((each) =>"
                " getComputedStyle(document.querySelector(each)).color)"
            )
        assert (state == fresh) is warned


def test_another_kind_of_page(browser: Browser) -> None:
    """An open page becomes the overview when a second charger is added, and back."""
    views = list(QUICK)
    browser.be()
    with Site(lambda: views) as site:
        browser.open(site.url)
        views.append(shown("carport", IDLE))
        browser.wait("document.querySelectorAll('.overview tbody tr').length === 2")
        views.pop()
        browser.wait("document.readyState === 'complete' && document.querySelector('.hero')")
        browser.wait("charts[0]?.figure.isConnected")


def test_a_removed_charger(browser: Browser) -> None:
    """The page of a removed charger shows that, until the charger is back."""
    views = list(QUICK)
    browser.be()
    with Site(lambda: views) as site:
        browser.open(f"{site.url}charger/garage")
        views.clear()
        browser.wait_for_text("h1", "There is no such charger.")
        browser.wait("document.readyState === 'complete'")
        views += QUICK
        browser.driver.execute_script("refresh()")
        browser.wait_for_text("h1", "garage")


def test_a_newer_exporter(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of the exporter an open page reloads once, with the new scripts."""
    browser.be()
    with Site(lambda: QUICK) as site:
        browser.open(site.url)
        browser.driver.execute_script("window.old = true")
        monkeypatch.setattr(pages, "__version__", "99.1")
        pages._process.cache_clear()
        browser.wait("!window.old && document.readyState === 'complete'", "a page loaded anew")
        assert "99.1" in browser.text("footer")
        browser.driver.execute_script("window.old = live.tag = 'x'")
        browser.wait("live.tag !== 'x'")
        assert browser.run("window.old") == "x"


# Appearance


@pytest.mark.parametrize(("width", "dark"), list(product((320, 768, 1440, 2560), (False, True))))
def test_layout(browser: Browser, fleet: Site, width: int, dark: bool) -> None:
    """At every width, light and dark, in both languages, nothing overflows or logs errors."""
    for language, name in product(("de-DE", "en-GB"), ("", "garage", HOSTILE, "yard")):
        browser.be(width, dark=dark, language=language)
        browser.open(fleet.url + (f"charger/{quote(name, safe='')}" if name else ""))
        browser.wait("!document.querySelector('.charts') || past.now > 0", "charts")
        assert browser.run("document.documentElement.lang") == language
        assert browser.run("document.documentElement.scrollWidth") <= width
        wide = browser.run(
            "[...document.querySelectorAll('body *')].filter((each) => each.offsetParent"
            " && !each.closest('.visually-hidden') && each.getBoundingClientRect().right >"
            " innerWidth + 1).map((each) => each.outerHTML.slice(0, 80))"
        )
        assert wide == []
        assert browser.console() == []


@pytest.mark.parametrize(("name", "dark"), list(product(("", "garage", HOSTILE, "barn"), (0, 1))))
def test_accessibility(browser: Browser, fleet: Site, name: str, dark: bool) -> None:
    """axe-core finds no serious problem with names, roles, tables or contrast."""
    browser.be(768, dark=dark, language="de-DE" if dark else "en-GB")
    browser.open(fleet.url + (f"charger/{quote(name, safe='')}" if name else ""))
    browser.wait("!document.querySelector('.charts') || past.now > 0", "charts")
    assert browser.violations() == []


def test_nothing_moves(browser: Browser, fleet: Site) -> None:
    """No animation runs; it would use the processor of a wall tablet."""
    browser.be()
    for path in ("", "charger/garage"):
        browser.open(fleet.url + path)
        assert browser.run("document.getAnimations().length") == 0


def test_a_hostile_name(browser: Browser) -> None:
    """A name with markup and 331 characters is shown as text, also after an update."""
    views = [shown(HOSTILE, CHARGING)]
    browser.be(320)
    with Site(lambda: views, an_hour([HOSTILE])) as site:
        browser.open(site.url)
        browser.wait("past.now > 0", "charts")
        assert browser.run("document.querySelector('h1').textContent") == HOSTILE
        assert browser.run("document.querySelectorAll('img').length") == 0
        views[0] = shown(HOSTILE, IDLE | {"fna": HOSTILE})
        browser.driver.execute_script("live.tag = ''; refresh()")
        browser.wait_for_text(".state", "No car plugged in")
        assert browser.run("document.title") == f"No car plugged in, 0\u00a0W – {HOSTILE}"
        details = browser.run("[...document.querySelectorAll('dd')].map((each) => each.innerText)")
        assert HOSTILE in details
        assert browser.run("document.querySelectorAll('img, main script').length") == 0
        assert browser.run("document.documentElement.scrollWidth") <= 320
        assert browser.console() == []


def test_without_scripts(browser: Browser, fleet: Site) -> None:
    """Without JavaScript the page has the current values and a link to reload."""
    browser.be(scripts=False, language="de-DE")
    try:
        browser.driver.get(f"{fleet.url}charger/garage")
        wait_for(lambda: "10,53 kW" in _source(browser), "the page")
        source = _source(browser)
    finally:
        browser.be()
    for text in ("Lädt", "3,22 kWh", "von 12,00 kWh Limit", "begrenzt durch die Einstellung"):
        assert text in source
    assert "Ohne JavaScript erneuert sich diese Seite nicht von selbst." in source


def _source(browser: Browser) -> str:
    return browser.driver.page_source.replace("\u00a0", " ").replace("&nbsp;", " ")


# Loading


def test_first_load_is_small(browser: Browser, fleet: Site) -> None:
    """The first load, including an hour of charts, transfers at most 40 kB."""
    browser.be()
    browser.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    browser.open(f"{fleet.url}charger/garage")
    browser.wait("past.now > 0", "charts")
    sizes: dict[str, int] = {}
    urls: dict[str, str] = {}

    def loaded() -> set[str]:
        for event in browser.records():
            details = event["params"]
            if event["method"] == "Network.responseReceived":
                urls[details["requestId"]] = details["response"]["url"]
            if event["method"] == "Network.loadingFinished":
                sizes[urls[details["requestId"]]] = details["encodedDataLength"]
        return {url.removeprefix(fleet.url).partition("?")[0] for url in sizes}

    wait_for(lambda: len(loaded()) >= 6, "all files")
    assert loaded() == {
        *("charger/garage", "assets/style.css", "assets/chart.js", "assets/live.js"),
        *("assets/icon.svg", "api/v1/chargers/garage/history"),
    }
    assert sum(sizes.values()) <= 40_000


def test_paint_does_not_wait_for_scripts(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are painted before the scripts have arrived."""
    release = threading.Event()
    asset = app._asset

    def slow(request: app.Request) -> app.Response:
        if request.url.path.endswith(".js"):
            release.wait(60)
        return asset(request)

    monkeypatch.setattr(app, "_asset", slow)
    browser.be()
    browser.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    with Site(lambda: [shown("garage", CHARGING)]) as site:
        try:
            browser.driver.get(site.url)
            painted = "performance.getEntriesByName('first-contentful-paint').length"
            browser.wait(f"document.querySelector('.power') && {painted}", "the first paint")
            assert browser.text(".power strong") == "10.53"
            assert browser.run("typeof live") == "undefined"
        finally:
            release.set()
        browser.wait("typeof live === 'object'", "the scripts")


# Charts


@pytest.fixture
def charts(browser: Browser, fleet: Site) -> Browser:
    """Return a browser that shows a page with an hour of history."""
    browser.be(language="de-DE")
    browser.open(f"{fleet.url}charger/garage")
    browser.wait("past.now > 0 && document.querySelector('.trace')", "charts")
    return browser


def test_gaps_are_gaps(charts: Browser) -> None:
    """Each line has two runs with nothing drawn between them."""
    paths = charts.run(
        "[...document.querySelectorAll('.trace')].map((each) => each.getAttribute('d'))"
    )
    assert len(paths) == 4 + 3 + 2
    assert [path.count("M") for path in paths] == [2] * 9
    axis = charts.run("[...document.querySelectorAll('.chart svg')][0].textContent")
    assert "12,5" in axis
    assert (
        charts.run("[...document.querySelectorAll('.chart svg text')].at(-1).textContent.length")
        == 5
    )


def test_values_at_a_moment(charts: Browser) -> None:
    """The pointer selects a moment in all charts; in a gap there are no values."""
    box = charts.run("document.querySelector('.plot').getBoundingClientRect().toJSON()")
    middle = {"x": box["x"] + 45, "y": box["y"] + box["height"] / 2}
    charts.send("Mouse", type="mouseMoved", **middle)
    charts.wait("document.querySelectorAll('.bead').length === 9")
    moments = charts.run(
        "[...document.querySelectorAll('.moment')].map((each) => each.textContent)"
    )
    assert len(set(moments)) == 1
    assert len(moments[0]) == len("12:34:56")
    assert charts.text(".legend").startswith("Gesamt 10,")
    gap = box["x"] + 40 + (box["width"] - 50) * 355 / 720
    charts.send("Mouse", type="mouseMoved", x=gap, y=middle["y"])
    charts.wait_for_text(".legend", "Gesamt kein Wert")
    charts.send("Mouse", type="mouseMoved", x=5, y=5)
    charts.wait("document.querySelectorAll('.bead').length === 0")


def test_values_by_keyboard(charts: Browser) -> None:
    """The arrow keys select moments, and screen readers get the values."""
    charts.driver.execute_script("document.querySelector('.plot').focus()")
    last = charts.run("document.activeElement.ariaValueText")
    assert "Gesamt 10," in last
    for _press in range(3):
        charts.send("Key", type="keyDown", key="ArrowLeft")
    charts.wait("document.activeElement.ariaValueNow === String(past.times.length - 4)")
    assert charts.run("document.activeElement.ariaValueText") != last
    charts.send("Key", type="keyDown", key="Home")
    charts.wait("document.activeElement.ariaValueNow === '0'")
    charts.send("Key", type="keyDown", key="Escape")
    charts.wait("document.querySelectorAll('.bead').length === 0")


def _powers(times: Sequence[float], now: float, interval: float) -> dict[str, object]:
    """Return a history in the API's format, with the time as power."""
    return {
        "interval_seconds": interval,
        "now_timestamp_seconds": now,
        "timestamps_seconds": list(times),
        "series": {"power": list(times)},
    }


def _merged(charts: Browser, *answers: dict[str, object]) -> list[float | None]:
    """Return the power after the page has merged these answers in order."""
    charts.driver.execute_script(
        "past.times = []; past.series = new Map(); past.loading = true;"
        "arguments[0].forEach(merge); drawAll()",
        answers,
    )
    values: list[float | None] = charts.run("past.series.get('power')")
    assert len(values) == charts.run("past.times.length")
    return values


def test_answers_that_overlap(charts: Browser) -> None:
    """A new answer replaces the rows of its own times and keeps the earlier ones."""
    first = _powers([1000.0, 1001.0, 1002.0, 1003.1], 1003.2, 1)
    second = _powers([1002.0, 1003.1, 1004.1], 1004.2, 1)
    assert _merged(charts, first, second) == [1000, 1001, 1002, 1003.1, 1004.1]


@pytest.mark.parametrize(("minutes", "span"), [(1, 2), (12, 15), (16, 20), (59, 60)])
def test_the_axis_is_filled(charts: Browser, minutes: int, span: int) -> None:
    """The time axis is not much longer than the history."""
    now = 1_000_000.0
    _merged(charts, _powers([now - 60 * minutes, now], now, 5))
    assert charts.run("past.now - charts[0].start") == 60 * span


@pytest.mark.parametrize(
    ("interval", "silence", "gap"), [(1, 14, False), (1, 16, True), (10, 29, False), (10, 31, True)]
)
def test_an_outage_is_a_gap(charts: Browser, interval: float, silence: float, gap: bool) -> None:
    """An outage of the exporter is a gap in the line."""
    first = _powers([1000.0, 1001.0], 1001.2, interval)
    second = _powers([1001.0 + silence, 1002.0 + silence], 1002.2 + silence, interval)
    third = _powers([1002.0 + silence, 1003.0 + silence], 1003.2 + silence, interval)
    hole = [None] if gap else []
    after = [1001 + silence, 1002 + silence, 1003 + silence]
    assert _merged(charts, first, second, third) == [1000, 1001, *hole, *after]
    assert (
        charts.run("document.querySelector('.trace').getAttribute('d').match(/M/g).length")
        == 1 + gap
    )


@pytest.mark.parametrize(("step", "asked"), [(0, [2]), (-86_400, [2, 60]), (7, [2, 60])])
def test_the_exporters_clock_is_set(charts: Browser, step: float, asked: list[int]) -> None:
    """When the exporter's clock is set, the page replaces its history by the whole hour."""
    charts.driver.execute_script("document.removeEventListener('refreshed', load)")
    charts.wait("!past.loading")
    found = charts.driver.execute_async_script(
        """
        const [before, after, done] = arguments;
        past.times = [];
        past.series = new Map();
        merge(before);
        const asked = [];
        lastMinutes = async (minutes) => { asked.push(minutes); return after; };
        load().then(() => done([asked, past.times]));
        """,
        _powers([1_000_000.0, 1_000_005.0], 1_000_006, 5),
        _powers([1_000_005.0 + step], 1_000_006 + step, 5),
    )
    assert found == [asked, [1_000_005 + step] if step else [1_000_000, 1_000_005]]


def test_power_that_flows_back(charts: Browser) -> None:
    """With negative power the axis includes 0, and numbers have a true minus sign."""
    answer = _powers([1000.0, 1005.0], 1006, 5) | {"series": {"power": [-2500.0, -1234.0]}}
    _merged(charts, answer)
    axis = charts.run(
        "[...document.querySelectorAll('.chart svg')][0].querySelectorAll('text[text-anchor=end]')"
        ".values().map((each) => each.textContent).toArray()"
    )
    assert axis[0] == "−2,5"
    assert axis[-1] == "0,0"
    assert charts.text(".legend") == "Gesamt −1,23 kW"
    assert charts.text(".summary") == "Gesamt: −2,50 kW bis −1,23 kW, zuletzt −1,23 kW"


@pytest.mark.parametrize(
    ("language", "text"), [("en-DE", "1,234.5"), ("de-AT", "1\u00a0234,5"), ("de-CH", "1’234.5")]
)
def test_numbers_in_charts(browser: Browser, fleet: Site, language: str, text: str) -> None:
    """Scripts format numbers with the same signs as the server."""
    browser.be(language=language)
    browser.open(f"{fleet.url}charger/garage")
    assert browser.run("number(1234.5, 1)") == text
    assert browser.run("number(-0.04, 1)") == text[-2].join("00")
    assert browser.run("number(1234567, 0)") == f"1{text[1]}234{text[1]}567"


def test_ranges_per_line(charts: Browser) -> None:
    """A chart's summary has the range of the total, or of each line if there is no total."""
    power, current, temperature = charts.run(
        "[...document.querySelectorAll('.summary')].map((each) => each.textContent)"
    )
    assert power.startswith("Gesamt: 10,")
    assert ";" not in power
    assert [part.split(":")[0] for part in current.split("; ")] == ["L1", "L2", "L3"]
    assert [part.split(":")[0] for part in temperature.split("; ")] == ["Platine", "Typ-2-Buchse"]


def test_screen_readers_are_not_interrupted(charts: Browser) -> None:
    """New rows do not change the text of a focused chart; a key press does."""
    said = "document.activeElement.ariaValueText"
    charts.driver.execute_script("document.querySelector('.plot').focus(); past.loading = true")
    before = charts.run(said)
    _merged(charts, _powers([1000.0, 1005.0], 1006, 5))
    assert charts.run(said) == before
    charts.send("Key", type="keyDown", key="ArrowLeft")
    charts.wait(f"{said}.endsWith('Gesamt 1,00\u00a0kW')")


def test_a_password_in_the_address(browser: Browser, garage: Garage) -> None:
    """A page opened as `http://user:password@host/` updates, including its charts."""
    browser.be()
    with garage.site() as site:
        browser.open(site.url.replace("//", "//user:password@"))
        browser.wait("past.now > 0", "charts")
        garage.do(lambda charger: charger.plug(Car(wait_s=0, battery_wh=60_000)))
        browser.wait_for_text(".state", "Charging")
        assert browser.console() == []


def test_one_history_request_at_a_time(charts: Browser) -> None:
    """The page sends no second history request before an answer; it retries after a failure."""
    charts.driver.execute_script("document.removeEventListener('refreshed', load)")
    charts.wait("!past.loading")
    asked = charts.driver.execute_async_script(
        """
        const done = arguments[0];
        let asked = 0;
        lastMinutes = async () => { asked += 1; throw new Error("timeout"); };
        const loads = [load(), load()];
        Promise.all(loads).then(load).then(() => done(asked));
        """
    )
    assert asked == 2
