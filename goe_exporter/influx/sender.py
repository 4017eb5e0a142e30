"""Delivers the queue to the server: in order except for parked lines, retrying without end.

A failure that affects every line is never blamed on one. A line that the server rejects right
after it accepted another one is parked, and the others pass it. Minutes later a `Trial` decides
whether it is delivered after all, or moved to the dead letters with the server's message.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from goe_exporter.influx.dead_letters import DeadLetters
from goe_exporter.influx.line_protocol import timestamp
from goe_exporter.influx.parked import ParkedLines
from goe_exporter.influx.trial import Trial, Undelivered
from goe_exporter.influx.write_api import WriteResult, WriteServer
from goe_exporter.logs import Incident, Pace, logger
from goe_exporter.spool.queue import Spool

MAX_BATCH_LINES = 5000
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 900.0
FAILURES_BEFORE_BISECTION = 10
"""Consecutive server errors before a batch is bisected."""

MAX_PROBES = 10
QUIET_SECONDS = 600.0
"""Time without a rejected line before the end of rejections is logged."""

_log = logger(__name__)


class Stopped(Exception):  # noqa: N818, it ends an attempt and is not an error
    """The sender was stopped during a batch."""


class Sender:
    """Delivers the lines of `queue` to `server`, in a thread of its own from `start` to `stop`.

    `written`, `rejected` and `failures` (by reason) count since the start; `failing` is the reason
    of a failure that lasts. `oldest` is the timestamp (Unix) of the oldest waiting line.
    `on_answer` receives every result; while `needs_answer` returns True, a request is made even
    without lines. A batch is not enlarged if its request took more than half of `timeout_seconds`.
    """

    def __init__(
        self,
        queue: Spool,
        server: WriteServer,
        dead_letters: DeadLetters,
        parked: ParkedLines,
        *,
        max_batch_lines: int = MAX_BATCH_LINES,
        timeout_seconds: float = 10.0,
        on_answer: Callable[[WriteResult], None] = lambda _result: None,
        needs_answer: Callable[[], bool] = lambda: False,
        jitter: Callable[[], float] = random.random,
        toss: Callable[[int], int] = random.randrange,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.written = 0
        self.rejected = 0
        self.failures: Counter[str] = Counter()
        self.failing = ""
        self.oldest: float | None = None
        self._queue = queue
        self._server = server
        self._dead_letters = dead_letters
        self._parked = parked
        self._max_batch_lines = self._batch_lines = max_batch_lines
        self._timeout_seconds = timeout_seconds
        self._on_answer = on_answer
        self._needs_answer = needs_answer
        self._jitter = jitter
        self._toss = toss
        self._clock = clock
        self._new_lines = threading.Event()
        self._stopping = threading.Event()
        self._retry_now = threading.Event()
        self._outage = Incident(_log, "delivery failed", "delivery recovered", Pace(clock))
        self._parkings = Incident(_log, "lines parked", "no more lines parked", Pace(clock))
        self._rejections = Incident(_log, "lines rejected", "no more lines rejected", Pace(clock))
        self._incidents = (self._outage, self._parkings, self._rejections)
        self._rejected_at = 0.0
        self._consecutive_failures = 0
        self._last_accepted: bytes | None = None
        self._accepted_last = self._accepted_any = False
        self._sent_lines = 0
        self._request_seconds = 0.0
        self._too_slow = False
        self._trial_failed = False
        self._tried_server = server
        self._thread = threading.Thread(target=self._run, name="influx", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """Signal new lines."""
        self._new_lines.set()

    def stop(self, grace_seconds: float) -> None:
        """Stop after the current request; what is not delivered stays on disk."""
        self._stopping.set()
        self._retry_now.set()
        self._new_lines.set()
        if self._thread.is_alive():
            self._thread.join(grace_seconds)
        for incident in self._incidents:
            incident.flush()

    def change(self, server: WriteServer, max_batch_lines: int, timeout_seconds: float) -> None:
        """Deliver to another server from the next request on, without waiting for a retry."""
        self._server, self._last_accepted = server, None
        self._max_batch_lines = self._batch_lines = max_batch_lines
        self._timeout_seconds = timeout_seconds
        self._retry_now.set()
        self._new_lines.set()

    def is_stalled(self) -> bool:
        """Return whether the thread has ended without being stopped."""
        begun = self._thread.ident is not None
        return begun and not self._stopping.is_set() and not self._thread.is_alive()

    @property
    def shrinking(self) -> bool:
        """Whether the last request was too slow, and a smaller one has not been tried yet."""
        return self._too_slow and self._sent_lines > 1

    def deliver_once(self) -> float | None:
        """Try to deliver the parked lines that are due, and one batch.

        Returns 0 if there may be more, None if nothing waits except parked lines, else the seconds
        to wait.
        """
        try:
            # After a trial that failed, new lines come first: they are more than those in it.
            if self._trial_failed:
                self._trial_failed = False
            else:
                self._try_parked()
            return self._send_batch()
        except Undelivered as undelivered:
            return self._back_off(undelivered.result)
        except OSError as error:  # such as no free file descriptor
            return self._back_off(WriteResult("retry", "disk", str(error), answered=False))
        except Stopped:
            return None

    def _run(self) -> None:
        while True:
            self._new_lines.clear()
            if self._stopping.is_set():
                return
            try:
                wait = self.deliver_once()
            except Exception:  # noqa: BLE001, the top of a thread
                _log.exception("delivery failed (bug)")
                wait = MAX_WAIT_SECONDS
            if wait is None:
                self._new_lines.wait(self._idle_seconds())
            elif wait and self._retry_now.wait(wait):
                self._retry_now.clear()

    def _idle_seconds(self) -> float | None:
        """Return the seconds until a parked line or the log needs the thread; None if neither."""
        needs = (self._parked.wait_seconds(), *(incident.tell() for incident in self._incidents))
        return min((seconds for seconds in needs if seconds is not None), default=None)

    def _send_batch(self) -> float | None:
        """Deliver one batch; return as `deliver_once`, raise if the server accepts none now."""
        batch = self._queue.read(self._batch_lines)
        self._sent_lines = len(batch.lines)
        self._accepted_last = self._accepted_any = False
        oldest = batch.lines[0] if batch.lines else self._parked.oldest()
        self.oldest = None if oldest is None else timestamp(oldest)
        if not batch.lines:
            self._queue.commit(batch.end)
            return self._send_nothing()
        gone = self._queue.mark_in_flight(batch.ends)
        if gone == len(batch.lines):
            return 0.0
        try:
            self._deliver(batch.lines[gone:], batch.ends[gone:])
        finally:
            self._queue.mark_in_flight(())
        self._succeed()
        return 0.0

    def _send_nothing(self) -> float | None:
        """Make a request without lines if an answer, with the server's time, is needed."""
        if not self._needs_answer():
            return 0.0 if self._parked.due() else None
        result = self._server.write([])
        self._on_answer(result)
        if not self._needs_answer():
            return 0.0
        if result.outcome == "written" or result.server_time is not None:
            return MIN_WAIT_SECONDS
        return self._back_off(_for_every_line(result))

    def _deliver(self, lines: Sequence[bytes], ends: Sequence[tuple[int, int]]) -> None:
        """Deliver lines in order; bisect what the server rejects until the bad line is alone."""
        after_another = self._accepted_last
        result = self._write(lines)
        if result.outcome == "written":
            self.written += len(lines)
            self._queue.commit(ends[-1])
        elif result.outcome == "retry" and not self._may_be_the_lines(result, lines):
            raise Undelivered(result)
        elif len(lines) > 1:
            known = result.outcome == "too_large" or self._accepted_any
            if not known and self._accepted_other(lines) is None:
                raise Undelivered(_for_every_line(result))
            half = len(lines) // 2
            self._deliver(lines[:half], ends[:half])
            self._deliver(lines[half:], ends[half:])
        elif after_another:
            self._park(lines[0], result)
            self._queue.commit(ends[-1])
        elif self._accepted_other(lines) is not None:
            self._deliver(lines, ends)
        else:
            raise Undelivered(_for_every_line(result))

    def _write(self, lines: Sequence[bytes]) -> WriteResult:
        if self._stopping.is_set():
            raise Stopped
        begun = self._clock()
        result = self._server.write(lines)
        self._request_seconds = self._clock() - begun
        self._on_answer(result)
        self._accepted_last = result.outcome == "written"
        if self._accepted_last:
            self._accepted_any = True
            self._last_accepted = lines[-1]
        return result

    def _may_be_the_lines(self, result: WriteResult, lines: Sequence[bytes]) -> bool:
        """Return whether these lines may have made the server fail: after ten failures in a row.

        Lines whose request was too slow are first sent in smaller requests.
        """
        if not result.server_failed:
            return False
        self._consecutive_failures += 1
        if result.too_slow and len(lines) > 1:
            return False
        return self._consecutive_failures >= FAILURES_BEFORE_BISECTION

    def _accepted_other(self, lines: Sequence[bytes]) -> bytes | None:
        """Return another line that the server accepts now."""
        for line in self._probes(lines):
            if self._write([line]).outcome == "written":
                return line
        self._consecutive_failures = 0
        return None

    def _probes(self, lines: Sequence[bytes]) -> list[bytes]:
        """Return lines to try: the last accepted one, the newest, and one of each charger."""
        waiting = self._queue.read(self._max_batch_lines).lines
        last = len(waiting) - 1
        quarters = [waiting[last * part // 4] for part in range(5)] if waiting else []
        series = {line.partition(b" ")[0]: line for line in waiting}
        newest = self._queue.newest()
        found = dict.fromkeys([self._last_accepted, newest, *quarters, *series.values()])
        alone = lines[0] if len(lines) == 1 else None
        return [line for line in found if line not in (None, alone)][:MAX_PROBES]

    def _park(self, line: bytes, result: WriteResult) -> None:
        """Park a line; raises `Undelivered` if there is no room, so that it stays in the queue."""
        if not self._parked.put(line, result.message):
            raise Undelivered(WriteResult("retry", "parked_full", result.message))
        self._parkings.begins(message=result.message[:200])

    def _try_parked(self) -> None:
        """Send the parked lines that are due; those that remain undecided wait again."""
        self._sent_lines = 0
        due = self._parked.due()
        if not due:
            return
        server = self._server
        if server is not self._tried_server:
            self._parked.forget_counts()
            self._tried_server = server

        def write(lines: Sequence[bytes]) -> WriteResult:
            if self._server is not server:
                raise Stopped  # a trial is the matter of one server
            return self._write(lines)

        trial = Trial(due, write, self._reject, self._toss)
        try:
            accepted = self._last_accepted or self._accepted_other([each.line for each in due])
            if not trial.run(accepted):
                self._last_accepted = None
        except Undelivered:
            self._trial_failed = True
            raise
        finally:
            self.written += trial.written
            self._parked.settle(due, trial.undecided)
        if not len(self._parked):
            self._parkings.ends()

    def _reject(self, line: bytes, result: WriteResult) -> None:
        self._dead_letters.put(line, result.message)
        self.rejected += 1
        self._rejections.begins(message=result.message[:200])
        self._rejected_at = self._clock()

    def _back_off(self, result: WriteResult) -> float:
        """Count a failure and return how long to wait."""
        self.failures[result.reason] += 1
        self._outage.begins(result.reason, message=result.message[:200])
        if self._sent_lines and result.too_slow and self._too_slow:
            self._batch_lines = max(self._sent_lines // 2, 1)
        self.failing, self._too_slow = result.reason, result.too_slow
        if result.reason == "parked_full":
            return self._parked.wait_seconds() or 0.0
        doubled = MIN_WAIT_SECONDS * 2.0 ** min(self._outage.count - 1, 10)
        wait = min(doubled, MAX_WAIT_SECONDS) * (0.5 + self._jitter() / 2)
        if result.retry_after_seconds is not None:
            return max(wait, min(result.retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
        return wait

    def _succeed(self) -> None:
        self._consecutive_failures = 0
        self._outage.ends()
        self.failing, self._too_slow = "", False
        if self._request_seconds < self._timeout_seconds / 2:
            self._batch_lines = min(self._batch_lines * 2, self._max_batch_lines)
        if self._clock() - self._rejected_at > QUIET_SECONDS:
            self._rejections.ends()


def _for_every_line(result: WriteResult) -> WriteResult:
    """Return the result for a server that rejects every line, which no line has caused."""
    reason = "rejected_all" if result.outcome == "rejected" else result.reason
    return result._replace(outcome="retry", reason=reason)
