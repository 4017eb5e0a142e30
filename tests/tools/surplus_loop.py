"""A charger that obeys at once, in a loop with the surplus decision every 10 seconds."""

from __future__ import annotations

from goe_exporter.surplus.decision import decide
from goe_exporter.surplus.lease import Lease
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import Decision, Sample, Situation, View, Write

STEP_S = 10.0
VOLTS = 230.0


class Loop:
    """A charger, a car that draws exactly what it is offered, and a meter that is never late.

    The car takes current whenever it is offered it, `car_a` at most, on `car_phases` phases.
    Everything may be set by a test: what the charger shows (`amps`, `mode`, `force`, …), the
    meter's fault (`None`, "blind", "wrong_sign", "frozen", "repeating", "dead"), the keys that the
    charger ignores (`ignored`). `writes` are all writes with their time, `operations` the times at
    which the contactor was operated.
    """

    def __init__(self, lease: Lease | None = None, now: float = 1000.0, **settings: object) -> None:
        self.settings = Settings(**{"max_current_a": 16, "phases": None, **settings})  # type: ignore[arg-type]
        self.memory = Memory() if lease is None else Memory(lease)
        self.now = now
        self.amps, self.mode, self.force = 16, 0, "neutral"
        self.plugged, self.car_phases, self.car_a = True, 3, 32.0
        self.full = False
        self.plugged_at: float | None = now - 60
        self.uptime_s = 5000.0
        self.limit_a = 16
        self.reachable = True
        self.error = False
        self.energy_limit = False
        self.refused_reason = ""
        self.surplus_w = 0.0
        self.battery_w: float | None = None
        self.age_known = True
        self.meter_fault: str | None = None
        self.ignored: set[str] = set()
        self.writes: list[tuple[float, Write]] = []
        self.decisions: list[Decision] = []
        self.operations: list[float] = []
        self._closed = 3
        self._sample: Sample | None = None

    @property
    def phases(self) -> int:
        return 1 if self.mode == 1 else 3

    @property
    def charging(self) -> bool:
        allowed = self.force != "off" and not self.refused_reason
        return self.plugged and allowed and not self.full

    @property
    def drawn_phases(self) -> int:
        return min(self.phases, self.car_phases) if self.charging else 0

    @property
    def power_w(self) -> float:
        return self.drawn_phases * VOLTS * min(self.amps, self.car_a)

    @property
    def view(self) -> View:
        idle, drawing = not self.plugged, self.charging
        currents = tuple(
            float(min(self.amps, self.car_a)) if phase < self.drawn_phases else 0.0
            for phase in range(3)
        )
        return View(
            polled_at=self.now,
            car="idle" if idle else "charging" if drawing else "complete",
            force=self.force,
            mode=self.mode,
            amps=self.amps,
            power_w=self.power_w,
            currents_a=currents,
            limit_a=self.limit_a,
            closed_phases=self.phases if drawing else 0,
            allowed=self.force != "off" and not self.refused_reason,
            reason=self.refused_reason,
            error=self.error,
            uptime_s=self.uptime_s,
            plugged_at=self.plugged_at,
            energy_limit=self.energy_limit,
        )

    def _measured(self) -> Sample | None:
        grid_w = self.power_w - self.surplus_w - (self.battery_w or 0.0)
        if self.meter_fault == "dead":
            return self._sample
        if self.meter_fault == "frozen" and self._sample:
            return self._sample
        if self.meter_fault == "repeating" and self._sample:
            return self._sample._replace(measured_at=self.now)
        if self.meter_fault == "blind":
            grid_w = -self.surplus_w
        elif self.meter_fault == "wrong_sign":
            grid_w = -grid_w
        return Sample(grid_w, self.now, self.battery_w, self.age_known)

    def step(self) -> Decision:
        """Take one step of 10 s, and let the charger do what was written."""
        self.now += STEP_S
        self.uptime_s += STEP_S
        self._operated()
        self._sample = self._measured()
        view = self.view if self.reachable else None
        situation = Situation(self.now, self._sample, view)
        self.memory, decision = decide(self.settings, self.memory, situation)
        self.decisions.append(decision)
        for write in decision.writes:
            self.writes.append((self.now, write))
            if self.reachable and write.channel not in self.ignored:
                self._apply(write)
        self._operated()
        return decision

    def _operated(self) -> None:
        closed = self.phases if self.charging else 0
        if closed != self._closed:
            both = bool(closed and self._closed)
            self.operations += [self.now] * (2 if both else 1)
            self._closed = closed

    def _apply(self, write: Write) -> None:
        if write.channel == "max_current":
            self.amps = int(write.value)
        elif write.channel == "phases":
            self.mode = 0 if write.value == "auto" else int(write.value)
        else:
            self.force = str(write.value)

    def run(self, seconds: float, surplus_w: float | None = None) -> Decision:
        """Run for a time with a surplus (W), and return the last decision."""
        if surplus_w is not None:
            self.surplus_w = surplus_w
        decision = Decision("none")
        for _ in range(round(seconds / STEP_S)):
            decision = self.step()
        return decision

    def plug(self) -> None:
        """Plug in a car."""
        self.plugged, self.full = True, False
        self.plugged_at = None if self.plugged_at is None else self.now

    def unplug(self) -> None:
        """Unplug the car, which ends a forced state."""
        self.plugged, self.force = False, "neutral"

    def crash(self, seconds: float = 0.0, wall: float = 1_780_000_000.0) -> None:
        """Lose all but the lease, as it was before the last writes, and begin again later."""
        saved = self.memory.lease.saved(self.now, wall)
        self.now += seconds
        self.memory = Memory(Lease.loaded(saved, self.now, wall + seconds))

    def proven(self) -> Loop:
        """Take the meter as proven."""
        proof = self.memory.proof._replace(proven=True)
        self.memory = self.memory._replace(proof=proof)
        return self

    def state(self) -> tuple[bool, int, int]:
        """Return whether the car charges, on how many phases, with which current (A)."""
        if not self.charging:
            return False, 0, 0
        return True, self.drawn_phases, self.amps
