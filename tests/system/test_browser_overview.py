"""The overview in a real Chromium: sorting, filtering, refreshing, and its layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from browsers import Browser
from servers import wait_for
from shown import BROKEN, CHARGING, HOSTILE, IDLE, shown
from sites import Site

from goe_exporter.polling.view import ChargerView, PollStats

pytestmark = pytest.mark.system

NAMES = "[...document.querySelectorAll('.overview tbody th a')].map((each) => each.textContent)"
FOCUSED = "document.activeElement.textContent"


def drawing(name: str, watts: float, polls: int = 9) -> ChargerView:
    """Return a charger that charges with this power, after a number of polls."""
    nrg = [*CHARGING["nrg"][:11], watts, *[99] * 4]  # type: ignore[index]
    view = shown(name, CHARGING | {"nrg": nrg})
    return replace(view, stats=PollStats(up=True, polls=polls), interval_seconds=0.2)


class Street:
    """A site of three chargers that charge and one with an error; `views` may change."""

    def __init__(self) -> None:
        self.views = [
            drawing("box 1", 3000),
            drawing("box 2", 9000),
            drawing("box 10", 6000),
            replace(shown("yard", BROKEN), interval_seconds=0.2),
        ]
        self.site = Site(lambda: self.views)

    def draw(self, *watts: float) -> None:
        """Let the first chargers be polled again, with these powers."""
        polls = self.views[0].stats.polls + 1
        for place, power in enumerate(watts):
            self.views[place] = drawing(self.views[place].name, power, polls)


@pytest.fixture
def street() -> Iterator[Street]:
    """Yield a site whose page is fetched five times a second."""
    made = Street()
    with made.site:
        yield made


@pytest.fixture
def page(browser: Browser, street: Street) -> Browser:
    """Return a browser that shows the street, and a mark that a new page would not have."""
    browser.be()
    browser.open(street.site.url)
    browser.driver.execute_script("window.kept = true")
    return browser


def wait_for_names(browser: Browser, names: Sequence[str]) -> None:
    """Wait until the rows are these chargers, in this order."""
    wait_for(lambda: browser.run(NAMES) == list(names), f"the rows {names}")


def press(browser: Browser, key: str) -> None:
    """Press a key."""
    text = {"text": "\r"} if key == "Enter" else {}
    browser.send("Key", type="keyDown", key=key, windowsVirtualKeyCode=13, **text)
    browser.send("Key", type="keyUp", key=key, windowsVirtualKeyCode=13)


def focus(browser: Browser, selector: str) -> None:
    browser.driver.execute_script("document.querySelector(arguments[0]).focus()", selector)


def kept(browser: Browser) -> bool:
    """Return whether the page was never loaded again."""
    return browser.run("window.kept") is True


def sorted_by(browser: Browser) -> list[list[str]]:
    """Return the text and the order of each heading that says how the rows are sorted."""
    found: list[list[str]] = browser.run(
        "[...document.querySelectorAll('[aria-sort]')].map((each) =>"
        " [each.textContent, each.ariaSort])"
    )
    return found


# Sorting


def test_sorting_by_click(page: Browser) -> None:
    """A click on a heading sorts without loading the page; the address has it, Back undoes it."""
    assert page.run(NAMES) == ["yard", "box 1", "box 2", "box 10"]
    assert sorted_by(page) == [["State", "ascending"]]
    page.run("[...document.querySelectorAll('thead a')][2].click()")
    wait_for_names(page, ["box 2", "box 10", "box 1", "yard"])
    assert sorted_by(page) == [["Power", "descending"]]
    assert page.run("location.search") == "?sort=power"
    page.run("[...document.querySelectorAll('thead a')][2].click()")
    wait_for_names(page, ["yard", "box 1", "box 10", "box 2"])
    assert sorted_by(page) == [["Power", "ascending"]]
    page.run("[...document.querySelectorAll('thead a')][0].click()")
    wait_for_names(page, ["box 1", "box 2", "box 10", "yard"])
    page.driver.back()
    wait_for_names(page, ["yard", "box 1", "box 10", "box 2"])
    assert kept(page)
    page.open(page.run("location.href"))
    assert page.run(NAMES) == ["yard", "box 1", "box 10", "box 2"]
    assert page.console() == []


def test_sorting_by_keyboard(page: Browser) -> None:
    """Enter on a heading sorts, the focus stays there, and Enter again reverses the order."""
    focus(page, "thead th:nth-child(3) a")
    press(page, "Enter")
    wait_for_names(page, ["box 2", "box 10", "box 1", "yard"])
    assert page.run(FOCUSED) == "Power"
    press(page, "Enter")
    wait_for_names(page, ["yard", "box 1", "box 10", "box 2"])
    assert page.run(FOCUSED) == "Power"
    assert kept(page)


def test_the_focus_follows_its_row(page: Browser, street: Street) -> None:
    """A refresh that moves the focused row keeps its element and the focus."""
    page.run("[...document.querySelectorAll('thead a')][2].click()")
    wait_for_names(page, ["box 2", "box 10", "box 1", "yard"])
    focus(page, "tbody tr:nth-child(1) a")
    page.driver.execute_script("window.row = document.activeElement.closest('tr')")
    for watts, names in (
        ((9000, 3000, 6000), ["box 1", "box 10", "box 2", "yard"]),
        ((8000, 9500, 6000), ["box 2", "box 1", "box 10", "yard"]),
    ):
        street.draw(*watts)
        wait_for_names(page, names)
        assert page.run(FOCUSED) == "box 2"
        assert page.run("document.activeElement.closest('tr') === window.row")
    assert page.text("tbody tr:nth-child(1)").startswith("box 2 Charging 9.50 kW")
    assert kept(page)


# Filtering


def test_filtering_by_state(page: Browser, street: Street) -> None:
    """A click on a state shows its chargers; refreshes keep that, and a reload too."""
    page.run("document.querySelector('.choices .charging').click()")
    wait_for_names(page, ["box 1", "box 2", "box 10"])
    assert page.run("location.search") == "?state=charging"
    assert page.text(".shown") == "3 of 4 shown"
    assert page.text(".choices [aria-current]") == "Charging 3"
    assert page.text(".fault li") == "yard Ground fault"
    street.draw(4000)
    page.wait_for_text("tbody tr td:nth-child(3)", "4.00 kW")
    assert page.text(".total").startswith("Total power 19.00 kW")
    stats = PollStats(up=True, polls=20)
    street.views[1] = replace(shown("box 2", IDLE), stats=stats, interval_seconds=0.2)
    wait_for_names(page, ["box 1", "box 10"])
    assert kept(page)
    page.open(page.run("location.href"))
    assert page.run(NAMES) == ["box 1", "box 10"]


def test_searching(page: Browser, street: Street) -> None:
    """Typing filters the rows; refreshes keep the text, the focus and the filter."""
    focus(page, "#search")
    page.driver.switch_to.active_element.send_keys("box 1")
    wait_for_names(page, ["box 1", "box 10"])
    assert page.run("location.search") == "?search=box+1"
    assert page.text("[role=status]") == "2 of 4 shown"
    street.draw(4000)
    page.wait_for_text("tbody tr td:nth-child(3)", "4.00 kW")
    assert page.run("document.activeElement.value") == "box 1"
    page.driver.switch_to.active_element.send_keys("0")
    wait_for_names(page, ["box 10"])
    page.run("[...document.querySelectorAll('thead a')][2].click()")
    page.wait("location.search === '?sort=power&search=box%2010'")
    assert kept(page)
    page.open(page.run("location.href"))
    assert page.run("document.querySelector('#search').value") == "box 10"
    assert page.run(NAMES) == ["box 10"]


def test_a_search_without_a_match(page: Browser) -> None:
    """If no charger matches, the page says so; a link shows all and empties the search box."""
    focus(page, "#search")
    page.driver.switch_to.active_element.send_keys("<b>&x=1")
    page.wait_for_text(".empty", "No charger matches the filter.")
    assert page.run("new URLSearchParams(location.search).get('search')") == "<b>&x=1"
    page.run("document.querySelector('.empty a').click()")
    wait_for_names(page, ["yard", "box 1", "box 2", "box 10"])
    assert page.run("document.querySelector('#search').value") == ""
    assert page.run("location.search") == ""
    assert kept(page)


def test_a_click_right_after_typing(page: Browser) -> None:
    """A click before the text was searched for keeps the text."""
    page.driver.execute_script(
        "const box = document.querySelector('#search'); box.value = 'box 1';"
        "box.dispatchEvent(new Event('input', { bubbles: true }));"
        "document.querySelector('.choices .charging').click()"
    )
    wait_for_names(page, ["box 1", "box 10"])
    assert page.run("location.search") == "?state=charging&search=box+1"


def test_a_new_tab(page: Browser) -> None:
    """A click with Ctrl is left to the browser, which opens another tab."""
    page.driver.execute_script(
        "window.left = 0; addEventListener('click', (event) => {"
        " if (!event.defaultPrevented) window.left += 1; event.preventDefault(); });"
        "document.querySelector('thead a').dispatchEvent("
        "new MouseEvent('click', { bubbles: true, cancelable: true, ctrlKey: true }))"
    )
    assert page.run("window.left") == 1
    assert page.run("location.search") == ""


def test_a_password_in_the_address(browser: Browser, street: Street) -> None:
    """Sorting works on a page opened as `http://user:password@host/`."""
    browser.be()
    browser.open(street.site.url.replace("//", "//user:password@"))
    browser.run("[...document.querySelectorAll('thead a')][2].click()")
    wait_for_names(browser, ["box 2", "box 10", "box 1", "yard"])
    assert browser.console() == []


def test_without_scripts(browser: Browser, street: Street) -> None:
    """Without JavaScript links sort and filter; the search box, which needs it, is hidden."""
    browser.be(scripts=False)
    try:
        browser.driver.get(f"{street.site.url}?state=charging&sort=power")
        wait_for(lambda: "3 of 4 shown" in browser.driver.page_source, "the page")
        source = browser.driver.page_source
    finally:
        browser.be()
    rows = source[source.index("<tbody>") :]
    places = [rows.index(f">{name}<") for name in ("box 2", "box 10", "box 1")]
    assert places == sorted(places)
    assert ">yard<" not in rows
    assert '<p class="search" data-own="" hidden="">' in source
    assert 'href="?sort=power&amp;order=ascending&amp;state=charging"' in source


def test_markup_in_names_and_in_the_address(browser: Browser) -> None:
    """Markup in a name or in the address is text, also after the page was filtered."""
    views = [shown(HOSTILE, BROKEN), shown("garage", IDLE)]
    browser.be(390)
    with Site(lambda: views) as site:
        browser.open(f"{site.url}?search=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
        assert browser.run("document.querySelector('#search').value").startswith('"><img')
        browser.run("document.querySelector('.empty a').click()")
        wait_for_names(browser, [HOSTILE, "garage"])
        browser.run("document.querySelector('.choices .error').click()")
        wait_for_names(browser, [HOSTILE])
        assert browser.run("document.querySelectorAll('img, main script').length") == 0
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert browser.console() == []


# Layout


def forty() -> list[ChargerView]:
    """Return forty chargers, each of five in another situation."""
    statuses = (CHARGING | {"wh": 113_220}, IDLE, BROKEN, IDLE | {"car": 4, "wh": 0}, None)
    views = []
    for place in range(1, 41):
        status = statuses[place % 5]
        name = f"Parking level {place // 20 + 1}, bay {place}"
        views.append(shown(name, status, age=1.0 if status else 700.0))
    return views


@pytest.mark.parametrize("language", ["de-DE", "en-GB"])
def test_a_phone(browser: Browser, language: str) -> None:
    """At 390 px nothing overflows, and a row is at most three lines of text high."""
    browser.be(390, language=language)
    with Site(forty) as site:
        browser.open(site.url)
        assert len(browser.run(NAMES)) == 40
        assert browser.run("document.documentElement.scrollWidth") <= 390
        heights = browser.run(
            "[...document.querySelectorAll('tbody tr')].map((each) => each.offsetHeight)"
        )
        line = 16 * 1.35
        assert max(heights) <= 3 * line + 20
        assert sorted(heights)[20] <= 2 * line + 20
        assert browser.run("document.querySelector('thead a').checkVisibility()")


@pytest.mark.parametrize("width", [390, 1440])
def test_figures_are_aligned(browser: Browser, width: int) -> None:
    """The figures of a column end at the same place and have digits of the same width."""
    browser.be(width)
    with Site(forty) as site:
        browser.open(site.url)
        for column in (3, 4, 5):
            ends, digits = browser.run(
                "((cells) => [cells.map((cell) => { const range = document.createRange();"
                " range.selectNodeContents(cell);"
                " return Math.round(range.getBoundingClientRect().right); }),"
                " cells.map((cell) => getComputedStyle(cell).fontVariantNumeric)])"
                "([...document.querySelectorAll(`tbody td:nth-child(${arguments[0]})`)])",
                column,
            )
            assert len(ends) == 40
            assert len(set(ends)) == 1
            assert set(digits) == {"tabular-nums"}


@pytest.mark.parametrize(("width", "dark"), [(390, True), (390, False), (1440, True)])
def test_accessibility(browser: Browser, width: int, dark: bool) -> None:
    """axe-core finds no serious problem, with a filter selected and without a match."""
    browser.be(width, dark=dark)
    with Site(forty) as site:
        for query in ("?sort=session&state=error", "?search=nowhere"):
            browser.open(site.url + query)
            assert browser.violations() == []


def test_an_outage_hides_the_summary(browser: Browser) -> None:
    """When the exporter does not answer, totals, counts and errors are hidden as well."""
    browser.be()
    views = [replace(view, interval_seconds=0.2) for view in forty()]
    with Site(lambda: views) as site:
        browser.open(site.url)
        assert browser.text(".total strong") == "84.24"
    browser.wait("'withheld' in document.body.dataset")
    assert browser.text(".total strong") == "–"
    assert browser.run("document.querySelector('.fault').checkVisibility()") is False
    counts = "new Set([...document.querySelectorAll('.choices b')].map((each) => each.innerText))"
    assert browser.run(f"[...{counts}]") == ["–"]


def test_a_thousand_chargers(browser: Browser) -> None:
    """With a thousand chargers, searching and sorting leave the page as it should be."""
    views = [drawing(f"bay {place}", 10 * place) for place in range(1, 1001)]
    views = [replace(view, interval_seconds=5.0) for view in views]
    browser.be()
    with Site(lambda: views) as site:
        browser.open(site.url)
        assert browser.text(".shown") == "1,000 of 1,000 shown"
        browser.run("[...document.querySelectorAll('thead a')][2].click()")
        page = "document.querySelector('tbody th').textContent === 'bay 1000'"
        browser.wait(f"{page} && document.querySelectorAll('tbody tr').length === 1000")
        focus(browser, "#search")
        browser.driver.switch_to.active_element.send_keys("bay 99")
        wait_for_names(
            browser,
            [*(f"bay {place}" for place in range(999, 989, -1)), "bay 99"],
        )
        assert browser.console() == []
