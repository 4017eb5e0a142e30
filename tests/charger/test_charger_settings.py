"""The section `chargers`: the labels of a charger."""

from __future__ import annotations

import json

import pytest
from paths import GOLDEN

from goe_exporter.errors import ConfigError
from goe_exporter.service import config as service_config

FIELDS = json.loads((GOLDEN / "influx_fields.json").read_text("utf-8"))


def labels(given: object) -> dict[str, str]:
    """Return the labels of a charger after loading."""
    charger = {"name": "garage", "host": "192.168.1.36", "labels": given}
    (found,) = service_config.parse({"chargers": [charger]}, "config.yaml").chargers
    return found.labels


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"site": "depot", "feeder": "A1"},
        {"Site_2": "Büro, oben 🚗", "quote": 'say "hi"\\\n'},
        {"x" * 63: "y" * 200},
        {f"label_{number}": "x" for number in range(16)},
    ],
)
def test_labels_are_kept_unchanged(given: dict[str, str]) -> None:
    """Up to 16 names of 63 ASCII characters with texts of 200 characters are accepted."""
    assert labels(given) == given


def test_a_charger_has_no_labels_by_default() -> None:
    """The key can be left out."""
    document = {"chargers": [{"name": "garage", "host": "192.168.1.36"}]}
    (charger,) = service_config.parse(document, "config.yaml").chargers
    assert charger.labels == {}


@pytest.mark.parametrize(
    "name", ["charger", "serial", "job", "instance", "time", "charger_name", *FIELDS]
)
def test_a_label_replaces_nothing(name: str) -> None:
    """Names of tags, fields and Prometheus' own labels are rejected."""
    with pytest.raises(ConfigError) as refused:
        labels({name: "x"})
    assert str(refused.value) == (
        f"config.yaml: chargers[0].labels.{name}: this label name is reserved"
    )


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("", "''"),
        ("x" * 64, "x" * 64),
        ("2nd", "2nd"),
        ("_site", "_site"),
        ("a-b", "a-b"),
        ("a:b", "a:b"),
        ("a.b", "a.b"),
        ("a\n", "a\\n"),
    ],
)
def test_a_label_has_a_name_for_every_sink(name: str, place: str) -> None:
    """Names that are no Prometheus label names, or begin with `_`, are rejected."""
    with pytest.raises(ConfigError) as refused:
        labels({name: "x"})
    assert str(refused.value) == (
        f"config.yaml: chargers[0].labels.{place}: a label name must have up to 63 letters, digits"
        f" and _, and begin with a letter, not {name!r}"
    )
