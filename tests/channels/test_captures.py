"""Real chargers' answers decode to the readings that were typed by hand (captures.yaml)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from captures import FULL, decoded, load

from goe_exporter.channels.decode import Decoded, decode
from goe_exporter.channels.model import Kind
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import api_v1

TEXT = Path(__file__).with_name("captures.yaml").read_text(encoding="utf-8")
EXPECTED: dict[str, dict[str, object]] = yaml.safe_load(TEXT)
COMPLETE = set(re.findall(r"^# complete\n(\S+):$", TEXT, re.MULTILINE))

NEVER_SEEN = {
    *("session_energy_limit", "revision", "style", "plug_in_timestamp"),
    *("session_source_energy", "mid_energy", "mid_session_energy", "meter_certification"),
}
"""Rows without a value in any capture: no limit was set, no car plugged in since the start, 59.4
and later are partial."""

NO_STATUS = {"set_and_error_responses.json"}
ANOTHER_DEVICE = {"v2-controller_supermihi-full.json"}


def values(name: str, status: dict[str, object]) -> dict[str, object]:
    """Return all readings by their names in captures.yaml, the code of a state as `…_code`."""
    found: dict[str, object] = {}
    for row, label, value, code in decoded(name, status).readings:
        found[f"{row.name}.{label}" if label else row.name] = value
        if row.kind in {Kind.STATE, Kind.REASON}:
            found[f"{row.name}_code"] = code
    return found


def same(got: object, expected: object) -> bool:
    """Compare numbers to 1e-6 and other values exactly; a flag never equals a number."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return bool(got == pytest.approx(expected, rel=1e-6))
    return type(got) is type(expected) and got == expected


@pytest.mark.parametrize("name", EXPECTED)
def test_capture_decodes_to_what_was_typed(name: str, captures_folder: Path) -> None:
    """Each typed reading is present with its value; each null is absent."""
    got = values(name, load(captures_folder, name))
    wrong = {
        reading: (got.get(reading), expected)
        for reading, expected in EXPECTED[name].items()
        if not same(got.get(reading), expected)
    }
    assert wrong == {}, "reading: (got, typed)"


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_complete_capture_has_no_other_reading(name: str, captures_folder: Path) -> None:
    """Where all readings are typed, there is no other one."""
    got = {
        f"{row.name}.{label}" if label else row.name
        for row, label, _, _ in decoded(name, load(captures_folder, name)).readings
    }
    typed = {reading for reading, expected in EXPECTED[name].items() if expected is not None}
    assert got == {reading for reading in typed if not reading.endswith("_code")}


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"v2_tma-glitches_goe161[1]"}))
def test_capture_has_nothing_unreadable(name: str, captures_folder: Path) -> None:
    """Every value of a healthy charger can be decoded, except for the known glitch."""
    assert decoded(name, load(captures_folder, name)).failed == frozenset()


def test_the_glitch_is_counted(captures_folder: Path) -> None:
    """The key of the captured -16843 °C is returned as undecodable."""
    name = "v2_tma-glitches_goe161[1]"
    assert decoded(name, load(captures_folder, name)) == Decoded((), frozenset({"tma"}))


def test_every_capture_decodes(captures_folder: Path) -> None:
    """Decoding raises for no file of the collection, through either API."""
    paths = sorted(captures_folder.glob("*.json"))
    assert len(paths) >= 26
    for path in paths:
        body = json.loads(path.read_text(encoding="utf-8"))
        for status in body if isinstance(body, list) else [body]:
            inner = status.get("body") if path.name in NO_STATUS else status
            if isinstance(inner, dict):
                decode(inner, 2)
                decode(api_v1.status(inner), 1)


def test_every_capture_is_typed(captures_folder: Path) -> None:
    """Every status of the collection has an entry in captures.yaml."""
    typed = {f"{name.partition('[')[0]}.json" for name in EXPECTED}
    there = {path.name for path in captures_folder.glob("*.json")}
    assert there - NO_STATUS - ANOTHER_DEVICE == typed


@pytest.mark.parametrize("name", FULL)
def test_full_status_has_enough_readings_typed(name: str) -> None:
    """A full status is checked by a dozen readings at least."""
    assert sum(value is not None for value in EXPECTED[name].values()) >= 12


def test_every_typed_reading_has_a_row() -> None:
    """Every reading in captures.yaml is one of the table, so that a typo is found."""
    known = {
        f"{row.name}.{part.label}" if part.label else row.name
        for row in CHANNELS
        for part in row.parts
    }
    known |= {f"{row.name}_code" for row in CHANNELS if row.states is not None}
    assert {reading for typed in EXPECTED.values() for reading in typed} - known == set()


def test_every_row_is_typed_somewhere() -> None:
    """Each row has a typed value of a real charger, except for NEVER_SEEN."""
    typed = {
        reading.partition(".")[0]
        for readings in EXPECTED.values()
        for reading, value in readings.items()
        if value is not None
    }
    assert {row.name for row in CHANNELS} - typed == NEVER_SEEN


def test_which_captures_are_complete() -> None:
    """The marks in captures.yaml are found."""
    assert set(EXPECTED) >= COMPLETE
    assert len(COMPLETE) == len(re.findall(r"^# complete$", TEXT, re.MULTILINE))
