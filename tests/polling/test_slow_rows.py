"""Slow rows: a value is decoded again only if it may have another meaning than before."""

from __future__ import annotations

import random

import pytest

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.decode import decode
from goe_exporter.channels.model import Table
from goe_exporter.channels.snapshot import Answer, Status
from goe_exporter.channels.table import CHANNELS, CHARGER
from goe_exporter.polling.slow_rows import SlowRows

SLOW = tuple(channel for channel in CHANNELS if channel.slow)
TYPE = {"typ": "go-eCharger_V4"}


def values(rows: SlowRows) -> dict[str, object]:
    """Return the values by the names of their channels, an array's elements by their label."""
    return {
        each.channel.name + (f" {each.label}" if each.label else ""): each.value
        for each in rows.readings
    }


def taken(rows: SlowRows, status: Status, now: float = 0.0) -> frozenset[str]:
    """Let the rows take the answer for the keys of a status, and return what failed."""
    return rows.take(tuple(status), Answer(2, dict(status)), now)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"fup": True}, {"fup": 1}, {}),
        ({"fup": 1}, {"fup": True}, {"pv_surplus_enabled": True}),
        ({"ama": 16}, {"ama": 16.0}, {"absolute_max_current": 16.0}),
        ({"ama": 16}, {"ama": True}, {}),
        ({"ama": 16}, {"ama": "16"}, {}),
        ({"ama": "16"}, {"ama": 16}, {"absolute_max_current": 16.0}),
        ({"fna": "Garage"}, {"fna": "garage"}, {"device_name": "garage"}),
        ({"ama": 16}, {"ama": None}, {}),
        (
            {"cll": {"cableCurrentLimit": 32}},
            {"cll": {"cableCurrentLimit": 20}},
            {"current_limit cable": 20.0},
        ),
        ({"cll": {"cableCurrentLimit": 1}}, {"cll": {"cableCurrentLimit": True}}, {}),
    ],
)
def test_a_changed_value_is_decoded(
    before: dict[str, object], after: dict[str, object], expected: dict[str, object]
) -> None:
    """A value of another type is another value, within objects too."""
    rows = SlowRows(SLOW)
    taken(rows, TYPE | before)
    taken(rows, after)
    assert {name: value for name, value in values(rows).items() if name != "model"} == expected


def test_an_unchanged_bad_value_fails_with_each_answer() -> None:
    """The failure is counted once for each answer that contains the value."""
    rows = SlowRows(SLOW)
    assert taken(rows, TYPE | {"ama": "much"}) == {"ama"}
    assert taken(rows, {"fup": True}) == frozenset()
    assert taken(rows, {"ama": "much"}) == {"ama"}
    assert taken(rows, {"ama": 32}) == frozenset()


def test_the_sensors_give_the_adapter_a_meaning_where_the_type_is_unknown() -> None:
    """Six temperatures of which the first two are null are those of a PRO, which has no adapter."""
    rows = SlowRows(SLOW)
    for sensors, adapter in (
        ([21.0, 22.0], True),
        ([None, None, 30.0, 31.0, 32.0, 33.0], None),
        ([21.0, 22.0], True),
    ):
        rows.take(("adi",), Answer(2, {"adi": True, "tma": sensors}), 0.0)
        assert values(rows).get("adapter_connected") is adapter


def test_a_value_nested_too_deeply_to_be_compared() -> None:
    """The value fails as any other bad one, with each answer."""
    nested: list[object] = []
    for _level in range(100_000):
        nested = [nested]
    rows = SlowRows(SLOW)
    for _answer in range(2):
        assert taken(rows, TYPE | {"ama": nested}) == {"ama"}
        assert values(rows) == {"model": "go-eCharger_V4"}
    while nested:  # freed level by level
        nested = nested[0]  # type: ignore[assignment]


@pytest.mark.parametrize("table", [CHARGER, CONTROLLER], ids=lambda table: table.device)
@pytest.mark.parametrize("seed", range(20))
def test_the_readings_are_those_of_all_answers_together(table: Table, seed: int) -> None:
    """Whatever is taken in turn, the readings are those of the latest value of each key."""
    slow = tuple(channel for channel in table.channels if channel.slow)
    chance = random.Random(seed)
    choices: list[object] = [None, 0, 1, 2, 16, -0.0, 0.0, 1.0, True, False, "x", "", [], {}]
    choices += [[1], [True], [1.0], {"cableCurrentLimit": 1}, {"cableCurrentLimit": True}, 10**400]
    rows = SlowRows(slow)
    latest: dict[str, object] = {}
    for number in range(60):
        keys = tuple(chance.sample(rows.keys, 5))
        live = {"fwv": chance.choice(["56.2", "60.0"]), "tma": chance.choice([[20.0], [None] * 6])}
        status = {key: chance.choice(choices) for key in keys if chance.random() < 0.9}
        if "typ" in status and chance.random() < 0.5:
            status["typ"] = "go-eCharger_PRO"
        latest.update({key: status.get(key) for key in keys})
        failed = rows.take(keys, Answer(2, live | status), float(number))
        expected = decode(live | latest, 2, slow)
        assert repr(rows.readings) == repr(expected.readings)
        assert failed == expected.failed.intersection(keys, status)
