"""What is reported about the sources of the control loop."""

from __future__ import annotations

from goe_exporter.control.inputs import Inputs
from goe_exporter.surplus.source import Reading, SourceError


def test_the_last_reading_is_reported_during_the_next_read() -> None:
    """A scrape while the sources are read shows the last value, and not none."""
    shown: list[tuple[float | None, float | None]] = []

    class Source:
        name = "grid"

        def read(self, _until: float) -> Reading:
            (vitals,) = inputs.vitals()
            shown.append((vitals.power_w, vitals.age_s))
            return Reading(-500.0, 96.0, age_known=True)

    inputs = Inputs({"grid": Source()}, lambda: 100.0)
    inputs.read()
    inputs.read()
    assert shown == [(None, None), (-500.0, 4.0)]


def test_a_source_that_hangs_costs_the_others_one_read() -> None:
    """It uses up the time of all, so from then on it is read after those that answer."""
    now = 100.0
    hanging = {"battery"}

    class Source:
        def __init__(self, name: str) -> None:
            self.name = name

        def read(self, until: float) -> Reading:
            nonlocal now
            if self.name in hanging:
                now = max(now, until)
            if now >= until:
                raise SourceError("timeout", "no answer")
            return Reading(1.0, now, age_known=True)

    inputs = Inputs({name: Source(name) for name in ("grid", "battery", "pv")}, lambda: now)
    assert set(inputs.readings(2)) == {"grid"}
    for _ in range(2):
        assert set(inputs.readings(2)) == {"grid", "pv"}
    hanging = {"grid", "battery"}
    inputs.readings(2)
    for _ in range(4):
        assert set(inputs.readings(2)) == {"pv"}
    hanging = set()
    assert set(inputs.readings(2)) == {"grid", "battery", "pv"}
    assert [each.name for each in inputs.vitals()] == ["grid", "battery", "pv"]
