"""The card of a house, which a Controller measures, and the Controllers' JSON."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import pytest
from exposed import controller, view
from sites import Site

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.web import pages
from goe_exporter.web.house import Share, house
from goe_exporter.web.locale import Locale

GERMAN, ENGLISH = Locale("de-DE"), Locale("en")
CHARGER = view("v2_v4_one_phase_noise")
HOUSE = controller("controller_house")


def plain(page: str) -> str:
    """Return the visible text of a page."""
    body = re.sub(r"<(symbol|script|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", body)).replace("\u00a0", " ").split())


def test_the_card() -> None:
    """The powers are those of the Controller, in the reader's language."""
    assert house(HOUSE, GERMAN).shares == (
        Share("Netz", "512\u00a0W", "Bezug"),
        Share("Solar", "1,50\u00a0kW", ""),
        Share("Batterie", "988\u00a0W", ""),
        Share("Verbrauch", "3,00\u00a0kW", ""),
        Share("Auto", "1,38\u00a0kW", ""),
    )


@pytest.mark.parametrize(
    ("watts", "share"),
    [
        (-4658.055, Share("Grid", "−4.66\u00a0kW", "fed in")),
        (0.0, Share("Grid", "0\u00a0W", "")),
        (12.0, Share("Grid", "12\u00a0W", "drawn")),
        (-0.4, Share("Grid", "0\u00a0W", "")),
        (0.4, Share("Grid", "0\u00a0W", "")),
        (-0.6, Share("Grid", "−1\u00a0W", "fed in")),
    ],
)
def test_the_direction_of_the_grid(watts: float, share: Share) -> None:
    """A negative power is fed into the grid."""
    assert HOUSE.snapshot is not None
    readings = tuple(
        each._replace(value=watts) if (each.channel.name, each.label) == ("power", "grid") else each
        for each in HOUSE.snapshot.readings
    )
    snapshot = HOUSE.snapshot._replace(readings=readings)
    assert house(replace(HOUSE, snapshot=snapshot), ENGLISH).shares[0] == share


def test_what_is_not_measured_is_not_shown() -> None:
    """A category without a power has no place on the card."""
    labels = [share.label for share in house(controller("controller_evil"), ENGLISH).shares]
    assert labels == ["Consumption"]


def test_no_power_at_all() -> None:
    """A Controller that answers without any power says so, whatever else it measures."""
    assert HOUSE.snapshot is not None
    others = tuple(each for each in HOUSE.snapshot.readings if each.channel.name != "power")
    for readings in (others, ()):
        card = controller("controller_house", readings)
        assert house(card, ENGLISH).state == "No power reported"
        text = "Haus house Keine Leistung gemeldet Gemessen vor 0 s"
        assert text in plain(pages.charger(CHARGER, GERMAN, root="", several=False, houses=[card]))


def test_the_card_is_on_both_pages() -> None:
    """The overview and the page of a charger show it; without a Controller there is none."""
    text = (
        "House house Grid 512 W drawn Solar 1.50 kW Battery 988 W Consumption 3.00 kW Car 1.38 kW"
    )
    page = pages.charger(CHARGER, ENGLISH, root="", several=False, houses=[HOUSE])
    assert text in plain(page)
    assert text in plain(pages.overview([CHARGER, CHARGER], ENGLISH, houses=[HOUSE]))
    assert "House" not in plain(pages.charger(CHARGER, ENGLISH, root="", several=False))
    two = [HOUSE, replace(HOUSE, name='<b>"x"')]
    page = pages.overview([], GERMAN, houses=two)
    assert 'data-key="house-&lt;b&gt;&#34;x&#34;"' in page
    assert "<b>" not in page.partition("<main")[2]


@pytest.mark.parametrize(
    ("stats", "age", "text"),
    [
        (PollStats(), None, "Haus house Noch nicht gefragt Noch keine Daten"),
        (
            PollStats(up=False, reason="timeout", polls=9),
            400.0,
            "Haus house Antwortet nicht Letzte Antwort vor 7 min",
        ),
    ],
)
def test_a_controller_that_does_not_answer(stats: PollStats, age: float | None, text: str) -> None:
    """The card says so, and shows no power."""
    silent = ChargerView("house", "192.0.2.9", stats, None, age, table=CONTROLLER)
    assert text in plain(pages.overview([CHARGER, CHARGER], GERMAN, houses=[silent]))


def test_requests() -> None:
    """A Controller is no charger: it has its own list, and no page of its own."""
    with Site(lambda: [CHARGER, HOUSE]) as site:
        page = site.ask("/").body.decode()
        assert "Kein" not in page
        assert '<section data-key="hero"' in page  # the only charger
        assert "House <small>house</small>" in page
        (one,) = json.loads(site.ask("/api/v1/chargers").body)["chargers"]
        assert one["name"] == "garage"
        (one,) = json.loads(site.ask("/api/v1/controllers").body)["controllers"]
        assert (one["name"], one["api"]) == ("house", 2)
        assert one["readings"]["energy"]["grid"] == {"in": 15961.12, "out": 122907.1}
        assert one["readings"]["voltage"] == {
            "1": {"L1": 230.5, "L2": 231.25, "L3": 229.75, "N": 0.5}
        }
        assert one["readings"]["sensor_phase"] == {"1": "L1", "2": "N"}
        assert json.loads(site.ask("/api/v1/controllers/house").body) == one
        for path, device in (("chargers/house", "charger"), ("controllers/garage", "controller")):
            name = path.partition("/")[2]
            reply = site.ask(f"/api/v1/{path}")
            assert reply.status == 404
            assert json.loads(reply.body) == {"error": f"no {device} is named '{name}'"}
        assert site.ask("/charger/house").status == 404
        assert site.ask("/api/v1/chargers/house/history").status == 404


def test_the_page_changes_with_the_house() -> None:
    """A poll of the Controller alone makes the page a new one."""
    views = [CHARGER, HOUSE]
    with Site(lambda: views) as site:
        tag = site.ask("/").headers["ETag"]
        assert site.ask("/", If_None_Match=tag).status == 304
        views[1] = replace(HOUSE, stats=HOUSE.stats._replace(polls=61))
        assert site.ask("/", If_None_Match=tag).status == 200
