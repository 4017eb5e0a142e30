"""The loop of mode `feed`: one thread that reads the meters and passes their powers on.

It follows its own clock, because polls may take long or be rare, and writes nothing but `ids`,
which the charger forgets by itself: there is nothing to give back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.control import sending
from goe_exporter.control.charger_view import NEEDED_TO_FEED, feed_view, missing
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.log_lines import Step
from goe_exporter.control.place import Place
from goe_exporter.control.preconditions import unsuitable_to_feed, values_of
from goe_exporter.control.report import Report
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.durable.clock import asleep
from goe_exporter.errors import ChargerError, RefusedError
from goe_exporter.polling.view import Poll
from goe_exporter.surplus.feed import PERIOD_S, FeedRule
from goe_exporter.surplus.situation import Decision
from goe_exporter.surplus.source import Source

KEY = "ids"
API = 2

READ_SECONDS = 2.0
"""Time limit for reading all sources, which ends when the powers are due: no meter delays them."""

RETRY_SECONDS = 0.8
"""Time from a request until it is repeated if it fails at once, so that one failure does not leave
a gap of 5 s. After one that fails late, or twice, the next one follows in the usual time."""

MIN_SLEEP_SECONDS = 4.0
"""A shorter sleep of the machine makes no value older than a request that hangs does."""


class Feed:
    """Feeds one charger from `start` to `stop`, with the polls that `take` receives."""

    def __init__(
        self,
        place: Place,
        rule: FeedRule,
        inputs: Inputs,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        asleep: Callable[[], float] = asleep,
    ) -> None:
        """Take a `wait` that waits for a time (s) and returns whether the loop must end.

        `clock` does not run while the machine sleeps, and `asleep` grows by the time asleep (s).
        """
        self._place = place
        self._rule = rule
        self._inputs = inputs
        self._clock = clock
        self._end = threading.Event()
        self._wait = wait or self._end.wait
        self._asleep = asleep
        self._slept_s = asleep()
        self._snapshot: Snapshot | None = None
        self._seen: Snapshot | None = None
        self._polled = False
        self._beginning = True
        self._waiting = False
        self._answered = False
        self._values: dict[str, object] = {}
        self._hints: tuple[str, ...] = ()
        first = Step(clock(), Decision("unknown"))
        self._report = Report(place.charger, rule.mode, inputs, first, clock)

    def take(self, poll: Poll) -> None:
        """Take a poll of any charger; returns at once."""
        if poll.charger == self._place.charger:
            # A failed poll does not replace a good one that the loop has not seen yet.
            self._snapshot = poll.snapshot or self._snapshot
            self._answered = poll.snapshot is not None
            self._polled = True

    def reconnect(self, sources: Mapping[str, Source]) -> None:
        """Read these sources from now on: a reload may have changed their secrets."""
        self._inputs.reconnect(sources)

    def vitals(self) -> SurplusVitals:
        """Return what the loop does now."""
        return self._report.vitals()

    def is_stalled(self) -> bool:
        """Return whether a step takes too long."""
        return self._report.is_stalled()

    def start(self) -> None:
        """Begin to feed."""
        threading.Thread(target=self._run, name="surplus", daemon=True).start()

    def stop(self, _deadline: float) -> None:
        """End; the charger forgets the powers within seconds."""
        self._end.set()

    def _run(self) -> None:
        try:
            self.run()
        except Exception:  # noqa: BLE001, the top of a thread
            self._report.ended()

    def run(self) -> None:
        """Feed until the end."""
        due = self._clock()
        while not self._waited(due - READ_SECONDS):
            with self._report.step():
                self._read()
            if self._waited(due):
                return
            again = self._clock() + RETRY_SECONDS
            if not self._step() and self._clock() < again:
                if self._waited(again):
                    return
                self._step()
            due = max(due + PERIOD_S, self._clock())

    def _waited(self, until: float) -> bool:
        return self._wait(max(until - self._clock(), 0.0))

    def _read(self) -> None:
        """Take the newest poll, and read the sources if they are needed."""
        self._wake_up()
        self._look()
        self._waiting = False
        if self._rule.begins(self._clock()):
            beginning, self._beginning = self._beginning, False
            readings = self._inputs.readings(READ_SECONDS, quietly=beginning)
            self._rule.read(self._clock(), readings)
            # A source may be this process, whose Controller has not answered yet.
            self._waiting = beginning and "grid" not in readings
        else:
            self._inputs.forget()

    def _step(self) -> bool:
        """Send what is decided; return False if the request failed."""
        with self._report.step():
            self._wake_up()
            if not self._polled or self._waiting:
                return True
            now = self._clock()
            decision = self._rule.decided(now)
            self._report.decided(Step(now, decision))
            return decision.ids is None or self._sent(decision.ids)

    def _wake_up(self) -> None:
        """If the machine has slept, forget what was read and polled before."""
        slept_s, self._slept_s = self._slept_s, self._asleep()
        if self._slept_s - slept_s >= MIN_SLEEP_SECONDS:
            self._rule.forget()
            self._seen, self._polled = self._snapshot, False

    def _look(self) -> None:
        """Take note of the newest poll that succeeded."""
        snapshot = self._snapshot
        if snapshot is None or snapshot is self._seen:
            return
        self._seen = snapshot
        if self._report.lacks(missing(snapshot, NEEDED_TO_FEED)):
            return
        self._rule.polled(feed_view(snapshot))
        # The first polls after an outage lack slow rows, whose last values count until then.
        self._values |= values_of(snapshot)
        hints = tuple(unsuitable_to_feed(self._values, self._place.charger))
        for text in hints:
            if text not in self._hints:
                self._report.unprepared(text)
        self._hints = hints

    def _sent(self, powers: Mapping[str, float]) -> bool:
        """Send powers; return False if the request failed."""
        try:
            # A successful poll has checked the serial number. After a failed one, another charger
            # may be at the address, so that the request checks it again.
            checked = self._answered
            self._place.client().write(API, KEY, powers, serial_checked=checked)
        except (ChargerError, RefusedError) as error:
            if self._report.failed(error, KEY) == sending.REFUSED:
                self._rule.rejected(self._clock())
            return False
        self._rule.sent(self._clock(), powers)
        self._report.sent(KEY, **powers)
        return True
