"""A closed session as a point in InfluxDB: its series, its fields and its timestamp."""

from __future__ import annotations

from pathlib import Path

import pytest
from line_parser import parsed

from goe_exporter.service import config
from goe_exporter.service.config import RunConfig
from goe_exporter.service.session_points import FIELDS, SessionPoints, line
from goe_exporter.sessions.session import Session

SESSION = Session(
    "218042_1780000000", "garage", "218042", 2, 1_780_000_000, 1_780_010_000, 12_345, 1_000_000,
    1_012_345, ((1_779_999_300, 12_345),), 3, ("end_not_seen", "may_be_two"), 7_200, 500, 600,
    12_400, 12_345, 11_040, {"solar": 12_345},
)  # fmt: skip
UNKNOWN = Session("7_1780000000", "garage", "7", 1, 1_780_000_000, 1_780_000_060, 0, 5, 5)


def test_point_of_a_session() -> None:
    """Every number is a float; the timestamp is the end in milliseconds."""
    assert line(SESSION, {"site": "home"}, {"house": "1"}, {"3": "Anna"}) == (
        "goe_session,card=3,charger=garage,house=1,serial=218042,site=home"
        " energy_wh=12345.0,meter_start_wh=1000000.0,meter_end_wh=1012345.0"
        ",plugged_s=10000.0,charging_s=7200.0,max_power_w=11040.0,unobserved_s=600.0"
        ',start_s=1780000000.0,id="218042_1780000000",flags="end_not_seen may_be_two"'
        ',card_name="Anna" 1780010000000'
    )


def test_what_is_not_known_is_absent() -> None:
    """A session without power, card and flags: the card is unknown, the power absent."""
    assert line(UNKNOWN, {}, {}, {"3": "Anna"}) == (
        "goe_session,card=unknown,charger=garage,serial=7"
        " energy_wh=0.0,meter_start_wh=5.0,meter_end_wh=5.0,plugged_s=60.0,charging_s=0.0"
        ',unobserved_s=0.0,start_s=1780000000.0,id="7_1780000000",flags="" 1780000060000'
    )


@pytest.mark.parametrize(
    ("card", "tag"), [(0, "0"), (10, "10"), (11, "unknown"), (-1, "unknown"), (None, "unknown")]
)
def test_card(card: int | None, tag: str) -> None:
    """The tag has a limited number of values; "0" is a session without a card."""
    session = Session("7_1", "garage", "7", 2, 1, 2, 0, 5, 5, card=card)
    assert parsed(line(session, {}, {}, {})).tags["card"] == tag


def test_labels_never_replace_tags_and_fields() -> None:
    """Labels and tags named like the exporter's own tags or fields are left out."""
    named = {"card": "x", "id": "x", "energy_wh": "x", "site": "home"}
    point = parsed(line(SESSION, named, named | {"site": "x", "flags": "x"}, {}))
    assert point.tags == {"charger": "garage", "serial": "218042", "card": "3", "site": "home"}
    assert set(point.fields) == set(FIELDS) - {"card_name", "charger_name"}


@pytest.mark.parametrize("name", ["energy_wh ", "\tid", "flags\0", "card_name\n"])
def test_tag_that_becomes_a_field(name: str) -> None:
    """Tags are left out if they get the name of a field once they are cleaned."""
    assert parsed(line(SESSION, {}, {name: "x"}, {})).tags.keys() == {"charger", "serial", "card"}


@pytest.mark.parametrize("name", ["two\nlines", "ends in \\", 'x up=true 1\ngoe_session "'])
def test_names(name: str) -> None:
    """Whatever a charger or card is called, it is one line, with the name in a field."""
    session = Session("7_1", name, "7", 2, 1, 2, 0, 5, 5, card=1)
    text = line(session, {"site": name}, {"row": name}, {"1": name})
    assert "\n" not in text
    point = parsed(text)
    assert point.fields["charger_name"] == point.fields["card_name"] == name.replace("\n", "\\n")
    assert set(point.tags) == {"charger", "serial", "card", "site", "row"}


def test_names_of_the_configuration(tmp_path: Path) -> None:
    """Labels, tags and the names of cards are those of the present configuration."""
    file = tmp_path / "goe.yaml"
    file.write_text(
        "chargers: [{name: garage, host: 127.0.0.1, labels: {site: home}},"
        " {name: yard, host: 127.0.0.2, labels: {site: work}}]\n"
        "cards: {3: Anna}\n"
        f"influxdb: {{bucket: goe, api: v1, spool: {tmp_path / 'spool'}, tags: {{house: '1'}}}}\n"
    )
    found = config.load(str(file))
    run = RunConfig(found.chargers, 5.0, influxdb=found.influxdb, cards=found.cards)
    points = SessionPoints(None, lambda: run)  # type: ignore[arg-type]
    assert parsed(points.line(SESSION)).tags == {
        "charger": "garage", "serial": "218042", "card": "3", "site": "home", "house": "1",
    }  # fmt: skip
    assert parsed(points.line(SESSION)).fields["card_name"] == "Anna"
    run = RunConfig((), 5.0, influxdb=found.influxdb)
    assert parsed(points.line(SESSION)).tags == {
        "charger": "garage", "serial": "218042", "card": "3", "house": "1",
    }  # fmt: skip
