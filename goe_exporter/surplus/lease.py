"""What must survive a crash: the settings found, those that were changed, and the wear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from goe_exporter.surplus.settings import HIGHEST_A, LOWEST_A
from goe_exporter.surplus.situation import (
    AUTO,
    CURRENT,
    FORCE,
    IDLE,
    NEUTRAL,
    OFF,
    ON,
    PHASES,
    SINGLE,
    THREE,
    View,
    Write,
)
from goe_exporter.surplus.wear import Wear, number

VERSION = 1
MODES = (AUTO, SINGLE, THREE)
CHANNELS = (CURRENT, FORCE, PHASES)
SAME_PLUG_S = 1.0


class Baseline(NamedTuple):
    """The settings as a person left them: current (A), phase mode, forced state."""

    amps: int
    mode: int
    force: str

    @classmethod
    def of(cls, view: View) -> Baseline:
        """Return the settings that the charger shows."""
        return cls(view.amps, view.mode, view.force)


class Lease(NamedTuple):
    """The charger's settings on loan.

    `baseline` is what was found, None before the first poll. `owned` are the channels that were
    written, `force_state` only while it is off. `plugged_at` is when the present car was plugged
    in, and `proven` whether the meter has proven itself since. `handed_over` is the channel that a
    person has changed since, if that ends the control until the car leaves, else "".
    """

    baseline: Baseline | None = None
    owned: frozenset[str] = frozenset()
    wear: Wear = Wear()
    plugged_at: float | None = None
    proven: bool = False
    handed_over: str = ""

    def is_of(self, view: View) -> bool:
        """Return whether the car that a poll shows is the one that the lease is about."""
        mark, plugged_at = self.plugged_at, view.plugged_at
        if view.car == IDLE or mark is None or plugged_at is None:
            return False
        return abs(mark - plugged_at) <= SAME_PLUG_S

    def still_handed_over(self, view: View) -> str:
        """Return `handed_over` unless a poll shows no car, or another one.

        Where the time of plugging in is unknown, it is taken for the same car.
        """
        may_be = None in (self.plugged_at, view.plugged_at) or self.is_of(view)
        return self.handed_over if view.car != IDLE and may_be else ""

    def give_back(self, view: View | None, *, keep_off: bool = False) -> tuple[Write, ...]:
        """Return the writes that restore what was changed, a pause last.

        What `view` shows restored already is left out. With `keep_off` a pause stays, so that a
        stopped exporter does not start a charge.
        """
        found = self.baseline
        if found is None:
            return ()
        writes = []
        if CURRENT in self.owned and (view is None or view.amps != found.amps):
            writes.append(Write(CURRENT, found.amps))
        if PHASES in self.owned and (view is None or view.mode != found.mode):
            writes.append(Write(PHASES, "auto" if found.mode == AUTO else found.mode))
        if FORCE in self.owned and (view is None or view.force == OFF) and not keep_off:
            writes.append(Write(FORCE, NEUTRAL))
        return tuple(writes)

    def given_back(self, channels: Iterable[str], now: float, *, closed: bool) -> Lease:
        """Return the lease without the channels that were restored.

        `closed` is whether the contactor was, and so may have been operated.
        """
        given = frozenset(channels) & self.owned
        wear = self.wear
        if PHASES in given and closed:
            wear = wear.switched(now, closed=True)
        if FORCE in given:
            wear = wear.started(now)
        return self._replace(owned=self.owned - given, wear=wear)

    def saved(self, now: float, wall: float) -> dict[str, object]:
        """Return the lease as JSON; `wall` is the Unix time at `now`."""
        found = self.baseline
        return {
            "version": VERSION,
            "baseline": found
            and {"current": found.amps, "phase_mode": found.mode, "force_state": found.force},
            "owned": sorted(self.owned),
            "plugged_at": self.plugged_at,
            "proven": self.proven,
            "handed_over": self.handed_over,
            "wear": self.wear.saved(now, wall),
        }

    @classmethod
    def loaded(cls, saved: object, now: float, wall: float) -> Lease:
        """Return the lease that was saved; raises ValueError for anything else."""
        if not isinstance(saved, dict) or saved.get("version") != VERSION:
            raise ValueError(f"must be a lease of version {VERSION}, not {saved!r:.80}")
        owned, wear, plugged_at = (saved.get(key) for key in ("owned", "wear", "plugged_at"))
        if not (isinstance(owned, list) and all(each in CHANNELS for each in owned)):
            raise ValueError(f"owned: must be a list of channels, not {owned!r:.80}")
        handed_over = saved.get("handed_over", "")
        if handed_over not in ("", *CHANNELS):
            raise ValueError(f"handed_over: must be a channel or empty, not {handed_over!r:.80}")
        return cls(
            _baseline(saved.get("baseline")),
            frozenset(owned),
            Wear.loaded(wear if isinstance(wear, dict) else {}, now, wall),
            None if plugged_at is None else number("plugged_at", plugged_at),
            saved.get("proven") is True,
            handed_over,
        )


def _baseline(saved: object) -> Baseline | None:
    if saved is None:
        return None
    if isinstance(saved, Mapping):
        amps, mode, force = (saved.get(key) for key in ("current", "phase_mode", "force_state"))
        if (
            type(amps) is int
            and LOWEST_A <= amps <= HIGHEST_A
            and type(mode) is int
            and mode in MODES
            and force in (NEUTRAL, OFF, ON)
        ):
            return Baseline(amps, mode, force)
    raise ValueError(f"baseline: must be settings of a charger, not {saved!r:.80}")
