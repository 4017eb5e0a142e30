"""Where the charged energy came from."""

from __future__ import annotations

import pytest

from goe_exporter.control.energy import Energy
from goe_exporter.control.rules import Input
from goe_exporter.surplus.situation import Sample, View

VIEW = View(0.0, "charging", "neutral", 1, 16, 3600.0, (16.0,))


def counted(read: Input, *, includes_charger: bool = True, power_w: float = 3600.0) -> list[float]:
    """Return what 10 s add: sun, battery, grid (Wh)."""
    energy = Energy(includes_charger=includes_charger)
    energy.count(100.0, read, VIEW)
    energy.count(110.0, read, VIEW._replace(power_w=power_w))
    totals = energy.totals()
    return [pytest.approx(totals[origin]) for origin in ("sun", "battery", "grid")]


@pytest.mark.parametrize(
    ("grid_w", "battery_w", "wh"),
    [
        (-500.0, None, [10, 0, 0]),
        (0.0, None, [10, 0, 0]),
        (1800.0, None, [5, 0, 5]),
        (9000.0, None, [0, 0, 10]),
        (0.0, 720.0, [8, 2, 0]),
        (1800.0, 9000.0, [0, 5, 5]),
        (0.0, -2000.0, [10, 0, 0]),
    ],
)
def test_origin(grid_w: float, battery_w: float | None, wh: list[float]) -> None:
    """3.6 kW for 10 s are 10 Wh; import is the charger's first, then the battery."""
    assert counted(Input(Sample(grid_w, 100.0, battery_w))) == wh


def test_meter_without_the_charger() -> None:
    """A meter that does not see the charger shows 3 kW less than the grid supplies."""
    read = Input(Sample(-3600.0, 100.0))
    assert counted(read, includes_charger=False) == [10, 0, 0]
    assert counted(Input(Sample(0.0, 100.0)), includes_charger=False) == [0, 0, 10]


def test_unknown() -> None:
    """Without a value nothing is counted, and of a gap one minute at most."""
    assert counted(Input(Sample(0.0, 100.0), failed=True)) == [0, 0, 0]
    assert counted(Input()) == [0, 0, 0]
    energy = Energy()
    energy.count(100.0, Input(Sample(0.0, 100.0)), VIEW)
    energy.count(1000.0, Input(Sample(0.0, 100.0)), VIEW)
    assert energy.totals()["sun"] == pytest.approx(60)
