"""The loop of mode `feed`: one thread that reads the meters and passes their powers on.

It follows its own clock, because polls may take long or be rare, and writes nothing but `ids`,
which the charger forgets by itself: there is nothing to give back.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from goe_exporter.control import sending
from goe_exporter.control.charger_view import feed_view
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.log_lines import Step, lines
from goe_exporter.control.loop import STALL_SECONDS
from goe_exporter.control.place import Place
from goe_exporter.control.preconditions import unsuitable_to_feed
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.errors import ChargerError, GoeExporterError, RefusedError
from goe_exporter.logs import Incident, logger
from goe_exporter.polling.view import Poll
from goe_exporter.surplus.feed import PERIOD_S, FeedRule
from goe_exporter.surplus.situation import Decision

KEY = "ids"
API = 2

READ_SECONDS = 2.0
"""Time limit for reading all sources, which ends when the powers are due: no meter delays them."""

RETRY_SECONDS = 0.8
"""Time until a failed request is repeated, so that one failure does not leave a gap of 5 s."""

_log = logger(__name__)


class Feed:
    """Feeds one charger from `start` to `stop`, with the polls that `take` receives."""

    def __init__(
        self,
        place: Place,
        rule: FeedRule,
        inputs: Inputs,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """Take a `wait` that waits for a time (s) and returns whether the loop must end."""
        self._place = place
        self._rule = rule
        self._inputs = inputs
        self._clock = clock
        self._end = threading.Event()
        self._wait = wait or self._end.wait
        self._vitals = SurplusVitals(place.charger, rule.mode)
        self._newest: Poll | None = None
        self._polled = False
        self._last = Step(clock(), Decision("unknown"))
        self._hints: tuple[str, ...] = ()
        self._in_step_since: float | None = None
        self._failing = Incident(
            _log, "surplus write failed", "surplus write succeeded again", charger=place.charger
        )

    def take(self, poll: Poll) -> None:
        """Take a poll of any charger; returns at once."""
        if poll.charger == self._place.charger:
            self._newest = poll

    def vitals(self) -> SurplusVitals:
        """Return what the loop does now."""
        return replace(self._vitals, sources=self._inputs.vitals())

    def is_stalled(self) -> bool:
        """Return whether a step takes too long."""
        since = self._in_step_since
        return since is not None and self._clock() - since > STALL_SECONDS

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
            _log.exception(
                "surplus control ended by an internal error; restart the exporter to begin again",
                charger=self._place.charger,
            )
            self._vitals = SurplusVitals(self._place.charger, self._rule.mode, internal_errors=1)
            self._in_step_since = None

    def run(self) -> None:
        """Feed until the end."""
        due = self._clock()
        while not self._waited(due - READ_SECONDS):
            self._in_step_since = self._clock()
            self._read()
            self._in_step_since = None
            if self._waited(due):
                return
            self._in_step_since = self._clock()
            failed = not self._step()
            self._in_step_since = None
            now = self._clock()
            due = now + RETRY_SECONDS if failed else max(due + PERIOD_S, now)

    def _waited(self, until: float) -> bool:
        return self._wait(max(until - self._clock(), 0.0))

    def _read(self) -> None:
        """Take the newest poll, and read the sources if they are needed."""
        self._look()
        if self._rule.begins(self._clock()):
            readings = self._inputs.readings(READ_SECONDS)
            self._rule.read(self._clock(), readings)
        else:
            self._inputs.forget()

    def _step(self) -> bool:
        """Send what is decided; return False if that failed and is to be repeated soon."""
        if not self._polled:
            return True
        now = self._clock()
        decision = self._rule.decided(now)
        after = Step(now, decision)
        self._vitals = replace(self._vitals, state=decision.state, reason=decision.reason)
        for level, event, values in lines(self._last, after):
            getattr(_log, level)(event, charger=self._place.charger, **values)
        self._last = after
        return decision.ids is None or self._sent(decision.ids)

    def _look(self) -> None:
        """Take note of the newest poll."""
        poll, self._newest = self._newest, None
        if poll is None:
            return
        self._polled = True
        view = None if poll.snapshot is None else feed_view(poll.snapshot)
        if poll.snapshot is None or view is None:
            return
        self._rule.polled(view)
        hints = tuple(unsuitable_to_feed(poll.snapshot, self._place.charger))
        for text in hints:
            if text not in self._hints:
                _log.warning(
                    "charger not prepared for surplus charging",
                    charger=self._place.charger,
                    hint=text,
                )
        self._hints = hints

    def _sent(self, powers: Mapping[str, float]) -> bool:
        """Send powers; return False if the request failed."""
        try:
            # The polls check the serial number.
            self._place.client().write(API, KEY, powers, serial_checked=True)
        except (ChargerError, RefusedError) as error:
            return self._failed(error)
        self._failing.ends()
        self._rule.sent(self._clock(), powers)
        writes = Counter(self._vitals.writes) + Counter([KEY])
        self._vitals = replace(self._vitals, writes=writes)
        _log.debug("surplus write sent", charger=self._place.charger, **powers)
        return True

    def _failed(self, error: GoeExporterError) -> bool:
        """Take note of a failure; return whether it makes no sense to repeat the request soon."""
        reason = sending.reason(error)
        failures = Counter(self._vitals.write_failures) + Counter([reason])
        self._vitals = replace(self._vitals, write_failures=failures)
        self._failing.begins(reason, write=KEY, error=str(error))
        if reason == sending.REFUSED:
            self._rule.rejected(self._clock())
        return reason == sending.REFUSED
