"""Cars with habits, refused writes, and what a simulated charger counts."""

from __future__ import annotations

import pytest

from goe_exporter.simulator import Car, Charger
from goe_exporter.simulator.responses import set_v1, set_v2, status_v2


def charging(model: str = "V3", **car: float) -> Charger:
    """Return a charger that has charged a three-phase car for a minute."""
    charger = Charger(model)
    charger.plug(Car(battery_wh=60_000, soc=0.2, **car))  # type: ignore[arg-type]
    charger.advance(60)
    return charger


def pause(charger: Charger, seconds: float) -> None:
    """Force the charger off for a time, then allow charging again."""
    charger.write("frc", 1)
    charger.advance(seconds)
    charger.write("frc", 0)
    charger.advance(1)


def test_car_with_a_minimum_current() -> None:
    """A car that needs 8 A stops below it, and charges again at 8 A."""
    charger = charging(min_current_a=8)
    charger.write("amp", 7)
    charger.advance(60)
    assert (charger.power_w, charger.contactor_phases, charger.car_state) == (0, 0, 3)
    charger.write("amp", 8)
    charger.advance(60)
    assert charger.car_state == 2
    assert charger.phase_current_a[0] == pytest.approx(7.8, abs=0.1)


def test_car_needs_time_after_a_pause() -> None:
    """A car may take 20 s before it draws again; by default it takes 2 s."""
    slow, usual = charging(resume_s=20), charging()
    for charger in (slow, usual):
        pause(charger, 60)
        charger.advance(5)
    assert (slow.power_w, usual.power_w > 3000) == (0, True)
    slow.advance(20)
    assert slow.power_w > 3000


def test_car_needs_time_after_a_phase_switch() -> None:
    """After the charger's 10 s, a slow car takes its own time too."""
    charger = charging(resume_s=20)
    charger.write("psm", 1)
    charger.advance(25)
    assert charger.contactor_phases == 0
    charger.advance(10)
    assert charger.contactor_phases == 1


def test_car_falls_asleep() -> None:
    """A car that sleeps after ten minutes draws at once after five, and never after twenty."""
    charger = charging(sleep_after_s=600)
    pause(charger, 300)
    charger.advance(10)
    assert charger.car_state == 2
    pause(charger, 1200)
    charger.advance(3600)
    assert (charger.power_w, charger.car_state) == (0, 3)
    charger.unplug()
    charger.plug(Car())
    charger.advance(30)
    assert charger.car_state == 2


def test_car_wakes_up() -> None:
    """Another sleeping car draws two minutes after it is offered current."""
    charger = charging(sleep_after_s=600, wake_s=120)
    pause(charger, 1200)
    charger.advance(110)
    assert charger.power_w == 0
    charger.advance(20)
    assert charger.power_w > 3000


def test_contactor_operations() -> None:
    """Opening and closing count one each; a phase switch is two."""
    charger = charging()
    assert charger.contactor_operations == 1
    pause(charger, 60)
    charger.advance(10)
    assert charger.contactor_operations == 3
    charger.write("psm", 1)
    charger.advance(60)
    assert charger.contactor_operations == 5
    charger.unplug()
    charger.advance(1)
    assert charger.contactor_operations == 6


def test_writes_are_counted_by_key() -> None:
    """Accepted writes of both APIs are counted by key, refused ones are not."""
    charger = charging("V4")
    set_v2(charger, "amp=10")
    set_v2(charger, "amp=99")
    set_v2(charger, "psm=1&frc=1")
    set_v1(charger, "amx=12")
    set_v1(charger, "alw=1")
    assert charger.writes == {"amp": 1, "psm": 1, "frc": 2, "amx": 1}


def test_refused_key() -> None:
    """A charger can refuse a key that others have: HTTP 500 with a reason."""
    charger = charging()
    charger.refused_keys = {"psm"}
    assert set_v2(charger, "psm=1") == (500, {"psm": "psm: failed: value not allowed (1)"})
    charger.advance(10)
    assert (charger.phase_mode, charger.contactor_phases, charger.writes) == (0, 3, {})


def test_ignored_key() -> None:
    """A charger can accept a key without an effect."""
    charger = charging()
    charger.ignored_keys = {"psm"}
    assert set_v2(charger, "psm=1") == (200, {"psm": True})
    charger.advance(10)
    assert status_v2(charger, ["psm", "pnp"]) == {"psm": 0, "pnp": 3}
