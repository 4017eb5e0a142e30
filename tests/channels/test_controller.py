"""A go-e Controller's status: values typed by hand, absent categories, and hostile statuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from captures import load
from exposed import controller, lint, samples
from hostile import ANY_JSON
from hypothesis import given
from hypothesis import strategies as st
from paths import FIXTURES, GOLDEN

from goe_exporter.channels.controller import CATEGORIES, CONTROLLER
from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Kind
from goe_exporter.channels.table import CHANNELS, CHARGER
from goe_exporter.influx.line_protocol import line
from goe_exporter.polling.view import Poll
from goe_exporter.prometheus.exposition import render_readings

CAPTURE = "v2-controller_supermihi-full"
NAMES = ("controller_house", "controller_evil")


def status(name: str) -> dict[str, object]:
    return dict(json.loads((FIXTURES / f"{name}.json").read_text("utf-8")))


def values(answer: dict[str, object]) -> dict[str, object]:
    """Return the readings by channel and part."""
    readings, _failed = decode(answer, 2, CONTROLLER.channels)
    return {f"{row.name} {label}".strip(): value for row, label, value, _code in readings}


# The capture, typed by hand

TYPED = {
    "power home": 2823.99,
    "power grid": -4658.055,
    "power solar": 7482.045,
    "energy home in": 34141.12,
    "energy home out": 7826.659,
    "energy grid in": 15961.12,
    "energy grid out": 122907.1,
    "energy solar in": 136009.9,
    "energy solar out": 1.508855,
    "current home L1": 12.51552,
    "current home L2": 19.20388,
    "current home L3": 21.57067,
    "current grid L1": 1.212599,
    "current grid L2": 9.24908,
    "current grid L3": 10.688,
    "current solar L1": 11.30292,
    "current solar L2": 9.954805,
    "current solar L3": 10.88266,
    "voltage 1 L1": 234.7242,
    "voltage 1 L2": 239.5702,
    "voltage 1 L3": 239.8172,
    "voltage 1 N": 0.815918,
    "sensor_current 1": 1.212599,
    "sensor_current 6": 10.88266,
    "sensor_power 1": 43.549,
    "sensor_power 3": -2532.149,
    "sensor_power_factor 1": 0.153004,
    "sensor_power_factor 2": -0.979083,
    "uptime": 240161.768,
    "reboots": 7.0,
    "firmware": "1.0.6",
    "serial": "000000",
    "model": "controller",
    "device_name": "go-e Controller Test Data",
    "category_name home": "Home",
    "category_name relay": "Relais",
    "category_name custom_10": "Custom 10",
    "sensor_name 6": "Internal 6",
    "sensor_phase 1": "L1",
    "sensor_phase 6": "L3",
}


def test_the_capture(captures_folder: Path) -> None:
    """The status of a real Controller decodes to what was typed from it, all of it."""
    found = values(load(captures_folder, CAPTURE))
    assert {name: found.get(name) for name in TYPED} == TYPED
    # 6 sensors of 3 values, 16 names of categories, 6 names and 6 phases of sensors
    counts = {
        name: sum(key.startswith(f"{name} ") for key in found) for name in ("power", "energy")
    }
    assert counts == {"power": 3, "energy": 6}
    assert len(found) == 3 + 6 + 9 + 4 + 18 + 1 + 2 + 2 + 1 + 16 + 12
    assert decode(load(captures_folder, CAPTURE), 2, CONTROLLER.channels).failed == frozenset()


def test_the_books_of_the_capture_close(captures_folder: Path) -> None:
    """What the home draws comes from the grid and the sun; U times I times cos φ is the power."""
    found = values(load(captures_folder, CAPTURE))
    power = {name: found[f"power {name}"] for name in ("home", "grid", "solar")}
    assert power["home"] == pytest.approx(power["grid"] + power["solar"], abs=0.01)  # type: ignore[operator]
    # 234.7242 V * 1.212599 A * 0.153004
    assert found["sensor_power 1"] == pytest.approx(43.549, abs=0.01)


# A fixture of its own, with a battery


def test_a_house_with_a_battery() -> None:
    """A category without power has energy only if its counters are not zero."""
    found = values(status("controller_house"))
    assert [name for name in found if name.startswith("power ")] == [
        *("power home", "power grid", "power car", "power solar", "power battery"),
        "power custom_9",
    ]
    energies = {name.split()[1] for name in found if name.startswith("energy ")}
    assert energies == {"home", "grid", "car", "solar", "battery", "custom_8", "custom_9"}
    assert found["energy battery out"] == 650.75
    # The zeros of custom_9 are readings, because its power is measured.
    assert (found["power custom_9"], found["energy custom_9 in"]) == (0.0, 0.0)
    assert found["current grid N"] == 0.25
    assert found["wifi_signal"] == -58.0
    assert "sensor_power_factor 2" not in found
    assert found["sensor_phase 2"] == "N"


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, update_golden: bool) -> None:
    """A status gives exactly this exposition and this line; `--update-golden` updates both."""
    view = controller(name)
    assert view.snapshot is not None
    poll = Poll(view.name, "654321", 1_700_000_000.25, view.snapshot, table=CONTROLLER)
    for suffix, text in (("prom", render_readings([view])), ("influx", f"{line(poll, {})}\n")):
        golden = GOLDEN / f"{name}.{suffix}"
        if update_golden:
            golden.write_text(text, encoding="utf-8", newline="\n")
        assert text == golden.read_bytes().decode("utf-8")


@pytest.mark.system
@pytest.mark.parametrize("name", NAMES)
def test_promtool_finds_nothing(name: str) -> None:
    """`promtool check metrics` accepts what Controllers export."""
    lint((GOLDEN / f"{name}.prom").read_text("utf-8"))


def test_names_are_labels() -> None:
    """Names are only in the infos, so that no series changes with a name."""
    found = samples(render_readings([controller("controller_house")]))
    grid = {"controller": "house", "category": "grid"}
    assert found["goe_controller_power_watts", frozenset(grid.items())] == 512.25
    info = grid | {"name": "Grid"}
    assert found["goe_controller_category_info", frozenset(info.items())] == 1
    sensor = {"controller": "house", "sensor": "2", "name": "Internal 2", "phase": "N"}
    assert found["goe_controller_sensor_info", frozenset(sensor.items())] == 1
    # 122907.1 Wh * 3600
    fed = frozenset((grid | {"direction": "out"}).items())
    assert found["goe_controller_energy_joules_total", fed] == pytest.approx(442_465_560)


# Hostile statuses


def test_a_hostile_status() -> None:
    """Short arrays and nulls are absent; wrong types are counted by key; names are kept apart."""
    readings, failed = decode(status("controller_evil"), 2, CONTROLLER.channels)
    found = {f"{row.name} {label}".strip(): value for row, label, value, _ in readings}
    numbers = {name: each for name, each in found.items() if isinstance(each, float)}
    assert numbers == {
        "power home": 1.5,
        "energy home in": 1.5,
        "energy grid out": 2.5,
        "energy car out": 3.0,
        "current home L1": 1.0,
        "current car N": 3.5,
        "voltage 1 L1": 230.0,
        "sensor_power 1": 5.5,
    }
    assert failed == frozenset("ccp cec cpc usv isv rbt rbc rssi ccn ips".split())
    assert (found["category_name home"], found["category_name grid"]) == ("Same", "Same")
    assert found["category_name solar"] == "7"
    assert found["sensor_phase 2"] == "unknown"
    assert "category_name custom_1" not in found


@given(
    st.dictionaries(
        st.sampled_from("ccp cec cpc usv isv ccn isn ips usn rbt rssi fwv sse typ".split()),
        ANY_JSON,
    )
)
def test_anything_decodes_and_renders(answer: dict[str, object]) -> None:
    """Whatever a Controller sends, there is an exposition that can be parsed."""
    readings, _failed = decode(answer, 2, CONTROLLER.channels)
    samples(render_readings([controller("controller_house", readings)]))


@pytest.mark.parametrize("key", ["ccp", "cec", "cpc", "usv", "isv", "ccn", "isn", "ips"])
@pytest.mark.parametrize("raw", [None, [], [None] * 16, [[]], [{}], {}])
def test_an_array_that_is_short_or_null(key: str, raw: object) -> None:
    """An array that lacks everything gives no reading of its rows, and spoils no other one."""
    whole = values(status("controller_house"))
    rest = values(status("controller_house") | {key: raw})
    lost = {row.name for row in CONTROLLER.channels if row.key == key}
    kept = {name for name in whole if name.split()[0] not in lost}
    if key == "ccp":  # without powers, the zeros of custom_9 mean nothing
        kept -= {"energy custom_9 in", "energy custom_9 out"}
    assert set(rest) == kept


# The table


def test_keys_fit_into_one_request() -> None:
    """All keys fit into the 35 that all firmware accepts."""
    keys = {key for row in CONTROLLER.channels for key in row.keys}
    assert len(keys) == 15


def test_names_are_unique_and_frozen(update_golden: bool) -> None:
    """No metric and no field changes its name: users build on them."""
    metrics = [
        f"{row.sample}{{{','.join(filter(None, (row.of, *row.label.split())))}}} {row.kind.value}"
        for row in CONTROLLER.channels
    ]
    fields = [
        row.field(part.label)
        for row in CONTROLLER.channels
        for part in row.parts
        if row.kind is not Kind.TEXT
    ]
    assert len(set(fields)) == len(fields)
    text = "\n".join([*metrics, "", *fields, ""])
    golden = GOLDEN / "controller_channels.txt"
    if update_golden:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text("utf-8")


def test_tables_share_no_metric() -> None:
    """No metric has the label of a charger in one row and that of a Controller in another."""
    assert {row.metric for row in CHANNELS} & {row.metric for row in CONTROLLER.channels} == set()
    assert CHARGER.witnesses.isdisjoint(CONTROLLER.witnesses)
    for table in (CHARGER, CONTROLLER):
        assert table.witnesses <= {key for row in table.channels for key in row.keys}


def test_every_row_has_a_help_text() -> None:
    """Each row is a noun phrase with a full stop, and its parts have one word per label."""
    for row in CONTROLLER.channels:
        assert re.fullmatch(r"[A-Z].*\.", row.help)
        words = {len(part.label.split()) for part in row.parts}
        expected = 0 if row.kind is Kind.TEXT and not row.of else len(row.label.split())
        assert words == {expected}, row.name
    assert len(CATEGORIES) == 16
