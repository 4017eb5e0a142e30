"""What is remembered from one decision to the next."""

from __future__ import annotations

from typing import NamedTuple

from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.proof import Proof
from goe_exporter.surplus.settings import (
    FULL_AFTER_S,
    LOWEST_A,
    MAX_CURRENT_WRITES,
    NOT_ALLOWED_AFTER_S,
)
from goe_exporter.surplus.situation import Write
from goe_exporter.surplus.supply import Supply
from goe_exporter.surplus.wear import last_hour


class Target(NamedTuple):
    """What the charger should do: charge or not, on 1 or 3 phases, with this current (A)."""

    charge: bool = False
    phases: int = 1
    amps: int = LOWEST_A


class Pending(NamedTuple):
    """A write that the charger does not show yet, sent `tries` times, last at `since`.

    `earlier` are the values that were written before it and were not shown either.
    """

    write: Write
    since: float
    tries: int = 1
    earlier: tuple[int | str, ...] = ()


class Person(NamedTuple):
    """What a person changed.

    `suspected` is a channel with another value than ours, first seen in the poll at `seen_at`.
    `channel` is what ended the control, "" while it goes on; `until_neutral` whether it begins
    again when the forced state is neutral. `give_back` is still to be written. `repaused` is
    whether a start of the charger's own was answered with another pause.
    """

    suspected: str = ""
    seen_at: float = 0.0
    channel: str = ""
    until_neutral: bool = False
    give_back: tuple[Write, ...] = ()
    repaused: bool = False


class Car(NamedTuple):
    """What was learnt about the car since it was plugged in.

    `phases` is how many it uses, None if unknown; `ceiling_a` the current that it can use (A), with
    headroom. `charged` is whether it was charged. The others are times since when something holds,
    None if it does not: idle, contactor `closed` on `closed_phases`, not allowed, without power.
    """

    phases: int | None = None
    ceiling_a: int | None = None
    charged: bool = False
    idle_since: float | None = None
    closed_since: float | None = None
    closed_phases: int = 0
    not_allowed_since: float | None = None
    empty_since: float | None = None

    def is_refused(self, now: float) -> bool:
        """Return whether the charger has not allowed charging for long enough to count."""
        since = self.not_allowed_since
        return since is not None and now - since > NOT_ALLOWED_AFTER_S

    def is_full(self, now: float) -> bool:
        """Return whether the car has drawn nothing for so long that it counts as full."""
        return self.empty_since is not None and now - self.empty_since >= FULL_AFTER_S


NO_TARGET, NEW_CAR, NOBODY = Target(), Car(), Person()


class Memory(NamedTuple):
    """All that is remembered; `Memory(lease)` begins, after a crash with the saved lease.

    `expected` are the settings that the charger should show, None before the first poll.
    `plugged` is whether a car is plugged in. `pause_wh` and `phases_wh` are what may still be drawn
    beyond the surplus before a pause, and before three phases end (Wh). `current_writes` are the
    times of the last hour. `phases_fixed` is whether the charger ignores changes of its phases.
    """

    lease: Lease = Lease()
    supply: Supply = Supply()
    target: Target = NO_TARGET
    expected: Baseline | None = None
    plugged: bool = False
    car: Car = NEW_CAR
    proof: Proof = Proof()
    person: Person = NOBODY
    pending: tuple[Pending, ...] = ()
    pause_wh: float = 0.0
    phases_wh: float = 0.0
    stepped_at: float | None = None
    polled_at: float = float("-inf")
    uptime_s: float | None = None
    current_writes: tuple[float, ...] = ()
    phase_write_at: float = float("-inf")
    phases_fixed: bool = False

    def pending_write(self, channel: str) -> Pending | None:
        """Return the pending write of a channel."""
        for each in self.pending:
            if each.write.channel == channel:
                return each
        return None

    def current_writes_left(self, now: float) -> int:
        """Return how many changes of the current are left in this hour."""
        return MAX_CURRENT_WRITES - len(last_hour(self.current_writes, now))
