"""What a successful poll reveals about charging sessions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from goe_exporter.channels.snapshot import Reading, Snapshot

PLUGGED = {"idle": False, "charging": True, "waiting_for_car": True, "complete": True}
"""Whether a car is plugged in, by its state; unknown in other states."""

INTERRUPTIONS = ("phase_switch", "simulate_unplugging")
"""The charging reasons during which the car state may be idle although a car is plugged in."""

GAP_INTERVALS = 3
_GAP_TOLERANCE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Moment:
    """When the values were measured.

    `uptime` is the machine's uptime (s) in the boot `boot`; `time` is Unix time (s), of a clock
    that is `trusted` or not.
    """

    uptime: float
    time: float
    boot: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """The values of one poll; None if a value is absent.

    More than `gap_seconds` since the last observation is a gap. `meter_wh` is the charger's meter,
    `counter_wh` its session counter. `uptime` is how long the charger has been running, and `mark`
    the uptime at which a car was plugged in (both s). `phases` is the number of phases in use, 0 if
    none or unknown. While `interrupted`, idle does not mean unplugged.
    """

    moment: Moment
    api: int
    gap_seconds: float
    plugged: bool | None
    charging: bool = False
    meter_wh: int | None = None
    counter_wh: float | None = None
    uptime: float | None = None
    mark: float | None = None
    card: int | None = None
    cable: bool = False
    interrupted: bool = False
    phase_mode: str = ""
    phases: int = 0
    power_w: float | None = None
    sources: Mapping[str, int] = field(default_factory=dict)

    @property
    def since_plug_in(self) -> float | None:
        """The seconds since a car was plugged in, None if unknown."""
        if self.uptime is None or self.mark is None:
            return None
        return self.uptime - self.mark


STATES = {
    "cable_current",
    "car_state",
    "charging_reason",
    "phase_mode",
    "phases",
    "plug_in_timestamp",
    "serial",
    "transaction",
}
"""The rows whose values rarely change from poll to poll."""

METERS = ("energy", "session_energy", "uptime", "power")
"""The rows whose values change while a car charges; the power is the last."""

_WANTED = STATES | set(METERS)


def observation(
    snapshot: Snapshot, moment: Moment, interval_seconds: float, power_w: float | None = None
) -> Observation:
    """Return the observation of a charger that is polled every `interval_seconds`.

    `power_w` is the highest power (W) since the last observation, if that is not the present one.
    """
    found: dict[str, Reading] = {}
    sources: dict[str, int] = {}
    for reading in snapshot.readings:
        name = reading.channel.name
        if name in _WANTED:
            found[name] = reading
        elif name == "session_source_energy":
            sources[reading.label] = round(reading.value)  # type: ignore[arg-type]
    state = _text(found, "car_state")
    meter, plug_in, card = (
        _number(found, name) for name in ("energy", "plug_in_timestamp", "transaction")
    )
    boot_time = snapshot.boot_time
    return Observation(
        moment,
        snapshot.api,
        GAP_INTERVALS * interval_seconds + _GAP_TOLERANCE_SECONDS,
        PLUGGED.get(state),
        charging=state == "charging",
        meter_wh=None if meter is None else round(meter),
        counter_wh=_number(found, "session_energy"),
        uptime=_number(found, "uptime"),
        mark=None if plug_in is None or boot_time is None else plug_in - boot_time,
        card=None if card is None else round(card),
        cable="cable_current" in found,
        interrupted=_text(found, "charging_reason") in INTERRUPTIONS,
        phase_mode=_text(found, "phase_mode"),
        phases=round(_number(found, "phases") or 0),
        power_w=_number(found, "power") if power_w is None else power_w,
        sources=sources,
    )


def completed(seen: Observation, last: Observation, meter_wh: int, seconds: float) -> Observation:
    """Return an observation with what it lacks, from the last one, `seconds` before it (or inf).

    `meter_wh` is the latest reading of the charger's meter.
    """
    values = (seen.meter_wh, seen.counter_wh, seen.uptime)
    if None not in values and seen.phase_mode and seen.phases:
        return seen
    uptime = seen.uptime
    if uptime is None and last.uptime is not None and not math.isinf(seconds):
        uptime = last.uptime + seconds
    return replace(
        seen,
        meter_wh=meter_wh,
        counter_wh=last.counter_wh if seen.counter_wh is None else seen.counter_wh,
        uptime=uptime,
        phase_mode=seen.phase_mode or last.phase_mode,
        phases=seen.phases or last.phases,
    )


def _number(found: Mapping[str, Reading], name: str) -> float | None:
    reading = found.get(name)
    return None if reading is None else float(reading.value)


def _text(found: Mapping[str, Reading], name: str) -> str:
    reading = found.get(name)
    return "" if reading is None else str(reading.value)
