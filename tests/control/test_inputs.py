"""What is reported about the sources of the control loop."""

from __future__ import annotations

from goe_exporter.control.inputs import Inputs
from goe_exporter.surplus.source import Reading


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
