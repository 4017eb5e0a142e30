"""The examples of docs/surplus.md are valid parts of a configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from paths import ROOT

from goe_exporter.service import config
from goe_exporter.surplus.config import SourceConfig

PAGE = (ROOT / "docs/surplus.md").read_text("utf-8")
EXAMPLES = {
    heading: yaml.safe_load(block)
    for heading, block in re.findall(r"(?ms)^### ([^\n]+)\n\n```yaml\n(.*?)^```", PAGE)
}


def sources(example: dict[str, Any]) -> dict[str, SourceConfig]:
    """Return the sources of an example in a complete configuration."""
    for part in example.values():
        part.pop("token_file", None)
    section = {"mode": "control", "charger": "garage", "max_current": "16A", "phases": "auto"}
    document = {
        "chargers": [{"name": "garage", "host": "192.168.1.36", "serial": "012345"}],
        "surplus": {**section, **example},
    }
    found = config.parse(document, "goe.yaml").surplus
    assert found is not None
    return found.sources()


def test_five_examples() -> None:
    """There is an example for each kind of source."""
    assert list(EXAMPLES) == [
        "Shelly Pro 3EM",
        "Fronius inverter with a battery",
        "Home Assistant",
        "evcc",
        "Prometheus, three phases and a battery",
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    """Each example is a valid part of a configuration, with a battery where it says so."""
    found = sources(EXAMPLES[name])
    assert ("battery" in found) is ("battery" in name or name == "evcc")
    assert {each.kind for each in found.values()} == {
        "prometheus" if name.startswith("Prometheus") else "json"
    }


def test_ages_are_as_described() -> None:
    """Fronius, Home Assistant and Prometheus report a time; the page says that Shelly does not."""
    assert [
        all(each.may_have_age for each in sources(example).values())
        for example in EXAMPLES.values()
    ] == [False, True, True, False, True]
