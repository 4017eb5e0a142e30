"""Values that were never measured or have no meaning are absent (docs/protocol.md §5.2)."""

from __future__ import annotations

import pytest

from goe_exporter.channels.decode import decode
from goe_exporter.charger import api_v1

ZEROS = [0] * 16


def values(status: dict[str, object], api: int = 2) -> dict[str, object]:
    """Return what a status decodes to, as `name` or `name.part` → value."""
    return {
        f"{row.name}.{label}" if label and code is None else row.name: value
        for row, label, value, code in decode(status, api).readings
    }


def test_zeros_while_charging() -> None:
    """Three voltages of 0 while the car charges: nothing of the array was measured."""
    decoded = decode({"car": 2, "nrg": ZEROS, "tpa": 0, "wh": 0}, 2)
    assert [row.name for row, *_ in decoded.readings] == ["session_energy", "car_state"]
    assert decoded.failed == frozenset({"nrg"})


def test_zeros_while_charging_on_v1() -> None:
    """The same on API v1, whose states are texts."""
    decoded = decode(api_v1.status({"car": "2", "nrg": ZEROS}), 1)
    assert [row.name for row, *_ in decoded.readings] == ["car_state"]
    assert decoded.failed == frozenset({"nrg"})


@pytest.mark.parametrize("car", [None, 1, 3, 4])
def test_zeros_while_not_charging(car: object) -> None:
    """Without a charge, a current and a power of 0 are right, but three voltages of 0 are not."""
    got = values({"car": car, "nrg": ZEROS, "tpa": 0})
    assert got["power"] == got["phase_current.L1"] == got["power_average"] == 0
    assert not {"phase_voltage.L1", "phase_voltage.L2", "phase_voltage.L3"} & got.keys()


def test_only_the_zeros_are_absent() -> None:
    """What is not 0 was measured."""
    got = values({"car": 2, "nrg": [0, 0, 0, 0, 15.9, 0, 0, 3600, 0, 0, 0, 3600], "tpa": 3590})
    assert got == {
        "car_state": "charging",
        "phase_current.L1": 15.9,
        "phase_power.L1": 3600.0,
        "power": 3600.0,
        "power_average": 3590.0,
    }


@pytest.mark.parametrize(
    "volts",
    [
        [230, 0, 0, 0],  # a single-phase charger
        [15, 0, 0, 220],  # L and N swapped in the plug
        [0.4, 0, 0, 0],
    ],
)
def test_measured_zeros(volts: list[float]) -> None:
    """Zeros beside a voltage are readings."""
    decoded = decode({"car": 2, "nrg": [*volts, *[0] * 12], "tpa": 0}, 2)
    assert len(decoded.readings) == 18
    assert decoded.failed == frozenset()


@pytest.mark.parametrize("nrg", [[], [0], [0, 0], [None] * 16, [False] * 16, "0", {}, 0])
def test_other_arrays(nrg: object) -> None:
    """An array without three voltages is decoded as usual."""
    assert not values({"car": 2, "nrg": nrg, "tpa": 0}).keys() - {
        *("car_state", "power_average", "phase_voltage.L1", "phase_voltage.L2")
    }


@pytest.mark.parametrize(
    "model", ["go-eCharger_Phoenix", "go-eCharger_Pro", "go-eCharger_PRO", "go-eCharger_Core"]
)
def test_adapter_of_pro_and_core(model: str) -> None:
    """PRO and CORE always report a 16 A adapter: no reading, and not a failure."""
    decoded = decode({"typ": model, "adi": True}, 2)
    assert [row.name for row, *_ in decoded.readings] == ["model"]
    assert decoded.failed == frozenset()


def test_adapter_of_a_pro_without_its_type() -> None:
    """Without its type, PRO is recognized by its six sensors, of which the first two are null."""
    assert "adapter_connected" not in values({"adi": True, "tma": [None, None, 30, 31, 29, 33]})


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"typ": "go-eCharger"},
        {"typ": "go-eCharger_V4"},
        {"typ": "go-eCharger_V5", "tma": [None, None, 30, 31, 29, 33]},
        {"tma": [28.5, 23]},
        {"typ": 7, "tma": {}},
    ],
)
def test_adapter_of_the_others(status: dict[str, object]) -> None:
    """On other models it is a reading."""
    assert values(status | {"adi": True})["adapter_connected"] is True
