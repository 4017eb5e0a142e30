"""The overview: its totals, counts and errors, and the rows in the order the reader selected."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from shown import BROKEN, CHARGING, HOSTILE, IDLE, shown
from sites import Site

from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.web import pages
from goe_exporter.web.locale import Locale
from goe_exporter.web.overview import Overview, Selection, overview, selection

GERMAN, ENGLISH = Locale("de-DE"), Locale("en")
FAILED = PollStats(up=False, reason="timeout", polls=9)


def drawing(name: str, watts: float | None, **status: object) -> ChargerView:
    """Return a charger that charges with this power."""
    nrg = [230, 230, 230, 1, *[0] * 7, watts, *[0] * 4]
    return shown(name, CHARGING | {"nrg": nrg} | status)


FLEET = (
    drawing("Box 10", 10_530, wh=12_000),
    drawing("Box 2", 3_680, wh=900),
    replace(drawing("Box 1", 7_200, wh=4_000), stats=FAILED, age=8.0),
    shown("Äpfel", IDLE | {"wh": None}),
    shown("Zoo", IDLE | {"car": 3}),
    shown("Bad", BROKEN),
    shown("Yard", IDLE | {"car": 4}, age=2.0),
    shown("Barn", None, age=700.0),
    shown("Shed", None, age=None),
    ChargerView("New", "192.0.2.9", PollStats(), None, None, labels={"site": "Attic"}),
    shown("Mute", {"amp": 16}),
)
"""Eleven chargers in all situations."""


def seen(locale: Locale = ENGLISH, **parameters: str) -> Overview:
    """Return the overview of the fleet with these parameters in its URL."""
    return overview(FLEET, locale, selection(parameters))


def names(found: Overview) -> list[str]:
    return [row.name for row in found.rows]


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


# The total


@pytest.mark.parametrize(
    ("watts", "total", "note"),
    [
        ([10_530, 3_680, 0], "14.21 kW", ""),
        ([400, 300], "700 W", ""),
        ([7_200], "7.20 kW", ""),
        ([0, 0], "0 W", ""),
        ([-2_000, 500], "−1.50 kW", ""),
        ([10_530, None], "10.53 kW", "of 1 of 2 chargers; the others report no power"),
        ([0, None, None], "0 W", "of 1 of 3 chargers; the others report no power"),
        ([None, None], "–", "no charger reports its power"),
    ],
)
def test_total_power(watts: Sequence[float | None], total: str, note: str) -> None:
    """The total is of the chargers that report a power; without any it is absent, not 0."""
    views = [drawing(f"Box {place}", power) for place, power in enumerate(watts)]
    found = overview(views, ENGLISH, Selection())
    assert (plain(found.total.text), found.total_note) == (total, note)


def test_total_power_of_a_fleet() -> None:
    """Chargers that do not answer have no power; one that missed a poll still has its last one."""
    found = seen(GERMAN)
    assert plain(found.total.text) == "21,41 kW"
    assert found.total_note == "von 7 der 11 Wallboxen; die übrigen melden keine Leistung"


def test_the_total_is_of_all_chargers() -> None:
    """A filter changes neither the total nor the counts nor the errors."""
    everything, some = seen(), seen(state="idle", search="a", sort="age")
    assert some.total == everything.total
    assert some.troubles == everything.troubles
    assert [each.number for each in some.choices] == [each.number for each in everything.choices]


# Counts by state


def test_counts_by_state() -> None:
    """Every charger is counted in one state; empty states are left out, the urgent are first."""
    choices = [(each.label, each.number, each.url) for each in seen().choices]
    assert choices == [
        ("All", "11", "./"),
        ("Error", "1", "?state=error"),
        ("Offline", "2", "?state=offline"),
        ("Unknown", "1", "?state=unknown"),
        ("Charging", "3", "?state=charging"),
        ("Waiting", "1", "?state=waiting"),
        ("Finished", "1", "?state=complete"),
        ("No car", "1", "?state=idle"),
        ("Not polled yet", "1", "?state=pending"),
    ]


def test_a_selected_state_without_chargers() -> None:
    """The selected state stays among the choices when its last charger leaves it."""
    found = overview([shown("garage", IDLE)] * 2, ENGLISH, selection({"state": "error"}))
    choices = [(each.label, each.number, each.selected) for each in found.choices]
    assert choices == [("All", "2", False), ("Error", "0", True), ("No car", "2", False)]
    assert (found.rows, found.shown) == ((), "0 of 2 shown")


# Errors


@pytest.mark.parametrize("query", [{}, {"sort": "name"}, {"state": "idle"}, {"search": "zoo"}])
def test_errors_are_listed_by_name(query: dict[str, str]) -> None:
    """Each charger with an error is listed with the error's name, whatever is selected."""
    (trouble,) = seen(**query).troubles
    assert trouble == ("Bad", "Bad", "Ground fault")
    (trouble,) = seen(GERMAN, **query).troubles
    assert trouble.error == "Erdungsfehler"


