"""A snapshot as the view of a decision: typed from docs/protocol.md."""

from __future__ import annotations

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.control.charger_view import NEEDED, NEEDED_TO_FOLLOW, missing, view
from goe_exporter.surplus.situation import View

STATUS = {
    "car": 2,
    "frc": 0,
    "psm": 2,
    "amp": 14,
    "nrg": [231, 230, 232, 0, 13.5, 13.6, 0.05, 3110, 3120, 10, 0, 6240, 100, 100, 90, 0],
    "alw": True,
    "modelStatus": 15,
    "err": 0,
    "pha": [True, True, True, True, True, False],
    "ama": 16,
    "cbl": 20,
    "amt": 32,
    "loa": None,
    "adi": False,
    "rbt": 3_600_000,
    "lccfi": 3_000_000,
    "dwo": None,
}


def snapshot(api: int = 2, **changes: object) -> Snapshot:
    """Return a snapshot, taken at 100, of a charger that started at 1,000,000."""
    status = {key: value for key, value in (STATUS | changes).items() if value is not ...}
    readings, failed = decode(status, api, boot_time=1_000_000.0)
    assert not failed
    return Snapshot("garage", api, 1_003_600.0, 100.0, readings, boot_time=1_000_000.0)


def test_view() -> None:
    """Every field of the view; the voltage is the mean of the live phases.

    The car was plugged in 3000 s after the charger's start, whatever this machine's clock says.
    """
    assert view(snapshot()) == View(
        polled_at=100.0,
        car="charging",
        force="neutral",
        mode=3,
        amps=14,
        power_w=6240.0,
        currents_a=(13.5, 13.6, 0.05),
        limit_a=16,
        voltage_v=231.0,
        live_phases=2,
        closed_phases=3,
        allowed=True,
        reason="fallback_default",
        error=False,
        uptime_s=3600.0,
        plugged_at=3000.0,
        energy_limit=False,
    )


def test_lowest_limit() -> None:
    """The lowest of the charger's limits counts; the adapter allows 16 A."""
    assert view(snapshot(ama=32, cbl=20)).limit_a == 20
    assert view(snapshot(ama=32, cbl=None, adi=True)).limit_a == 16
    assert view(snapshot(ama=32, amt=10)).limit_a == 10
    assert view(snapshot(ama=32, loa=8, cbl=13)).limit_a == 8
    assert view(snapshot(ama=..., cbl=..., amt=...)).limit_a == 32


def test_what_is_absent() -> None:
    """Without the bits of the phases, three are live and none is closed; no limit, no plug-in."""
    found = view(snapshot(pha=..., lccfi=None, rbt=..., dwo=5000, err=3, alw=False))
    assert (found.live_phases, found.closed_phases) == (3, 0)
    assert (found.plugged_at, found.uptime_s) == (None, None)
    assert (found.energy_limit, found.error, found.allowed) == (True, True, False)


def test_missing() -> None:
    """What control needs; API v1 has neither a forced state nor a phase mode."""
    assert missing(snapshot(), NEEDED) == ()
    assert missing(snapshot(nrg=None, amp=...), NEEDED) == ("max_current", "power")
    v1 = snapshot(1, frc=..., psm=..., modelStatus=..., lccfi=...)
    assert missing(v1, NEEDED) == ("force_state", "phase_mode")
    assert missing(v1, NEEDED_TO_FOLLOW) == ()
    assert (view(v1).force, view(v1).mode) == ("neutral", 0)
