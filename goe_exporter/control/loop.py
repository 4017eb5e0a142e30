"""The control loop: one thread that decides after a poll and sends what is decided.

It does not read the charger itself: the polls show its state and confirm the writes. An internal
error ends the loop, because one that fails again and again would wear out the contactor; the
settings are then given back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.control import sending
from goe_exporter.control.charger_view import highest_a, missing, view
from goe_exporter.control.energy import Energy
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.control.log_lines import Step, written
from goe_exporter.control.place import Place
from goe_exporter.control.preconditions import unsuitable, values_of
from goe_exporter.control.report import Report
from goe_exporter.control.rules import NOTHING, Rule
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.errors import GoeExporterError
from goe_exporter.logs import Incident, logger
from goe_exporter.polling.view import Poll
from goe_exporter.surplus.settings import MAX_OPERATIONS, STEP_S, UNREACHABLE_INTERVALS
from goe_exporter.surplus.situation import FORCE, PHASES, Decision, View, Write
from goe_exporter.surplus.source import Source
from goe_exporter.surplus.wear import SWITCHES
from goe_exporter.surplus.writes import raises

FIRST_STEP_SECONDS = 10.0
"""Time until the first decision; firmware 050 shows a write after 7 s (docs/protocol.md §5.2)."""

STOP_WAIT_SECONDS = 1.0
"""Time for which the give-back waits for a write in progress."""

GIVE_BACK_SECONDS = 4.0
"""Time limit for the give-back after an internal error."""

WORN = f"the contactor is operated at most {MAX_OPERATIONS} times an hour"

_log = logger(__name__)


class Control:
    """Controls one charger from `start` to `stop`, with the polls that `take` receives."""

    def __init__(
        self,
        place: Place,
        rule: Rule,
        inputs: Inputs,
        lease_file: LeaseFile,
        energy: Energy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a rule that begins with the lease of `lease_file`."""
        self._place = place
        self._rule = rule
        self._inputs = inputs
        self._lease_file = lease_file
        self._clock = clock
        self._energy = energy
        self._newest: Poll | None = None
        self._snapshot: Snapshot | None = None
        first = Step(clock(), Decision("unknown"), rule.lease.wear)
        self._report = Report(place.charger, rule.mode, inputs, first, clock)
        # A charger may show only now what an earlier process wrote last.
        self._due = clock() + FIRST_STEP_SECONDS
        self._beginning = True
        self._waiting = threading.Condition()
        self._sending = threading.Lock()
        self._stopping = False
        self._ended = False
        self._checked = rule.mode != "control"
        self._disk = Incident(_log, "surplus state not saved", "surplus state saved again")

    def take(self, poll: Poll) -> None:
        """Take a poll of any charger; returns at once."""
        if poll.charger == self._place.charger:
            with self._waiting:
                self._newest = poll
                self._waiting.notify()

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
        """Begin to control."""
        threading.Thread(target=self._run, name="surplus", daemon=True).start()

    def _run(self) -> None:
        while not self._ended:
            with self._waiting:
                self._waiting.wait_for(lambda: self._newest is not None or self._stopping)
                poll, self._newest = self._newest, None
            if self._stopping or poll is None:
                return
            self.step(poll)

    def step(self, poll: Poll) -> None:
        """Decide with a poll if a step is due; an internal error ends the control."""
        with self._report.step():
            try:
                self._step(poll)
            except Exception:  # noqa: BLE001, the top of a thread
                self._end()

    def _step(self, poll: Poll) -> None:
        now = self._clock()
        self._snapshot = self._snapshot or poll.snapshot
        if now < self._due or self._ended:
            return
        snapshot, rule = poll.snapshot, self._rule
        lasts_s = UNREACHABLE_INTERVALS * rule.refresh_s
        last = self._snapshot
        if snapshot is None and last is not None and now - last.taken <= lasts_s:
            # A write must follow a poll that succeeded, which has checked the serial number.
            return
        seen = self._seen(snapshot)
        read = NOTHING
        if rule.reads(seen):
            beginning, self._beginning = self._beginning, False
            read = self._inputs.read(quietly=beginning)
            if beginning and read.failed:
                # A source may be this process, whose Controller has not answered yet.
                return
            newer = self._newest
            if newer is not None:
                snapshot = newer.snapshot
                seen = self._seen(snapshot)
                if seen is None:
                    return
        else:
            self._inputs.forget()
        # Half an interval before the last poll of a step's time, so that no step takes longer.
        self._due = now + (STEP_S // rule.refresh_s - 0.5) * rule.refresh_s
        expected, now = rule.expected, self._clock()
        decision = rule.decided(now, read, seen)
        self._energy.count(now, read, seen)
        after = Step(now, decision, rule.lease.wear, seen, expected)
        self._tell(after)
        with self._sending:
            if self._stopping:
                return
            saved = self._save()
        if seen is not None:
            self._send(decision.writes, seen, now, saved=saved)

    def _seen(self, snapshot: Snapshot | None) -> View | None:
        if snapshot is None:
            return None
        self._snapshot = snapshot
        if self._report.lacks(missing(snapshot, self._rule.needed)):
            return None
        # The row is a slow one, which the first poll may lack.
        if not self._checked and not missing(snapshot, ("pv_surplus_enabled",)):
            self._checked = True
            for text in unsuitable(values_of(snapshot), self._place.charger):
                self._report.unprepared(text)
        return view(snapshot)

    def _save(self) -> bool:
        """Put the lease on disk; return whether it is there."""
        try:
            self._lease_file.save(self._rule.lease)
        except OSError as error:
            self._disk.begins(error=error.strerror)
            return False
        self._disk.ends()
        return True

    def _send(
        self, writes: tuple[Write, ...], seen: View, decided_at: float, *, saved: bool
    ) -> None:
        """Send writes through the charger's client; a failed one is left to the next step."""
        for write in writes:
            if self._is_unsafe(write, seen, decided_at, saved=saved):
                self._rule.unsent(write)
                continue
            with self._sending:
                if self._stopping:
                    return
                error = self._failure(write)
            if error is None:
                self._report.sent(write.channel, write=written(write))
            elif self._report.failed(error, written(write)) != sending.REFUSED:
                return

    def _is_unsafe(self, write: Write, seen: View, decided_at: float, *, saved: bool) -> bool:
        """Return whether a write must wait for another step.

        What may raise the power is not sent late, when the disk was slow or the process was
        stopped: the surplus may be gone. Without the lease on disk, only a pause is sent, and less
        of what is on loan already: after a crash, nobody would know what was found.
        """
        rises = raises(write, seen)
        if saved:
            return rises and self._clock() - decided_at >= STEP_S
        return rises or write.channel not in {FORCE, *self._lease_file.owned}

    def _failure(self, write: Write) -> GoeExporterError | None:
        """Send a write, and return its error if it fails."""
        assert self._snapshot is not None
        api = self._snapshot.api
        try:
            each = sending.request(write, api, highest_a(self._snapshot))
            # The poll before this step has checked the serial number.
            self._place.client().write(api, each.key, each.value, serial_checked=True)
        except GoeExporterError as error:
            return error
        return None

    def _tell(self, after: Step) -> None:
        """Report this step."""
        before, decision, counts = self._report.last, after.decision, self._report.counts
        new, old = after.wear, before.wear
        handed_over = before.decision.state != decision.state == "handed_over"
        self._report.decided(
            after,
            surplus_w=decision.surplus_w,
            amps=decision.amps,
            phases=decision.phases,
            budget_wh=decision.budget_wh,
            starts=counts.starts + (new.started_at not in (None, old.started_at)),
            pauses=counts.pauses + (new.paused_at != old.paused_at),
            phase_switches=counts.phase_switches + (new.switched_at != old.switched_at),
            hand_overs=counts.hand_overs + handed_over,
            energy_wh=self._energy.totals(),
        )

    def _end(self) -> None:
        """Give the settings back after an internal error; nothing is decided any more."""
        self._ended = True
        self._report.ended()
        try:
            with self._sending:
                self._give_back(self._clock() + GIVE_BACK_SECONDS, keep_off=False)
        except Exception:  # noqa: BLE001, the top of a thread
            _log.exception(
                "settings not given back after an internal error", charger=self._place.charger
            )

    def stop(self, deadline: float) -> None:
        """Give the settings back until `deadline` (s of the clock), except a pause."""
        with self._waiting:
            self._stopping = True
            self._waiting.notify()
        wait = max(min(STOP_WAIT_SECONDS, deadline - self._clock()), 0)
        idle = self._sending.acquire(timeout=wait)
        try:
            if not self._ended:
                self._give_back(deadline, keep_off=True)
        finally:
            if idle:
                self._sending.release()
            self._lease_file.close()

    def _give_back(self, deadline: float, *, keep_off: bool) -> None:
        """Restore what is on loan, and log what could not be restored."""
        snapshot, rule, place = self._snapshot, self._rule, self._place
        writes = rule.lease.give_back(None, keep_off=keep_off)
        values: dict[str, object] = {"charger": place.charger}
        if snapshot is None:
            # Without an answer in this process, the lease says what is on loan to the next one.
            if writes:
                _log.warning("charger never reached, settings not given back", **values)
            return
        client, highest = place.connect(), highest_a(snapshot)
        seen = self._report.last.view
        closed = seen is None or seen.closed_phases > 0
        worn = closed and not rule.lease.wear.allows(self._clock(), SWITCHES)
        due = [write for write in writes if not (worn and write.channel == PHASES)]
        results = sending.give_back(client, snapshot.api, due, highest, deadline, self._clock)
        results |= {write: WORN for write in writes if write not in due}
        given = [write for write, error in results.items() if not error]
        channels = (write.channel for write in given)
        rule.lease = rule.lease.given_back(channels, self._clock(), closed=closed)
        self._save()
        if given:
            _log.info("settings given back", **values, given_back=" ".join(map(written, given)))
        for write, error in results.items():
            if error:
                command = sending.by_hand(place.host, write, snapshot.api)
                _log.warning("setting not given back", **values, error=error, by_hand=command)
        if FORCE in rule.lease.owned and keep_off:
            command = "goe-exporter surplus --release --config.file FILE"
            _log.info("charger left off", **values, to_end_it=command)