def test_an_error_while_charging() -> None:
    """A charger that charges with an error is counted and listed under its error."""
    views = [drawing("a", 5_000, err=3), drawing("b", 5_000)]
    found = overview(views, ENGLISH, Selection())
    assert [each[2:4] for each in found.choices[1:]] == [("Error", "1"), ("Charging", "1")]
    assert found.troubles == (("a", "a", "Phase fault"),)
    assert found.rows[0].state == "Charging"


def test_an_error_without_a_name() -> None:
    """A charger in the state Error whose error is absent is listed by its state."""
    found = overview([shown("a", BROKEN | {"err": None}), FLEET[0]], ENGLISH, Selection())
    assert found.troubles == (("a", "a", "Error"),)


def test_many_errors() -> None:
    """Ten errors are listed, and a link leads to all of them."""
    views = [shown(f"Box {place}", BROKEN) for place in range(1, 1013)]
    found = overview(views, GERMAN, selection({"search": "box 7", "sort": "power"}))
    assert [each.name for each in found.troubles] == [f"Box {place}" for place in range(1, 11)]
    assert (found.more, found.more_url) == ("und 1.002 weitere", "?state=error")
    assert overview(views[:10], GERMAN, Selection()).more == ""


# Order


@pytest.mark.parametrize(
    ("sort", "order", "expected"),
    [
        (
            "state",
            "ascending",
            "Bad Barn Shed Mute|Box 10|Box 2|Box 1|Zoo Yard Äpfel New",
        ),
        (
            "state",
            "descending",
            "New Äpfel Yard Zoo|Box 10|Box 2|Box 1|Mute Barn Shed Bad",
        ),
        ("name", "ascending", "Äpfel Bad Barn|Box 1|Box 2|Box 10|Mute New Shed Yard Zoo"),
        ("name", "descending", "Zoo Yard Shed New Mute|Box 10|Box 2|Box 1|Barn Bad Äpfel"),
        ("power", "descending", "|Box 10|Box 1|Box 2|Äpfel Zoo Bad Yard Barn Shed New Mute"),
        ("power", "ascending", "Äpfel Zoo Bad Yard|Box 2|Box 1|Box 10|Barn Shed New Mute"),
        ("session", "descending", "|Box 10|Box 1|Zoo Bad Yard|Box 2|Äpfel Barn Shed New Mute"),
        ("session", "ascending", "|Box 2|Zoo Bad Yard|Box 1|Box 10|Äpfel Barn Shed New Mute"),
        ("age", "descending", "Barn|Box 1|Yard|Box 10|Box 2|Äpfel Zoo Bad Mute Shed New"),
        ("age", "ascending", "|Box 10|Box 2|Äpfel Zoo Bad Mute Yard|Box 1|Barn Shed New"),
    ],
)
def test_every_order(sort: str, order: str, expected: str) -> None:
    """Errors are first by state, `Box 2` is before `Box 10`, absent values are always last.

    Chargers that do not differ stay in the order of the configuration.
    """
    wanted = [
        name
        for part in expected.split("|")
        for name in ([part] if part.startswith("Box") else part.split())
    ]
    assert names(seen(sort=sort, order=order)) == wanted


def test_headings() -> None:
    """The sorted column's link reverses its order, the others begin with the useful order."""
    headings = seen(sort="power", state="charging").headings
    assert headings == (
        ("Charger", "?sort=name&state=charging", ""),
        ("State", "?state=charging", ""),
        ("Power", "?sort=power&order=ascending&state=charging", "descending"),
        ("This session", "?sort=session&state=charging", ""),
        ("Data age", "?sort=age&state=charging", ""),
    )
    assert seen().headings[1] == (
        "State",
        "?sort=state&order=descending",
        "ascending",
    )


@pytest.mark.parametrize("name", ["9" * 5000, "²³", "٣ 4", "", "Box 007", "7", "x7y"])
def test_names_with_numbers(name: str) -> None:
    """Any name can be sorted beside any other."""
    views = [shown(each, IDLE) for each in (name, "Box 7", "7 Box", name)]
    assert len(overview(views, ENGLISH, selection({"sort": "name"})).rows) == 4


# Filter


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "charging"}, ["Box 10", "Box 2", "Box 1"]),
        ({"state": "offline"}, ["Barn", "Shed"]),
        ({"search": "box 1"}, ["Box 10", "Box 1"]),
        ({"search": "BOX 10"}, ["Box 10"]),
        ({"search": " äp "}, ["Äpfel"]),
        ({"search": "A\u0308p"}, ["Äpfel"]),
        ({"search": "192.0.2.9"}, ["New"]),
        ({"search": "attic"}, ["New"]),
        ({"search": "attic", "state": "idle"}, []),
        ({"search": "site"}, []),
    ],
)
def test_filter(query: dict[str, str], expected: list[str]) -> None:
    """The text is searched for in the name, the address and the values of the labels."""
    found = seen(**query)
    assert names(found) == expected
    assert found.shown == f"{len(expected)} of 11 shown"


