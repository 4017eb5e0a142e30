"""The simulated charger: its physics, second by second."""

from __future__ import annotations

import math

from . import logic, settings
from .car import Car
from .state import SOURCES, State

STEP_S = 1.0
RAMP_A_PER_S = 4.0
REBOOT_S = 3.0
PHASE_SWITCH_S = 10.0
DRAW_RATIO = 0.97
SAG_V_PER_A = 0.1
ROUNDING_S = 1e-6
BOARD_RISE_C_PER_A2, BOARD_TAU_S = 0.024, 600.0
TYPE2_RISE_C_PER_A2, TYPE2_TAU_S = 0.030, 420.0


class Charger(State):
    """A charger with physics: its `State`, and how that changes with time.

    Time passes only in `advance`. Logic, meter and energy counters are updated once a simulated
    second (docs/protocol.md §1), so the state at a given second depends on the seed and on what
    was done to the charger, never on how often it was polled.
    """

    def __init__(
        self,
        model: str = "V4",
        firmware: str | None = None,
        serial: str = "000000",
        name: str = "go-eCharger",
        seed: int = 0,
        variant: int | None = None,
    ) -> None:
        """Create a charger that has just been switched on; KeyError for an unknown model."""
        super().__init__(model, firmware, serial, name, seed, variant)
        self._decide()

    def advance(self, seconds: float) -> None:
        """Let simulated time pass; raises ValueError for a negative or infinite time."""
        if not (seconds >= 0 and math.isfinite(seconds)):
            message = f"seconds: must be finite and 0 or more, not {seconds!r}"
            raise ValueError(message)
        end = self.time_s + seconds
        while True:
            tick = (self._ticks + 1) * STEP_S
            moment = min(tick, self._pending[0][0]) if self._pending else tick
            if moment > end + ROUNDING_S:
                break
            self.time_s = max(self.time_s, moment)
            self._apply_due_writes()
            if moment == tick:
                self._tick()
        self.time_s = max(self.time_s, end)

    def plug(self, car: Car) -> None:
        """Plug in a car, which begins a session; raises ValueError if there is one already."""
        if self.car is not None:
            message = "a car is plugged in already; unplug it first"
            raise ValueError(message)
        self.car = car
        self.cable_a = car.cable_a
        self.session_wh = 0.0
        self.source_wh = dict.fromkeys(SOURCES, 0.0)
        self.left_idle_ms = self.uptime_ms
        self.charging_s = 0.0
        self.has_charged = False
        self._wake_s = car.wait_s
        self._opened_s = None
        self._decide()

    def unplug(self) -> None:
        """Unplug the car and its cable; the session's energy is kept until the next car.

        It also ends a forced state (docs/protocol.md §5.3).
        """
        self._open_contactor()
        self.car = None
        self.cable_a = None
        self.transaction = None
        self._switching_s = 0.0
        if self.hardware.v2:
            self.force = 0
        self._decide()

    def inject(self, error_code: int) -> None:
        """Set an error, by the code of its firmware (docs/protocol.md §2 "Codes")."""
        self.error = error_code
        self._decide()

    def clear_error(self) -> None:
        """Clear the error."""
        self.error = 0
        self._decide()

    def reboot(self) -> None:
        """Restart: the uptime starts at 0, pending writes are lost, and `amx` is cleared."""
        self.reboots += 1
        self._booted_s = self.time_s
        self._initializing_s = REBOOT_S
        self._switching_s = 0.0
        self._pending.clear()
        self.amx = 0
        self.left_idle_ms = None
        self._decide()

    def write(self, key: str, value: object) -> None:
        """Write a setting by its key in API v2, or `amx`; it applies one second later.

        Raises `settings.RefusedError` (a ValueError) if the charger refuses it.
        """
        settings.accept(self, key, value)

    def _apply_due_writes(self) -> None:
        while self._pending and self._pending[0][0] <= self.time_s + ROUNDING_S:
            self._pending.pop(0)[1](self)
            self._decide()

    def _tick(self) -> None:
        """Simulate one second."""
        self._ticks += 1
        self._initializing_s = max(0.0, self._initializing_s - STEP_S)
        self._switching_s = max(0.0, self._switching_s - STEP_S)
        self._decide()
        self._switch_contactor()
        self._measure()
        self._count()
        self._warm()
        self._decide()

    def _decide(self) -> None:
        """Update the decisions, and open the contactor at once if charging must stop."""
        self.temperature_limit_a = logic.temperature_limit_a(self)
        self.model_status = logic.reason(self)
        self.allowed_a = (logic.allowance_a(self) or None) if self.allowed else None
        if not self._may_draw():
            self._open_contactor()
        self.car_state = logic.car_state(self)

    def _may_draw(self) -> bool:
        car, offered_a = self.car, self.allowed_a
        if car is None or offered_a is None:
            return False
        return offered_a >= car.min_current_a and not car.full

    def _open_contactor(self) -> None:
        if self.contactor_phases:
            self.contactor_phases = 0
            self.contactor_operations += 1
            self._opened_s = self.time_s
            self._zero_currents()

    def _selected_phases(self) -> int:
        return 1 if self.phase_mode == 1 else 3

    def _switch_contactor(self) -> None:
        """Close the contactor when the car is ready, open it to change the phases."""
        if self.contactor_phases not in (0, self._selected_phases()):
            self._open_contactor()
            self._switching_s = PHASE_SWITCH_S
            # The session counter restarts just below zero (docs/protocol.md §3.5).
            self.session_wh = -0.0015
        elif self._may_draw() and not self.contactor_phases:
            self._wait_for_car()

    def _wait_for_car(self) -> None:
        """Close the contactor when the car is ready to charge."""
        if self._opened_s is not None and self.car is not None:
            self._wake_s = self.car.delay_s(self.time_s - STEP_S - self._opened_s)
            self._opened_s = None
        self._wake_s -= STEP_S
        if self._wake_s <= 0:
            self.contactor_phases = self.last_phases = self._selected_phases()
            self.contactor_operations += 1
            self.has_charged = True

    def _measure(self) -> None:
        """Measure the currents, voltages and powers of this second."""
        noise = self._random.gauss
        demand = self.car.demand_a() if self.car and self.contactor_phases else 0.0
        target = min(DRAW_RATIO * (self.allowed_a or 0), demand)
        change = max(-RAMP_A_PER_S, min(RAMP_A_PER_S, target - self._drawn_a))
        self._drawn_a += change
        loaded = min(self.contactor_phases, self.car.phases) if self.car else 0
        self.frequency_hz = 50.0 + noise(0.0, 0.02)
        for phase in range(3):
            jitter = self._random.uniform(-0.005, 0.005)
            stray = self._random.uniform(0.04, 0.08)
            current = self._drawn_a * (1.0 + jitter) if phase < loaded else 0.0
            factor = 0.995 + jitter if phase < loaded else 0.0
            if self.hardware.noise and self.contactor_phases and phase >= loaded:
                current = stray
            voltage = self._grid_v[phase] + noise(0.0, 0.4) - SAG_V_PER_A * current
            self.phase_current_a[phase] = current
            self.phase_voltage_v[phase] = voltage
            self.power_factor[phase] = factor
            self.phase_power_w[phase] = voltage * current * factor
        self.phase_voltage_v[3] = self._grid_v[3] + abs(noise(0.0, 0.3))
        self.power_w = sum(self.phase_power_w)

    def _count(self) -> None:
        """Add the energy of this second to all counters."""
        energy_wh = self.power_w * STEP_S / 3600.0
        self.energy_wh += energy_wh
        self.session_wh += energy_wh
        for source, share in logic.sources(self).items():
            self.source_wh[source] += energy_wh * share
        self.recent_power_w.append(self.power_w)
        if self.transaction:
            self.card_wh[self.transaction - 1] += energy_wh
        if self.contactor_phases:
            self.charging_s += STEP_S
        if self.car is not None:
            self.car.charge(energy_wh)

    def _warm(self) -> None:
        """Let the two sensors approach the temperature that belongs to the current."""
        squared = max(self.phase_current_a) ** 2
        board = self.ambient_c + 5.0 + BOARD_RISE_C_PER_A2 * squared
        type2 = self.ambient_c + 2.0 + TYPE2_RISE_C_PER_A2 * squared
        self.board_c += (board - self.board_c) * STEP_S / BOARD_TAU_S
        self.type2_c += (type2 - self.type2_c) * STEP_S / TYPE2_TAU_S
