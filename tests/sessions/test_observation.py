"""What the tracker learns from polls, with real and constructed answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from captures import decoded, load

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.sessions.observation import Moment, Observation, observation

NOW = Moment(5_000.0, 1_780_000_000.0, "boot-1", trusted=True)


def seen(status: dict[str, object], boot_time: float | None = 1_779_990_000.0) -> Observation:
    readings = decode(status, 2, boot_time=boot_time).readings
    snapshot = Snapshot("garage", 2, NOW.time, 0.0, readings, boot_time=boot_time)
    return observation(snapshot, NOW, 10.0)


def test_all_values() -> None:
    """Every value that matters is taken from the readings."""
    status: dict[str, object] = {
        "car": 2, "eto": 3_000_000, "wh": 4_567.8, "rbt": 10_000_000, "lccfi": 9_000_250,
        "trx": 2, "cbl": 20, "modelStatus": 23, "psm": 1, "pnp": 1,
        "nrg": [230, 230, 230, 0, 16, 0, 0, 3_680, 0, 0, 0, 3_680, 99, 0, 0, 0],
        "whs": 4_000.4, "whg": 500.4,
    }  # fmt: skip
    found = seen(status)
    assert found.mark == pytest.approx(9_000.25)
    assert found.since_plug_in == pytest.approx(999.75)
    assert (found.plugged, found.charging, found.interrupted) == (True, True, True)
    assert (found.meter_wh, found.counter_wh, found.uptime) == (3_000_000, 4_567.8, 10_000.0)
    assert (found.card, found.cable, found.power_w) == (2, True, 3_680.0)
    assert (found.phase_mode, found.phases) == ("single", 1)
    assert found.sources == {"solar": 4_000, "grid": 500}
    assert (found.moment, found.api, found.gap_seconds) == (NOW, 2, pytest.approx(30.1))


def test_absent_values() -> None:
    """An absent value is absent."""
    assert seen({}) == Observation(NOW, 2, seen({}).gap_seconds, None)
    assert seen({"rbt": 10_000_000, "lccfi": 5_000}, boot_time=None).since_plug_in is None


@pytest.mark.parametrize(
    ("car", "plugged"),
    [(0, None), (1, False), (2, True), (3, True), (4, True), (5, None), (6, None), (7, None)],
)
def test_whether_a_car_is_plugged_in(car: int, plugged: bool | None) -> None:
    """It is unknown in the states unknown, error and initializing, and in unlisted ones."""
    assert seen({"car": car}).plugged is plugged


@pytest.mark.parametrize(
    ("name", "plugged", "meter_wh", "counter_wh", "card", "cable"),
    [
        ("v1_033_MK2001-iobroker", False, 0, 0.0, 3, False),
        ("v1_051.4_evcc1609-idle", False, 37_000, 42.131, 0, True),
        ("v1_022.1_IPSCoyote", True, 3_057_000, 1_547.911, 0, True),
        ("v2_055.7_supermihi-V4-full", False, 6, 0.0, None, True),
    ],
)
def test_captures(
    captures_folder: Path,
    name: str,
    plugged: bool,
    meter_wh: int,
    counter_wh: float,
    card: int | None,
    cable: bool,
) -> None:
    """Real answers: `dws` counts 10 Ws, `eto` 0.1 kWh on API v1 and Wh on API v2."""
    api = int(name[1])
    readings = decoded(name, load(captures_folder, name)).readings
    found = observation(Snapshot(name, api, NOW.time, 0.0, readings), NOW, 5.0)
    assert (found.plugged, found.meter_wh, found.card) == (plugged, meter_wh, card)
    assert found.counter_wh == pytest.approx(counter_wh, abs=0.001)
    assert (found.cable, found.mark, found.api) == (cable, None, api)
