"""The state of a simulated charger: identity, settings and measurements, without physics."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random

from .car import Car
from .hardware import MODELS, Model

CARDS = 10
SOURCES = ("solar", "grid", "battery", "other")
WRITE_DELAY_S = 1.0
CHARGING_REASONS = frozenset({3, *range(7, 16), 19, 20, 33})
"""The codes of `modelStatus` with which charging is allowed."""


class State:
    """The state of a charger; tests may set every attribute.

    Identity: `model`, `hardware` (its row in `MODELS`), `firmware`, `serial`, `name`, `variant`
    (kW), `ama` (absolute maximum, A), `revision` and `style` (`rev` and `styp`, invented values).

    Settings: `amp`, `amx` and `tcl` (A; `amx` 0 = never set, `tcl` None = none until
    `tcl_until_s`), `access` (`acs`; on V2 hardware `ast`),
    `force` (`frc`), `phase_mode` (`psm`), `energy_limit_wh` (None = none), `transaction` (`trx`),
    `logic_mode` (`lmo`), `lock_setting` (`ust`), `price_limit_ct` (`awp`), `adapter` (16 A adapter
    in use), `load_limit_a` (`loa`, None = none), `ambient_c` (°C).

    Faults: `refused_keys` are rejected, `ignored_keys` are accepted without an effect.

    Counters: `contactor_operations` (each opening and each closing), `writes` (accepted writes by
    the key in API v2, or `amx`).

    Measured: `power_w`, `phase_power_w` (W; L1 L2 L3 N), `phase_voltage_v` (V; L1 L2 L3 N),
    `phase_current_a` (A; L1 L2 L3), `power_factor` (0 to 1; L1 L2 L3 N), `frequency_hz`,
    `energy_wh` (the total, `eto`), `session_wh` (`wh`), `source_wh` (since the car was plugged in,
    by source: solar, grid, battery, other), `card_wh` (per RFID card), `board_c`, `type2_c` (°C),
    `temperature_limit_a` (`amt`, A).

    State: `car` (None if none is plugged in), `cable_a` (A, None = no cable), `car_state`, `error`,
    `model_status`, `contactor_phases` (0 = open), `allowed_a` (`acu`, None = not allowed),
    `reboots`, `time_s` (simulated seconds since its creation), `charging_s`, `left_idle_ms`
    (`lccfi`, ms since the last start; None until a car is plugged in).
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
        self.hardware: Model = MODELS[model]
        self.model: str = model
        self.firmware: str = self.hardware.firmware if firmware is None else firmware
        self.serial: str = serial
        self.name: str = name
        self.variant: int = self.hardware.variant if variant is None else variant
        if self.variant not in (11, 22):
            message = f"variant: must be 11 or 22 (kW), not {self.variant!r}"
            raise ValueError(message)
        self.ama: int = 32 if self.variant == 22 else 16
        self.revision: str = "V2.1"
        self.style: str = "fixed"
        self._random = Random(f"{seed}")  # noqa: S311  (noise, not a secret)
        self._set_defaults()
        self._clear_meter()

    def _set_defaults(self) -> None:
        self.amp: int = 16
        self.amx: int = 0
        self.tcl: int | None = None
        self.tcl_until_s: float = 0.0
        self.access: int = 0
        self.force: int = 0
        self.phase_mode: int = 0
        self.energy_limit_wh: float | None = None
        self.limit_memory: int = 180 if self.hardware.v2 else 0
        self.transaction: int | None = None
        self.logic_mode: int = 3
        self.lock_setting: int = 0
        self.price_limit_ct: float = 3.0
        self.use_surplus: bool = False
        self.brightness: int = 255
        self.adapter: bool = False
        self.load_limit_a: int | None = None
        self.pv_w: dict[str, float] = {}
        self.pv_until_s: float = 0.0
        self.refused_keys: set[str] = set()
        self.ignored_keys: set[str] = set()
        self.writes: Counter[str] = Counter()
        self.contactor_operations: int = 0
        self.reboots: int = 1
        self.error: int = 0
        self.car: Car | None = None
        self.cable_a: int | None = None

    def _clear_meter(self) -> None:
        self.time_s: float = 0.0
        self._ticks = 0
        self._booted_s = 0.0
        self._initializing_s = self._switching_s = self._wake_s = 0.0
        self._opened_s: float | None = None
        self._pending: list[tuple[float, Callable[[State], None]]] = []
        self.ambient_c: float = 18.0
        self.board_c: float = self.ambient_c + 5.0
        self.type2_c: float = self.ambient_c + 2.0
        self._grid_v = [230.0 + self._random.gauss(0.0, 1.5) for _ in range(3)] + [1.5]
        self.phase_voltage_v: list[float] = list(self._grid_v)
        self.frequency_hz: float = 50.0
        self.contactor_phases: int = 0
        self.last_phases: int = 1
        self.charging_s: float = 0.0
        self.has_charged: bool = False
        self.energy_wh: float = 0.0
        self.session_wh: float = 0.0
        self.source_wh: dict[str, float] = dict.fromkeys(SOURCES, 0.0)
        self.left_idle_ms: float | None = None
        self.card_wh: list[float] = [0.0] * CARDS
        self.recent_power_w: deque[float] = deque([0.0] * 30, maxlen=30)
        self.temperature_limit_a: int = 0
        self.model_status: int = 0
        self.allowed_a: int | None = None
        self.car_state: int = 0
        self._zero_currents()

    def _zero_currents(self) -> None:
        self._drawn_a = 0.0
        self.phase_current_a: list[float] = [0.0, 0.0, 0.0]
        self.phase_power_w: list[float] = [0.0, 0.0, 0.0, 0.0]
        self.power_factor: list[float] = [0.0, 0.0, 0.0, 0.0]
        self.power_w: float = 0.0

    @property
    def uptime_ms(self) -> float:
        """Time since the last start (ms, `rbt`)."""
        return (self.time_s - self._booted_s) * 1000.0

    @property
    def average_power_w(self) -> float:
        """Mean power of the last 30 s (W, `tpa`)."""
        return sum(self.recent_power_w) / len(self.recent_power_w)

    @property
    def temporary_limit_a(self) -> int | None:
        """The temporary limit (A, `tcl`), None without one; it expires (docs/protocol.md §5.1)."""
        return self.tcl if self.time_s < self.tcl_until_s else None

    @property
    def allowed(self) -> bool:
        """Whether the logic allows charging (`alw`)."""
        return self.model_status in CHARGING_REASONS

    @property
    def initializing(self) -> bool:
        """Whether it is starting after a reboot."""
        return self._initializing_s > 0

    @property
    def switching_phases(self) -> bool:
        """Whether the contactor is open to change the number of phases."""
        return self._switching_s > 0

    @property
    def switching_left_s(self) -> float:
        """Time (s) until the phases have been changed."""
        return self._switching_s

    def schedule(self, change: Callable[[State], None], delay_s: float = WRITE_DELAY_S) -> None:
        """Apply a change of the settings `delay_s` simulated seconds from now."""
        self._pending.append((self.time_s + delay_s, change))
        self._pending.sort(key=lambda pending: pending[0])
