"""The page's line about charging with the surplus, and its object in the JSON API."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from exposed import SURPLUS
from jsonschema import Draft202012Validator, ValidationError
from shown import CHARGING, shown
from sites import Site

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.table import CHARGER
from goe_exporter.control.vitals import STATES, SourceVitals, SurplusVitals
from goe_exporter.web import json_api, openapi, pages
from goe_exporter.web.locale import Locale, translations
from goe_exporter.web.surplus import surplus_line

FOLLOWING = SurplusVitals("garage", "follow", state="following", amps=9)
GERMAN, ENGLISH = Locale("de-DE"), Locale("en")


def now(**changes: object) -> Callable[[], SurplusVitals]:
    vitals = replace(SURPLUS, **changes)  # type: ignore[arg-type]
    return lambda: vitals


def line(vitals: SurplusVitals, locale: Locale = ENGLISH) -> str:
    return surplus_line(vitals, locale).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("vitals", "english", "german"),
    [
        (
            SURPLUS,
            "2.90 kW, charging on 1 phase with 12 A, 61 Wh left before it pauses",
            "2,90 kW, lädt auf 1 Phase mit 12 A, noch 61 Wh bis zur Pause",
        ),
        (
            replace(SURPLUS, surplus_w=-350.0, phases=3, budget_wh=0.0),
            "−350 W, charging on 3 phases with 12 A, 0 Wh left before it pauses",
            "−350 W, lädt auf 3 Phasen mit 12 A, noch 0 Wh bis zur Pause",
        ),
        (
            replace(SURPLUS, state="paused", amps=None, phases=None, budget_wh=None),
            "2.90 kW, paused until it is enough again",
            "2,90 kW, pausiert, bis er wieder reicht",
        ),
        (
            SurplusVitals("garage", "control", state="waiting"),
            "waiting until it is enough",
            "wartet, bis er reicht",
        ),
        (
            SurplusVitals("garage", "control", state="blind", reason="stale"),
            "paused, because the meter gives no usable value",
            "pausiert, weil der Zähler keinen brauchbaren Wert liefert",
        ),
        (
            FOLLOWING,
            "the current follows the available power, now 9 A",
            "der Strom folgt der verfügbaren Leistung, jetzt 9 A",
        ),
        (
            replace(FOLLOWING, state="blind", reason="stale", amps=6),
            "lowest current (6 A), because there is no recent value",
            "kleinster Strom (6 A), weil kein aktueller Wert vorliegt",
        ),
        (
            SurplusVitals("garage", "feed", state="unconfirmed"),
            "the charger does not show the powers that are sent to it again and again",
            "die Wallbox zeigt die Leistungen nicht, die ihr immer wieder gesendet werden",
        ),
        (
            replace(SURPLUS, state="unconfirmed"),
            "the charger does not do what was set; it is set again",
            "die Wallbox tut nicht, was eingestellt wurde; es wird wiederholt",
        ),
        (
            SurplusVitals("garage", "control", internal_errors=1),
            "ended by an internal error; restart the exporter",
            "durch einen internen Fehler beendet; starte den Exporter neu",
        ),
    ],
)
def test_line(vitals: SurplusVitals, english: str, german: str) -> None:
    """The line says what the surplus is, what is done with it, and what it waits for."""
    assert line(vitals) == f"PV surplus: {english}"
    assert line(vitals, GERMAN) == f"PV-Überschuss: {german}"


@pytest.mark.parametrize(
    ("state", "english", "german"),
    [
        (
            "feeding",
            "the charger decides itself, based on the powers that it receives",
            "die Wallbox entscheidet selbst nach den Leistungen, die sie bekommt",
        ),
        (
            "blind",
            "no powers are passed on, because the meter gives no usable value",
            "es wird nichts weitergegeben, weil der Zähler keinen brauchbaren Wert liefert",
        ),
        (
            "not_supported",
            "the charger does not accept the powers of the meter",
            "die Wallbox nimmt die Leistungen des Zählers nicht an",
        ),
    ],
)
def test_mode_feed(state: str, english: str, german: str) -> None:
    """In mode `feed` the line says who decides, and that a charger without powers is not paused."""
    vitals = SurplusVitals("garage", "feed", state=state)
    assert line(vitals) == f"PV surplus: {english}"
    assert line(vitals, GERMAN) == f"PV-Überschuss: {german}"


def test_every_state_has_a_text() -> None:
    """Each state has a text, and nothing else has one but the parts of the line."""
    texts = {key.partition(".")[2] for key in translations("en") if key.startswith("surplus.")}
    parts = {"line", "budget", "blind_feed", "blind_follow", "unconfirmed_feed", "ended"}
    parts |= {"phases_1", "phases_3"}
    assert texts == {*STATES, *parts}
    for state in STATES:
        assert "{" not in line(replace(SURPLUS, state=state))


def test_the_page_of_the_controlled_charger() -> None:
    """The line is on the page of this charger only."""
    views = [shown("garage", CHARGING), shown("yard", CHARGING)]
    with Site(lambda: views, surplus=now()) as site:
        garage, yard = (
            html.unescape(site.ask(f"/charger/{view.name}").body.decode()) for view in views
        )
    assert '<p class="surplus" data-state>PV surplus: 2.90\u00a0kW, charging on' in garage
    assert "surplus" not in yard


def test_a_page_without_the_section() -> None:
    """Without a controlled charger nothing is said about a surplus."""
    page = pages.charger(shown("garage", CHARGING), ENGLISH, root="", several=False)
    assert 'class="surplus"' not in page


def test_a_change_is_shown_between_polls() -> None:
    """The tag of the page changes with the line, and not with the ages of the sources."""
    vitals = [SURPLUS]
    with Site(lambda: [shown("garage", CHARGING)], surplus=lambda: vitals[0]) as site:
        tag = site.ask("/").headers["ETag"]
        vitals[0] = replace(SURPLUS, sources=(SourceVitals("grid", up=True, age_s=9.0),))
        assert site.ask("/", If_None_Match=tag).status == 304
        vitals[0] = replace(SURPLUS, amps=11)
        assert site.ask("/", If_None_Match=tag).status == 200


def check(answer: object) -> None:
    """Validate a charger against the description of the API."""
    description = openapi.openapi(CHARGER, CONTROLLER)
    Draft202012Validator({"$ref": "#/components/schemas/Charger"} | description).validate(answer)


def test_json() -> None:
    """The controlled charger has an object `surplus`, which the description describes."""
    plain = [shown("garage", None), shown("yard", None)]
    with Site(lambda: plain, surplus=now()) as site:
        several: Any = json.loads(site.ask("/api/v1/chargers").body)["chargers"]
        one: Any = json.loads(site.ask("/api/v1/chargers/garage").body)
    assert one["surplus"] == several[0]["surplus"] == {
        "mode": "control",
        "state": "charging",
        "reason": "current",
        "available_power": 2900.4,
        "target_current": 12,
        "target_phases": 1,
        "pause_budget": 61.3,
        "energy": {"sun": 1000.0, "battery": 0.0, "grid": 10.5},
        "sources": {
            "grid": {"up": True, "power": -140.0, "age_seconds": 4.5},
            "battery": {"up": False},
        },
    }  # fmt: skip
    assert "surplus" not in several[1]
    for answer in (one, *several):
        check(answer)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_described(state: str) -> None:
    """Every state, with everything else unknown, matches the description."""
    vitals = SurplusVitals("garage", "follow", state=state)
    answer = json_api.as_json(shown("garage", None), vitals)
    check(answer)
    assert answer["surplus"] == {
        "mode": "follow",
        "state": state,
        "reason": None,
        "available_power": None,
        "target_current": None,
        "target_phases": None,
        "pause_budget": None,
        "energy": {},
        "sources": {},
    }


def test_the_check_can_fail() -> None:
    """An unknown state does not match the description."""
    answer = json_api.as_json(shown("garage", None), replace(SURPLUS, state="sunny"))
    with pytest.raises(ValidationError):
        check(answer)