@pytest.mark.parametrize(
    ("parameters", "selected"),
    [
        ({}, Selection()),
        ({"sort": "power"}, Selection("power", "descending")),
        ({"sort": "power", "order": "ascending"}, Selection("power", "ascending")),
        ({"order": "descending"}, Selection("state", "descending")),
        ({"sort": "colour", "order": "up", "state": "none", "search": " "}, Selection()),
        ({"search": " a  b "}, Selection(search="a  b")),
        ({"search": "x" * 100}, Selection(search="x" * 100)),
        ({"search": "x" * 101}, Selection()),
        ({"utm_source": "x"}, Selection()),
    ],
)
def test_selection(parameters: dict[str, str], selected: Selection) -> None:
    """Unknown values are ignored."""
    assert selection(parameters) == selected


@pytest.mark.parametrize(
    ("selected", "url"),
    [
        (Selection(), "./"),
        (Selection("power", "descending"), "?sort=power"),
        (Selection("power", "ascending"), "?sort=power&order=ascending"),
        (Selection("name", "ascending"), "?sort=name"),
        (Selection("state", "descending"), "?sort=state&order=descending"),
        (Selection(search="a&b=ü #"), "?search=a%26b%3D%C3%BC%20%23"),
    ],
)
def test_addresses(selected: Selection, url: str) -> None:
    """The address is relative, so that it is right below any prefix."""
    assert selected.url == url


# The page


def test_the_page() -> None:
    """The page has the total, the counts, the errors and the rows, typed as a reader sees them."""
    page = pages.overview(FLEET, GERMAN)
    body = re.sub(r"<(symbol|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    words = " ".join(plain(html.unescape(re.sub("<[^>]*>", " ", body))).split())
    for text in (
        "Gesamtleistung 21,41 kW von 7 der 11 Wallboxen; die übrigen melden keine Leistung",
        "Alle 11 Störung 1 Offline 2 Unbekannt 1 Lädt 3 Wartet 1 Beendet 1 Kein Auto 1",
        "Störungen Bad Erdungsfehler",
        "11 von 11 angezeigt",
        "Bad Störung Erdungsfehler 0 W 3,22 kWh 1 s",
        "Barn Antwortet nicht hat nicht rechtzeitig geantwortet – – 12 min",
        "Box 1 Lädt hat nicht rechtzeitig geantwortet 7,20 kW 4,00 kWh 8 s",
        "New Noch nicht gefragt – – –",
    ):
        assert text in words


def test_markup_is_text() -> None:
    """Names, labels and the search text cannot add markup; scripts and styles are files."""
    views = [shown(HOSTILE, BROKEN), shown("garage", IDLE)]
    page = pages.overview(views, ENGLISH, selection({"search": HOSTILE[:35]}))
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;xx") >= 4
    assert not re.search(r"<form|<button|style=|\son\w+=\"|javascript:", page)
    assert all("src=" in tag for tag in re.findall("<script[^>]*>", page))


def test_links_are_relative() -> None:
    """All links but the documentation's are relative, so that they are right below a prefix."""
    page = pages.overview(FLEET, ENGLISH, selection({"sort": "power", "search": "//x"}))
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) > 20
    absolute = [link for link in links if link.startswith("/") or "//" in link.partition("?")[0]]
    assert absolute == ["https://github.com/goe-exporter/goe-exporter#readme"]


def test_the_tag_depends_on_the_selection() -> None:
    """A page with another selection is another page; the same selection is not sent again."""
    with Site(lambda: FLEET) as site:
        tag = site.ask("/?state=charging").headers["ETag"]
        assert site.ask("/?state=charging", If_None_Match=tag).status == 304
        assert site.ask("/?state=charging&x=1", If_None_Match=tag).status == 304
        assert site.ask("/", If_None_Match=tag).status == 200
        reply = site.ask("/?state=charging&sort=power", If_None_Match=tag)
        assert reply.status == 200
        assert "Box 10" in reply.body.decode()
        assert "Barn" not in reply.body.decode()


def test_a_thousand_chargers() -> None:
    """The page of a thousand chargers has less than 600 kB, a filtered one less than 20 kB."""
    views = [drawing(f"Box {place}", 3_680) for place in range(1, 1001)]
    page = pages.overview(views, ENGLISH)
    assert page.count('<tr class="charging"') == 1000
    assert len(page) < 600_000
    assert len(pages.overview(views, ENGLISH, selection({"search": "box 77"}))) < 20_000
