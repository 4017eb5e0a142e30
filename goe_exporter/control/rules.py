"""The two modes of the section behind one interface: what is decided, and what is on loan. Pure."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from goe_exporter.control.charger_view import NEEDED, NEEDED_TO_FOLLOW
from goe_exporter.surplus.decision import decide
from goe_exporter.surplus.follow import FollowMemory, FollowSettings, Number, follow
from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.memory import Memory
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.situation import (
    CURRENT,
    IDLE,
    Decision,
    Sample,
    Situation,
    View,
    Write,
)


class Input(NamedTuple):
    """What the sources gave: the last complete sample, and whether one failed since.

    In mode `follow`, `sample` is the followed number.
    """

    sample: Sample | Number | None = None
    failed: bool = False


NOTHING = Input()


class Rule(Protocol):
    """Decides what is written to one charger."""

    mode: str
    needed: tuple[str, ...]
    refresh_s: float
    lease: Lease

    @property
    def expected(self) -> Baseline | None:
        """The settings that the charger should show."""

    def reads(self, view: View | None) -> bool:
        """Return whether the sources are needed now."""

    def decided(self, now: float, read: Input, view: View | None) -> Decision:
        """Decide once, and remember it."""

    def unsent(self, write: Write) -> None:
        """Remember that a decided write was not sent."""


class ControlRule:
    """Mode `control`."""

    mode = "control"
    needed: tuple[str, ...] = NEEDED

    def __init__(self, settings: Settings, lease: Lease) -> None:
        """Begin where the lease ended."""
        self._settings = settings
        self._memory = Memory(lease)
        self.refresh_s = settings.refresh_s

    @property
    def lease(self) -> Lease:
        """What is on loan, and the wear."""
        return self._memory.lease

    @lease.setter
    def lease(self, lease: Lease) -> None:
        self._memory = self._memory._replace(lease=lease)

    @property
    def expected(self) -> Baseline | None:
        """The settings that the charger should show."""
        return self._memory.expected

    def reads(self, view: View | None) -> bool:
        """Return whether a car is plugged in; without one, the meters are not read."""
        return view is not None and (view.car != IDLE or self._memory.plugged)

    def decided(self, now: float, read: Input, view: View | None) -> Decision:
        """Decide once, and remember it."""
        assert not isinstance(read.sample, Number)
        situation = Situation(now, read.sample, view, read.failed)
        self._memory, decision = decide(self._settings, self._memory, situation)
        return decision

    def unsent(self, write: Write) -> None:
        """Remember that a decided write was not sent: it is not the charger that ignores it."""
        pending = (
            each._replace(tries=each.tries - 1) if each.write == write else each
            for each in self._memory.pending
        )
        self._memory = self._memory._replace(pending=tuple(pending))


class FollowRule:
    """Mode `follow`: the current follows a number.

    It borrows the current only. What was found is given back; a person's current is left.
    """

    mode = "follow"
    needed: tuple[str, ...] = NEEDED_TO_FOLLOW

    def __init__(self, settings: FollowSettings, lease: Lease) -> None:
        """Begin with what an earlier process has found."""
        self._settings = settings
        self._memory = FollowMemory()
        self.lease = lease
        self.expected: Baseline | None = None
        self.refresh_s = settings.refresh_s

    def reads(self, view: View | None) -> bool:
        """Return whether a car is plugged in."""
        return view is not None and view.car != IDLE

    def decided(self, now: float, read: Input, view: View | None) -> Decision:
        """Decide once, and remember it."""
        assert not isinstance(read.sample, Sample)
        if view is not None and self.expected is None:
            self._memory = FollowMemory(handed_over=bool(self.lease.still_handed_over(view)))
        self._memory, decision = follow(self._settings, self._memory, now, read.sample, view)
        if view is not None:
            self._borrow(view, decision)
        return decision

    def unsent(self, _write: Write) -> None:
        """Remember that a decided current was not sent: it is not the charger that lowers it."""
        self._memory = self._memory._replace(written=None)

    def _borrow(self, view: View, decision: Decision) -> None:
        found, owned = Baseline.of(view), self.lease.owned
        # Without a car, nothing is written; another current than the last one is a person's.
        before = None if self.expected is None else self.expected.amps
        changed = decision.state == "no_car" and before not in (None, view.amps)
        handed_over = CURRENT if decision.state == "handed_over" else ""
        self.lease = self.lease._replace(plugged_at=view.plugged_at, handed_over=handed_over)
        if handed_over or changed:
            self.lease = self.lease._replace(owned=owned - {CURRENT})
        elif decision.writes and CURRENT not in owned:
            self.lease = self.lease._replace(baseline=found, owned=owned | {CURRENT})
        written = self._memory.written
        if written is not None:
            self.expected = found._replace(amps=written)
        elif self.expected is None or changed:
            self.expected = found
