"""The inputs of a decision, and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from goe_exporter.surplus.settings import MAX_V, MIN_V, NOMINAL_V

AUTO, SINGLE, THREE = 0, 1, 3
NEUTRAL, OFF, ON = "neutral", "off", "on"
FORCE, PHASES, CURRENT = "force_state", "phases", "max_current"
"""The channels that are written."""
IDLE, CHARGING, COMPLETE = "idle", "charging", "complete"
SWITCHING_PHASES, MIN_PAUSE = "phase_switch", "min_pause_duration"


class Sample(NamedTuple):
    """What the meters showed: `grid_w` (W, positive: import), `battery_w` (W, discharging).

    `measured_at` is on the clock of `Situation.now`. Unless `age_known`, it is the time at which
    the value was read, and the value may be older. `battery_w` is None if it is unknown.
    """

    grid_w: float
    measured_at: float
    battery_w: float | None = None
    age_known: bool = True


class View(NamedTuple):
    """The charger as of a poll at `polled_at`.

    `car` is the state of the car, `force` the forced state, `mode` the phase mode (0 automatic, 1,
    3), `amps` the configured current and `limit_a` the lowest of the charger's own limits (A).
    `power_w`, `currents_a` (per phase) and `voltage_v` (mean of the phases) are measured.
    `live_phases` are those before the contactor, `closed_phases` those after it. `allowed` is
    whether the charger allows charging, and `reason` why. `plugged_at` is when the car was plugged
    in, on any clock, None if unknown. `energy_limit` is whether the session has one.
    """

    polled_at: float
    car: str
    force: str
    mode: int
    amps: int
    power_w: float
    currents_a: tuple[float, ...]
    limit_a: int = 32
    voltage_v: float = 230.0
    live_phases: int = 3
    closed_phases: int = 0
    allowed: bool = True
    reason: str = ""
    error: bool = False
    uptime_s: float | None = None
    plugged_at: float | None = None
    energy_limit: bool = False

    @property
    def phases(self) -> int:
        """The number of phases that are used: 1 or 3."""
        return SINGLE if self.mode == SINGLE else THREE

    @property
    def volts(self) -> float:
        """The measured voltage if it is plausible, else the nominal one (V)."""
        return self.voltage_v if MIN_V <= self.voltage_v <= MAX_V else NOMINAL_V


class Situation(NamedTuple):
    """What is known at `now` (s of a clock that only runs forward).

    `sample` is the last one that was read, None if there is none; `view` the last poll that
    succeeded. `failed` is whether the last read failed, which leaves an older sample.
    """

    now: float
    sample: Sample | None
    view: View | None
    failed: bool = False


class Write(NamedTuple):
    """A value for a channel, as `set` takes it: `max_current` 12, `phases` 1, `force_state` off."""

    channel: str
    value: int | str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to write, in this order, and what is reported.

    `state` is a name of docs/surplus.md, `reason` a name, "" if the state says it all. `surplus_w`
    is None if it is unknown. `phases` and `amps` are the target, None while nothing is offered.
    `budget_wh` is the energy that may be drawn beyond the surplus before a pause. In mode `feed`,
    `ids` are the powers (W) that are passed on, by the charger's names.
    """

    state: str
    reason: str = ""
    writes: tuple[Write, ...] = ()
    surplus_w: float | None = None
    phases: int | None = None
    amps: int | None = None
    budget_wh: float | None = None
    ids: Mapping[str, float] | None = None
