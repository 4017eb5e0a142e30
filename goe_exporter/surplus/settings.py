"""What a person configures, and the constants of the decisions."""

from __future__ import annotations

from dataclasses import dataclass

NOMINAL_V = 230.0
MIN_V, MAX_V = 200.0, 250.0
LOWEST_A, HIGHEST_A = 6, 32
"""The currents (A) that a charger can be set to."""

START_MARGIN_W = 20.0
SWITCH_MARGIN_W = 500.0
"""The surplus must exceed what three phases need by this before they are used, as the vendor's
`psh` (docs/protocol.md §5.4)."""
PHASES_BUDGET_WH = 100.0
UP_AFTER_S = 300.0
UP_INTERVAL_S = 900.0
DOWN_INTERVAL_S = 120.0
MEAN_S = 60.0
RAISE_MEAN_S = 10.0
DOWN_SHARE = 0.8
SETTLE_S = 10.0
"""A change of the current shows in the car's draw after this time."""
STEP_S = 10.0
"""The usual time between two decisions."""

HEADROOM_A = 2
"""A car that draws this much less than it is offered takes no more."""
DRAWING_A = 1.0
"""More than the noise on a phase that the car does not use."""
DRAWING_W = 100.0
CHARGING_W = 500.0
FOOTHOLD_W = 100.0
"""The surplus that is left to a house battery that charges first, so that it can begin."""

HOUR_S = 3600.0
MAX_OPERATIONS = 20
MAX_CURRENT_WRITES = 120
SHORT_CHARGE_S = 900.0
MAX_PAUSE_S = 900.0

STALE_AFTER_S = 65.0
"""A meter with a value every minute is not stale with this, and a pause comes within 75 s."""
FROZEN_AFTER_S = 300.0
HISTORY_S = 400.0

UNREACHABLE_INTERVALS = 3
POLLS_TO_CONFIRM = 2
"""Polls within which the charger shows a write."""
NOT_ALLOWED_AFTER_S = 30.0
FULL_AFTER_S = 600.0
PHASE_SWITCH_S = 60.0
"""Within this time after a phase switch, `car` may show idle (docs/protocol.md §5.3)."""
UNPLUGGED_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How one charger follows the surplus.

    `phases` is 1 or 3, None if they may be switched. `max_current_a` and `min_current_a` limit the
    current (A), `one_phase_max_a` also on one phase. `car_phases` is how many phases the car uses
    (1 to 3), None to measure it. `start_after_s` and `min_pause_s` are times (s),
    `pause_budget_wh` is the energy (Wh) that may be drawn beyond the surplus before a pause,
    `reserve_w` the power (W) that is left to the grid. A measurement older than `stale_after_s` (s)
    does not count. `battery` is None without a house battery, else which of them charges first:
    `house` or `car`. `includes_charger` is whether the grid meter sees the charger, and
    `refresh_s` the interval at which the charger is polled (s).
    """

    max_current_a: int
    phases: int | None
    min_current_a: int = LOWEST_A
    one_phase_max_a: int = 16
    car_phases: int | None = None
    start_after_s: float = 60.0
    pause_budget_wh: float = 120.0
    min_pause_s: float = 180.0
    reserve_w: float = 0.0
    stale_after_s: float = STALE_AFTER_S
    battery: str | None = None
    includes_charger: bool = True
    refresh_s: float = 5.0

    @property
    def lowest_mode(self) -> int:
        """The number of phases (1 or 3) on which charging starts."""
        return 3 if self.phases == 3 else 1
