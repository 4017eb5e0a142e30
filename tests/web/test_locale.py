"""The reader's locale: chosen by the browser's header, with its texts and number format."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import goe_exporter
from goe_exporter.channels import codes
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import REASONS
from goe_exporter.web import advice, view_model
from goe_exporter.web.house import CATEGORIES
from goe_exporter.web.locale import LANGUAGES, Locale, preferred, translations
from goe_exporter.web.overview import GROUPS
from goe_exporter.web.view_model import SENSORS

WEB = Path(goe_exporter.__file__).parent / "web"
TEXTS = translations("en").keys()
SETS = {
    "car_state": codes.CAR,
    "charging_reason": codes.CHARGING_REASON,
    "error": codes.ERROR,
    "force_state": codes.FORCE,
    "phase_mode": codes.PHASE_MODE,
    "cable_lock": codes.CABLE_LOCK,
    "access": codes.ACCESS,
    "logic_mode": codes.LOGIC_MODE,
    "meter_certification": codes.CERTIFICATION,
}


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "de-DE"),
        ("de-at", "de-AT"),
        ("en-GB,en;q=0.5", "en-GB"),
        ("fr,de;q=0.5,en;q=0.8", "en"),
        ("en;q=0.3, de;q=0.4", "de"),
        ("de;q=0,en;q=0.1", "en"),
        ("de;q=0", "en"),
        ("fr-CH, fr;q=0.9, it;q=0.8", "en"),
        ("*", "en"),
        ("*;q=0.1,de;q=0.05", "en"),
        ("zh-Hant-TW, de-Latn-CH;q=0.9", "de-CH"),
        ("de;q=2, en", "en"),
        ("de;level=1", "en"),
        ("<script>,;;=,de", "de"),
        ("EN;Q=0.5, DE;Q=1", "de"),
        ("x" * 100_000, "en"),
    ],
)
def test_preferred(header: str, tag: str) -> None:
    """The supported language with the highest weight wins; malformed ranges are skipped."""
    assert preferred(header).tag == tag


@pytest.mark.parametrize(
    ("tag", "value", "decimals", "text"),
    [
        ("en", 1234.567, 2, "1,234.57"),
        ("de", 1234.567, 2, "1.234,57"),
        ("de-DE", 1234567.0, 0, "1.234.567"),
        ("de-CH", 1234.5, 1, "1’234.5"),
        ("de-AT", 1234.5, 1, "1\u00a0234,5"),
        ("en-US", -61.0, 0, "−61"),
        ("en", -0.0015, 2, "0.00"),
        ("de", 0.0, 1, "0,0"),
    ],
)
def test_numbers(tag: str, value: float, decimals: int, text: str) -> None:
    """Numbers have the locale's signs; zero has no minus sign."""
    assert Locale(tag).number(value, decimals) == text


def test_both_languages_have_the_same_texts() -> None:
    """Both files have the same keys, in the same order, with the same placeholders."""
    english, german = (translations(language) for language in LANGUAGES)
    assert list(english) == list(german)
    for key in english:
        texts = english[key], german[key]
        assert all(text and text == text.strip() for text in texts), key
        used = [sorted(re.findall(r"\{\w*\}", text)) for text in texts]
        assert used[0] == used[1], key


def test_no_key_is_given_twice() -> None:
    """No file has a group or a key twice; JSON would silently use the last one."""
    keys: list[list[str]] = []
    for language in LANGUAGES:
        json.loads(
            (WEB / f"translations/{language}.json").read_text("utf-8"),
            object_pairs_hook=lambda pairs: keys.append([key for key, _value in pairs]),
        )
    assert len(keys) > 2 * 10
    assert all(len(names) == len(set(names)) for names in keys)


def test_a_language_is_loaded_once() -> None:
    """Later calls return the same object."""
    assert translations("de") is translations("de")


def test_every_code_has_a_text() -> None:
    """Every state of every channel has a text."""
    stated = {channel.name: channel.states for channel in CHANNELS if channel.states}
    assert stated == SETS
    missing = {f"{name}.{state}" for name, states in SETS.items() for state in states.names} - TEXTS
    assert missing == set()


def test_every_error_is_explained() -> None:
    """Each error has a help text; each reason of a failed poll and each sensor has a text."""
    errors = {f"error_help.{name}" for name in codes.ERROR.names if name != "none"}
    assert errors - TEXTS == set()
    assert {f"failure.{reason}" for reason in REASONS} - TEXTS == set()
    assert {f"sensor.{sensor}" for sensor in SENSORS} - TEXTS == set()


def test_every_state_of_the_overview_has_a_text() -> None:
    """Each group of states has a text, and no other group has one."""
    texts = {key for key in TEXTS if key.startswith("group.")}
    assert texts == {f"group.{group}" for group in ("all", *GROUPS)}


def test_all_advice_has_a_text_and_a_reason() -> None:
    """Each topic of advice has a title and a help text, and belongs to a failed poll's reason."""
    assert advice.TOPICS.keys() <= set(REASONS)
    topics = {topic for some in advice.TOPICS.values() for topic in some}
    topics |= set(advice.SILENT)
    for group in ("advice", "advice_help"):
        assert {key for key in TEXTS if key.startswith(f"{group}.")} == {
            f"{group}.{topic}" for topic in topics
        }


def test_every_category_of_a_house_has_a_text() -> None:
    """Each category of the card of a house has a text; the others are those of the card itself."""
    texts = {key.partition(".")[2] for key in TEXTS if key.startswith("house.")}
    assert texts == {*CATEGORIES, "title", "nothing", "drawn", "fed_in"}


def test_no_text_is_left_over() -> None:
    """Each text belongs to a state, or its key occurs in a template or module of the page."""
    source = "".join(
        path.read_text("utf-8") for path in [*WEB.glob("templates/*.html"), *WEB.glob("*.py")]
    )
    assert "page.no_chargers" in source
    built = {
        *SETS,
        "advice",
        "advice_help",
        "condition",
        "error_help",
        "failure",
        "group",
        "house",
        "limit",
        "month",
        "sensor",
        "session_flag",
        "surplus",
        "weekday",
        "wifi",
    }
    left = {key for key in TEXTS if key.partition(".")[0] not in built and key not in source}
    assert left - {f"label.{name}" for name in view_model._DETAILS} == set()


def test_an_unknown_code_is_shown() -> None:
    """The number of an unknown code follows the text."""
    assert Locale("de").text("charging_reason.unknown", code=99) == "Unbekannter Grund (99)"


@pytest.mark.parametrize("term", ["earth fault", "wifi", "load management", "solar surplus"])
def test_one_vocabulary(term: str) -> None:
    """The page says ground fault, Wi-Fi, load balancing and PV surplus, as the dashboards do."""
    assert [text for text in translations("en").values() if term in text.lower()] == []
