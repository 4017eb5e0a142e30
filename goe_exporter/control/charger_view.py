"""A snapshot as the view that a decision is based on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.surplus.feed import FeedView
from goe_exporter.surplus.settings import HIGHEST_A
from goe_exporter.surplus.situation import AUTO, NEUTRAL, SINGLE, THREE, View

ADAPTER_A = 16
NEEDED = ("car_state", "force_state", "phase_mode", "max_current", "power")
"""The channels that a decision requires."""

NEEDED_TO_FOLLOW = ("car_state", "max_current", "power")
"""The channels that the simple rule requires, which API v1 has too."""

NEEDED_TO_FEED = ("car_state",)
"""The channels that mode `feed` requires."""

_MODES = {"auto": AUTO, "single": SINGLE, "three": THREE}
_HIGHEST = "absolute_max_current"
_LIMITS = (_HIGHEST, "cable_current", "temperature_current_limit", "load_balancing_current")
_LABELS = ("L1", "L2", "L3")
_NO_FAULT = "none"
_DEAD_V = 100.0
"""A phase with less is not connected."""


def missing(snapshot: Snapshot, needed: Sequence[str]) -> tuple[str, ...]:
    """Return the names of needed channels that the charger does not report."""
    found = {reading.channel.name for reading in snapshot.readings}
    return tuple(name for name in needed if name not in found)


def view(snapshot: Snapshot) -> View:
    """Return what the charger shows; the snapshot must have `NEEDED_TO_FOLLOW`.

    Without a forced state and a phase mode, as with API v1, these are neutral and automatic.
    """
    values = {(each.channel.name, each.label): each.value for each in snapshot.readings}

    def number(name: str, label: str = "") -> float | None:
        value = values.get((name, label))
        return None if value is None else float(value)

    def count(name: str) -> int | None:
        flags = [values[name, label] for label in _LABELS if (name, label) in values]
        return sum(flag is True for flag in flags) if flags else None

    limits = [number(name) for name in _LIMITS]
    if values.get(("adapter_connected", "")) is True:
        limits.append(ADAPTER_A)
    voltages = [number("phase_voltage", label) for label in _LABELS]
    live = [volts for volts in voltages if volts is not None and volts > _DEAD_V]
    currents = (number("phase_current", label) for label in _LABELS)
    live_phases = count("phase_energized")
    plugged_at, started_at = number("plug_in_timestamp"), snapshot.boot_time
    if plugged_at is not None and started_at is not None:
        # On the charger's clock, because this machine's may be set while a car is plugged in.
        plugged_at -= started_at
    return View(
        polled_at=snapshot.taken - snapshot.age_seconds,
        car=str(values["car_state", ""]),
        force=str(values.get(("force_state", ""), NEUTRAL)),
        mode=_MODES.get(str(values.get(("phase_mode", ""))), AUTO),
        amps=int(float(values["max_current", ""])),
        power_w=float(values["power", ""]),
        currents_a=tuple(amps for amps in currents if amps is not None),
        limit_a=int(min([HIGHEST_A, *(amps for amps in limits if amps is not None)])),
        voltage_v=sum(live) / len(live) if live else 0.0,
        live_phases=3 if live_phases is None else live_phases,
        closed_phases=count("phase_contactor_closed") or 0,
        allowed=values.get(("charging_allowed", "")) is not False,
        reason=str(values.get(("charging_reason", ""), "")),
        error=values.get(("error", ""), _NO_FAULT) != _NO_FAULT,
        uptime_s=number("uptime"),
        plugged_at=plugged_at,
        energy_limit=("session_energy_limit", "") in values,
    )


def highest_a(snapshot: Snapshot) -> float | None:
    """Return the highest current that can be configured on the charger, None if it is unknown."""
    found = (each for each in snapshot.readings if each.channel.name == _HIGHEST)
    return next((float(each.value) for each in found), None)


def feed_view(snapshot: Snapshot) -> FeedView:
    """Return what mode `feed` sees of the charger; the snapshot must have `NEEDED_TO_FEED`."""
    values = {each.channel.name: each.value for each in snapshot.readings}
    grid_w = values.get("pv_grid_power")
    return FeedView(
        polled_at=snapshot.taken - snapshot.age_seconds,
        car=str(values["car_state"]),
        api=snapshot.api,
        grid_w=None if grid_w is None else float(grid_w),
    )
