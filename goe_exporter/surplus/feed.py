"""Mode `feed`: the meters' powers are passed on, and the charger decides itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from goe_exporter.surplus.settings import FROZEN_AFTER_S, UNREACHABLE_INTERVALS
from goe_exporter.surplus.situation import IDLE, Decision
from goe_exporter.surplus.source import Reading

POWERS = {"grid": "pGrid", "pv": "pPv", "battery": "pAkku"}
"""Source → the name of its power in `ids`: import, production and discharging are positive."""

PERIOD_S = 4.0
"""The charger needs the powers at least every 5 s (docs/protocol.md §3.12)."""
HELD_S = 10.0
"""A source whose last reads failed keeps its value for this time, as between two reads of mode
`control`."""
UNREACHABLE_AFTER_S = 15.0
"""The shortest time without a poll after which nothing is sent: a step takes 4 s itself."""
IDLE_AFTER_S = 30.0
"""During a phase switch `car` may show idle for some seconds (docs/protocol.md §5.3)."""
REJECTIONS = 3
"""Rejected requests in a row after which the charger does not support the powers. Any wrong answer
is a rejection, and a charger gives some now and then (docs/protocol.md §1)."""
REJECTED_S = 60.0
"""Time between two attempts while the charger does not support the powers."""
POLLS_TO_CONFIRM = 3
"""Polls in a row after which the state `unconfirmed` begins, if none shows what was sent, or ends,
if each does. With two programs that feed the charger, polls show the powers of either."""
SHOWN_AFTER_S, SHOWN_FOR_S = 1.0, 6.0
"""A poll shows what was sent this long before it (docs/protocol.md §5.4)."""
FORGOTTEN_S = 10.0
"""The charger has forgotten powers that were sent this long ago (docs/protocol.md §5.4)."""
TOLERANCE_W = 1.0
REMEMBERED = 3
"""Number of sent powers among which a poll may show any."""


class FeedView(NamedTuple):
    """The charger as of a poll at `polled_at` (s): the state of the car, and the API.

    `grid_w` is the power of the grid (W) that it was sent, None if it shows none.
    """

    polled_at: float
    car: str
    api: int
    grid_w: float | None


class Value(NamedTuple):
    """The last reading of a source, when it was read, and since when it has been the same (s)."""

    reading: Reading
    read_at: float
    same_since: float

    def fault(self, now: float, stale_after_s: float) -> str:
        """Return why the value is not passed on, "" if it is: `stale` or `frozen`."""
        if now - self.read_at > HELD_S or now - self.reading.measured_at > stale_after_s:
            return "stale"
        frozen = not self.reading.age_known and now - self.same_since >= FROZEN_AFTER_S
        return "frozen" if frozen else ""


class FeedRule:
    """Decides which powers are sent to one charger; it remembers polls, readings and what was sent.

    A value older than `stale_after_s` (s) is not passed on; the charger is polled every `refresh_s`
    (s). All times are on one clock that only runs forward.
    """

    mode = "feed"

    def __init__(self, stale_after_s: float = 60.0, refresh_s: float = 5.0) -> None:
        self._stale_after_s = stale_after_s
        self._unreachable_after_s = max(UNREACHABLE_INTERVALS * refresh_s, UNREACHABLE_AFTER_S)
        self._view: FeedView | None = None
        self._values: dict[str, Value] = {}
        self._sent: tuple[tuple[float, float], ...] = ()
        self._confirmed = True
        self._contrary = 0
        self._arrived_at: float | None = None
        self._rejections = 0
        self._rejected_at = float("-inf")
        self._stopped_by = ""
        self._plugged_until = float("-inf")

    def polled(self, view: FeedView) -> None:
        """Take a poll that succeeded."""
        self._view = view
        if view.car == IDLE:
            self._plugged_until = min(self._plugged_until, view.polled_at + IDLE_AFTER_S)
        else:
            self._plugged_until = float("inf")
        if self._arrived_at is not None and view.polled_at - self._arrived_at > FORGOTTEN_S:
            self._confirmed, self._contrary = False, 0
        ages_s = [view.polled_at - at for at, _ in self._sent]
        if any(SHOWN_AFTER_S <= age_s <= SHOWN_FOR_S for age_s in ages_s):
            shown = view.grid_w is not None and any(
                abs(view.grid_w - power_w) <= TOLERANCE_W for _, power_w in self._sent
            )
            self._contrary = 0 if shown is self._confirmed else self._contrary + 1
            if self._contrary == POLLS_TO_CONFIRM:
                self._confirmed, self._contrary = shown, 0

    def read(self, now: float, readings: Mapping[str, Reading]) -> None:
        """Take the readings of the sources that gave one now."""
        for name, reading in readings.items():
            last = self._values.get(name)
            same = last is not None and last.reading.value == reading.value
            self._values[name] = Value(reading, now, last.same_since if same and last else now)

    def sent(self, now: float, powers: Mapping[str, float]) -> None:
        """Take note that the charger has accepted powers."""
        self._rejections = 0
        self._arrived_at = now
        self._sent = (*self._sent[-REMEMBERED + 1 :], (now, powers[POWERS["grid"]]))

    def rejected(self, now: float) -> None:
        """Take note that the charger has rejected the powers, as firmware without the key does."""
        self._rejections += 1
        self._rejected_at = now

    @property
    def _supported(self) -> bool:
        return self._rejections < REJECTIONS

    def forget(self) -> None:
        """Forget what was polled, read and sent: the machine has slept."""
        self._view, self._values = None, {}
        self._forget_sent()

    def begins(self, now: float) -> bool:
        """Begin a step: return whether the sources are needed for it."""
        self._stopped_by = self._stopped(now)
        return not self._stopped_by

    def decided(self, now: float) -> Decision:
        """Return what to send now: `ids` is None if nothing may be sent."""
        if stopped := self._stopped_by or self._stopped(now):
            self._values = {}
            self._forget_sent()
            return Decision(stopped)
        faults = {name: each.fault(now, self._stale_after_s) for name, each in self._values.items()}
        if fault := faults.get("grid", "stale"):
            self._forget_sent()
            return Decision("blind", fault)
        powers = {
            # Adding 0.0 turns -0.0 into 0.0.
            POWERS[name]: round(self._values[name].reading.value, 1) + 0.0
            for name in POWERS
            if faults.get(name) == ""
        }
        if not self._supported:
            return Decision("not_supported", ids=powers)
        if self._arrived_at is None:
            self._arrived_at = now  # they may arrive now for the first time
        return Decision("feeding" if self._confirmed else "unconfirmed", ids=powers)

    def _forget_sent(self) -> None:
        """Begin anew with what the polls confirm: nothing is sent now."""
        self._sent, self._arrived_at = (), None
        self._confirmed, self._contrary = True, 0

    def _stopped(self, now: float) -> str:
        """Return the state in which nothing is sent, whatever the meters show, "" if none is."""
        view = self._view
        if view is None or now - view.polled_at > self._unreachable_after_s:
            return "unreachable"
        if view.api == 1 or (not self._supported and now - self._rejected_at < REJECTED_S):
            return "not_supported"
        return "no_car" if now > self._plugged_until else ""
