"""The reader's language: chosen by the browser's header, with its words and its numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import goe_exporter
from goe_exporter.channels import codes
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import REASONS
from goe_exporter.web.locale import Language, preferred
from goe_exporter.web.translations import LANGUAGES, WORDS
from goe_exporter.web.view_model import SENSORS

PACKAGE = Path(goe_exporter.__file__).parent
SETS = {
    "car_state": codes.CAR,
    "charging_reason": codes.CHARGING_REASON,
    "error": codes.ERROR,
    "force_state": codes.FORCE,
    "phase_mode": codes.PHASE_MODE,
    "cable_lock": codes.CABLE_LOCK,
    "access": codes.ACCESS,
    "logic_mode": codes.LOGIC_MODE,
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
        ("DE;Q=1", "en"),
        ("x" * 100_000, "en"),
    ],
)
def test_preferred(header: str, tag: str) -> None:
    """The heaviest of our languages wins, with its region; nonsense is passed over."""
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
    """Numbers look as the reader writes them; zero has no sign."""
    assert Language(tag).number(value, decimals) == text


@pytest.mark.parametrize("key", WORDS)
def test_both_languages(key: str) -> None:
    """Every row has a text in each language, both with the same places for values."""
    texts = WORDS[key]
    assert len(texts) == len(LANGUAGES)
    assert all(text.strip() == text and text for text in texts)
    english, german = (sorted(re.findall(r"\{\w*\}", text)) for text in texts)
    assert english == german


def test_every_code_has_words() -> None:
    """All states that codes know, and all channels with states, can be said."""
    stated = {channel.name: channel.states for channel in CHANNELS if channel.states}
    assert stated == SETS
    missing = {
        f"{name}.{word}" for name, states in SETS.items() for word in states.names
    } - WORDS.keys()
    assert missing == set()


def test_every_error_is_explained() -> None:
    """Each error but none says what it means; each reason of a failed poll has words."""
    errors = {f"error_help.{word}" for word in codes.ERROR.names if word != "none"}
    assert errors - WORDS.keys() == set()
    assert {f"failure.{reason}" for reason in REASONS} - WORDS.keys() == set()
    assert {f"sensor.{sensor}" for sensor in SENSORS} - WORDS.keys() == set()


def test_no_row_is_left_over() -> None:
    """Each row is a state's, or stands in a template or a module as it is."""
    text = "".join(
        path.read_text("utf-8")
        for path in [*PACKAGE.glob("page/*.html"), *PACKAGE.glob("*.py")]
        if path.name != "words.py"
    )
    built = {"car_state", "charging_reason", "error", "error_help", "failure", "limit", "sensor"}
    built |= {*SETS, "condition", "wifi", "label"}
    left = [key for key in WORDS if key.partition(".")[0] not in built and key not in text]
    assert left == []


def test_an_unknown_code_shows_its_number() -> None:
    """A number no list knows is said beside the word."""
    assert Language("de").say("charging_reason.unknown", number=99) == "Unbekannter Grund (99)"
