"""The examples of docs/surplus.md are valid, and its table names every state."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from paths import ROOT

from goe_exporter.control.vitals import STATES
from goe_exporter.service import config
from goe_exporter.surplus.config import SourceConfig

PAGE = (ROOT / "docs/surplus.md").read_text("utf-8")
EXAMPLES = {
    heading: yaml.safe_load(block)
    for heading, block in re.findall(
        r"(?ms)^### ([^\n]+)\n\n(?:[^\n]+\n\n)?```yaml\n(.*?)^```", PAGE
    )
}


def sources(example: dict[str, Any]) -> dict[str, SourceConfig]:
    """Return the sources of an example, which is a whole configuration."""
    example["surplus"]["grid"].pop("token_file", None)
    found = config.parse(example, "goe.yaml").surplus
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
    """Each example is a valid configuration, with a battery where it says so."""
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


def test_every_state_is_explained() -> None:
    """The table has a row for each state, in their order."""
    table = PAGE.partition("## States")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"(?m)^\| `(\w+)` \|", table)) == STATES


@pytest.mark.parametrize("mode", ["follow", "feed"])
def test_other_modes(mode: str) -> None:
    """The sections of the other modes are valid."""
    blocks = re.findall(r"(?ms)^```yaml\n(surplus:.*?)^```", PAGE)
    (block,) = (each for each in blocks if f"mode: {mode}" in each)
    example = EXAMPLES["evcc"] | yaml.safe_load(block)
    found = config.parse(example, "goe.yaml").surplus
    assert found is not None
    assert found.mode == mode
