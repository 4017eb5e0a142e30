"""The configurations of other programs on the page about them: well-formed, and of our JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Goe
from exposed import down, view
from jinja2 import Environment, StrictUndefined
from recipes import EXPORTER, PAGE, command, recipe, recipes

from goe_exporter.web import json_api

FIXTURE = "v2_v3_charging_three_phases"

UNITS = {
    "power": {"W", "kW"},
    "energy": {"Wh", "kWh"},
    "current": {"A"},
    "temperature": {"°C"},
    None: {None},
}
"""Units that Home Assistant accepts for a device class, as its developer documentation lists."""

STATES = {
    "Wallbox power": "10660.0",
    "Wallbox energy": "2345678.0",
    "Wallbox session energy": "5123.25",
    "Wallbox current L1": "15.75",
    "Wallbox temperature": "38.25",
    "Wallbox state": "charging",
    "Wallbox error": "none",
    "Wallbox answers": "True",
    "Wallbox car plugged in": "True",
}
"""What the entities of the page show of a charger that answers with the fixture."""

HEADINGS = ("Sensors", "The live page in a dashboard", "A meter", "A charger that evcc controls")
COLLECTORS = ("vmagent", "Prometheus agent", "OpenTelemetry Collector")


def entities() -> dict[str, dict[str, str]]:
    """Return Home Assistant's entities on the page by name."""
    (resource,) = yaml.safe_load(recipe("Sensors", "yaml"))["rest"]
    found = [*resource["sensor"], *resource["binary_sensor"]]
    return {entity["name"]: entity for entity in found}


def rendered(template: str, answer: dict[str, Any] | None) -> str:
    """Return what a template gives for an answer; without one there is no `value_json`."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(template).render({"value_json": answer} if answer else {})


def answer_of(car: int | None = None) -> dict[str, Any]:
    """Return the JSON of a charger; `car` replaces the state of the car."""
    found: dict[str, Any] = json.loads(json.dumps(json_api.as_json(view(FIXTURE))))
    if car is not None:
        found["readings"]["car_state"] = {"state": CAR_STATES[car], "code": car}
    return found


CAR_STATES = {1: "idle", 2: "charging", 3: "waiting_for_car", 4: "complete", 5: "error"}
"""As docs/http-api.md and docs/protocol.md name the codes."""


@pytest.mark.parametrize("heading", [*HEADINGS, *COLLECTORS])
def test_yaml(heading: str) -> None:
    """Every block of YAML is a mapping."""
    for block in recipes(heading, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)


def test_every_block_is_used() -> None:
    """No block of code on the page is left out by these tests, or by those with the programs."""
    commands = ("The live page in a dashboard", "vmagent", "Prometheus agent", "Grafana Alloy")
    used = [
        *((heading, "yaml") for heading in ("Intervals", *HEADINGS, *COLLECTORS)),
        *((heading, "sh") for heading in commands),
        *(("Grafana Alloy", "alloy"), ("Telegraf", "toml")),
    ]
    blocks = [block for heading, language in used for block in recipes(heading, language)]
    assert len(blocks) == PAGE.read_text("utf-8").count("\n```\n")


def test_entities_show_the_readings() -> None:
    """Each entity of Home Assistant shows its reading."""
    answer = answer_of()
    assert {
        name: rendered(entity["value_template"], answer) for name, entity in entities().items()
    } == STATES


@pytest.mark.parametrize(("car", "plugged"), [(1, "False"), (2, "True"), (3, "True"), (4, "True")])
def test_plug(car: int, plugged: str) -> None:
    """A car is plugged in whether it charges, waits or is full."""
    template = entities()["Wallbox car plugged in"]["value_template"]
    assert rendered(template, answer_of(car)) == plugged


def test_entities_are_unavailable_without_readings() -> None:
    """While the charger, or the exporter, does not answer, no entity shows a value."""
    nothing, without_parts = json_api.as_json(down()), answer_of()
    without_parts["readings"] |= {"phase_current": {"L2": 1.0}, "temperature": {"type2_port": 1.0}}
    for name, entity in entities().items():
        if "availability" in entity:
            assert rendered(entity["availability"], answer_of()) == "True"
            assert rendered(entity["availability"], nothing) == "False"
            assert rendered(entity["availability"], None) == "False"
            assert rendered(entity["value_template"], nothing) in {"", "False"}
            if name in {"Wallbox current L1", "Wallbox temperature"}:
                assert rendered(entity["availability"], without_parts) == "False"
                assert rendered(entity["value_template"], without_parts) == ""
        else:
            assert name == "Wallbox answers"
            assert rendered(entity["value_template"], nothing) == "False"


def test_units_of_entities() -> None:
    """Units fit the device class; energy can be used in the Energy dashboard."""
    assert len({entity["unique_id"] for entity in entities().values()}) == len(STATES)
    for entity in entities().values():
        kind = entity.get("device_class")
        if kind in {"connectivity", "plug"}:
            continue
        assert entity.get("unit_of_measurement") in UNITS[kind]
        state = {"energy": "total_increasing", None: None}.get(kind, "measurement")
        assert entity.get("state_class") == state


def test_the_frame_is_allowed(goe: Goe) -> None:
    """The command for the page in a frame is valid."""
    program, *arguments = command("The live page in a dashboard")
    assert program == "goe-exporter"
    assert goe(*arguments, "--config.check").out == "the configuration is valid: 1 charger(s)\n"


def test_the_interval_of_a_charger(goe: Goe, tmp_path: Path) -> None:
    """The configuration with a longer interval is valid."""
    path = tmp_path / "config.yaml"
    path.write_text(recipe("Intervals", "yaml"))
    outcome = goe("serve", "--config", str(path), "--config.check")
    assert outcome.out == "the configuration is valid: 1 charger(s)\n"


def test_telegraf_reads_our_json() -> None:
    """The fields that Telegraf keeps as text exist, in the notation in which it flattens JSON."""
    prometheus, http = (tomllib.loads(block) for block in recipes("Telegraf", "toml"))
    (metrics,), (api,) = prometheus["inputs"]["prometheus"], http["inputs"]["http"]
    assert metrics["urls"] == [f"http://{EXPORTER}/metrics"]
    assert api["urls"] == [f"http://{EXPORTER}/api/v1/chargers"]
    assert api["json_query"] == "chargers"
    answer = answer_of()
    for name in (*api["tag_keys"], *api["json_string_fields"]):
        value: Any = answer
        parts = name.split("_")
        while parts:
            length = next(n for n in range(len(parts), 0, -1) if "_".join(parts[:n]) in value)
            value, parts = value["_".join(parts[:length])], parts[length:]
        assert value is None or isinstance(value, str | bool)
