"""What the control loop reports about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STATES = (
    *("no_car", "waiting", "charging", "paused", "following", "feeding", "blind"),
    *("handed_over", "not_allowed", "car_full", "charger_error", "unreachable", "unconfirmed"),
    *("not_supported", "unknown"),
)
"""The states; `unknown` is before the first step, and after an internal error."""


@dataclass(frozen=True)
class SourceVitals:
    """A source since the start.

    `up` is whether the last read gave a number, None before the first. `power_w` (W) is that
    number unless it is a current, `age_s` its age (s); both are None without one. `failures` counts
    failed reads by reason.
    """

    name: str
    up: bool | None = None
    power_w: float | None = None
    age_s: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SurplusVitals:
    """The control of one charger.

    `surplus_w` (W), `amps` (A), `phases` and `budget_wh` (Wh) are as in `Decision`. The counts are
    since the start of the process: `writes` by channel, `write_failures` by reason, `energy_wh`
    (Wh) that was charged by origin: sun, battery or grid.
    """

    charger: str
    mode: str
    state: str = "unknown"
    reason: str = ""
    surplus_w: float | None = None
    amps: int | None = None
    phases: int | None = None
    budget_wh: float | None = None
    sources: tuple[SourceVitals, ...] = ()
    starts: int = 0
    pauses: int = 0
    phase_switches: int = 0
    hand_overs: int = 0
    writes: Mapping[str, int] = field(default_factory=dict)
    write_failures: Mapping[str, int] = field(default_factory=dict)
    energy_wh: Mapping[str, float] = field(default_factory=dict)
    internal_errors: int = 0
