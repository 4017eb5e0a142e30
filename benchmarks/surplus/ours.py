"""The product's decision as a rule of the benchmark."""

from __future__ import annotations

from benchmarks.surplus.rivals import NEUTRAL, OFF, Put, Read, Seen
from goe_exporter.surplus.decision import decide
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import Decision, Sample, Situation, View

FORCES = {NEUTRAL: "neutral", OFF: "off", 2: "on"}
MODES = {0: 0, 1: 1, 2: 3}
KEYS = {
    "force_state": ("frc", {"neutral": 0, "off": 1}),
    "phases": ("psm", {"auto": 0, 1: 1, 3: 2}),
    "max_current": ("amp", {}),
}


class Surplus:
    """`decide`, every 10 s."""

    interval_s = 10

    def __init__(self, *, age_known: bool = True, **settings: object) -> None:
        """Begin without a lease."""
        chosen = {"max_current_a": 16, "phases": None, **settings}
        self.settings = Settings(**chosen)  # type: ignore[arg-type]
        self.memory = Memory()
        self.decisions: list[tuple[float, Decision]] = []
        self._age_known = age_known

    def step(self, seen: Seen, read: Read, put: Put) -> None:
        """Decide once."""
        sample = self._sample(seen, read)
        self.memory, decision = decide(
            self.settings, self.memory, Situation(seen.time, sample, view(seen))
        )
        self.decisions.append((seen.time, decision))
        for channel, value in decision.writes:
            key, codes = KEYS[channel]
            put(key, codes.get(value, value))

    def _sample(self, seen: Seen, read: Read) -> Sample | None:
        if read.age_s == float("inf"):
            return None
        battery_w = read.battery_w if self.settings.battery else None
        age_s = read.age_s if self._age_known else 0.0
        return Sample(read.grid_w, seen.time - age_s, battery_w, self._age_known)


def view(seen: Seen) -> View:
    """Return what a rule sees as a view."""
    car = "idle" if seen.idle else "charging" if seen.charging else "complete"
    return View(
        polled_at=seen.polled_at,
        car=car,
        force=FORCES[seen.frc],
        mode=MODES[seen.psm],
        amps=seen.amp,
        power_w=seen.power_w,
        currents_a=seen.currents_a,
        limit_a=16,
        closed_phases=seen.closed_phases,
        allowed=seen.frc != OFF and not seen.switching,
        reason="phase_switch" if seen.switching else "",
    )
