"""From the spool to the server: one sender, strictly oldest first, never giving up.

What each answer means stands in DESIGN §7. A line is let go of only when the server took it, or
when it failed with this very line right after it took another one (then the line goes to `dead/`
with the server's words). What a server does to every line is no line's fault.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from goe_exporter.influx.dead_letters import DeadLetters
from goe_exporter.influx.line_protocol import timestamp
from goe_exporter.influx.write_api import Verdict, WriteServer
from goe_exporter.logs import Incident, logger
from goe_exporter.spool.queue import Spool

MOST_LINES = 5000
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 900.0
BREAKS_BEFORE_PROBE = 10
"""So often in a row a server may break over lines before they are suspected."""

MOST_PROBES = 10
QUIET_SECONDS = 600.0
"""So long no line must be refused before that is said to be over."""

_TOO_SLOW = ("timeout", "truncated")

_log = logger(__name__)


class Undelivered(Exception):  # noqa: N818, it ends an attempt, it is no error
    """The server could not be asked to take these lines now."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.words)
        self.verdict = verdict


class Stopped(Exception):  # noqa: N818, as above
    """The sender was stopped in the middle of a batch."""


class Sender:
    """Delivers a spool's lines to a server, in a thread of its own from `start` to `stop`.

    `written`, `rejected` and `failures` (by reason) count since the start. `on_answer` is told
    of each answer; while `wants_answer` holds, the server is asked for one even without lines.
    `oldest` is the timestamp (Unix) of the line at the head. A request that took more than half
    of `timeout_seconds` is as large as requests should be.
    """

    def __init__(
        self,
        spool: Spool,
        server: WriteServer,
        dead: DeadLetters,
        *,
        most_lines: int = MOST_LINES,
        timeout_seconds: float = 10.0,
        on_answer: Callable[[Verdict], None] = lambda _verdict: None,
        wants_answer: Callable[[], bool] = lambda: False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.written = 0
        self.rejected = 0
        self.failures: Counter[str] = Counter()
        self.failing = ""
        self.oldest: float | None = None
        self._spool = spool
        self._server = server
        self._dead = dead
        self._most_lines = most_lines
        self._at_once = most_lines
        self._timeout_seconds = timeout_seconds
        self._on_answer = on_answer
        self._wants_answer = wants_answer
        self._jitter = jitter
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._hurry = threading.Event()
        self._outage = Incident(_log, "delivery fails", "delivery works again")
        self._refusals = Incident(_log, "lines rejected", "no more lines rejected")
        self._refused_at = 0.0
        self._breaks = 0
        self._passing: bytes | None = None
        self._just_took = self._took_any = False
        self._sent = 0
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="influx", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there are new lines."""
        self._work.set()

    def stop(self, grace_seconds: float) -> None:
        """End after the request under way; what is not delivered stays on disk."""
        self._stopping.set()
        self._hurry.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(grace_seconds)

    def change(self, server: WriteServer, most_lines: int, timeout_seconds: float) -> None:
        """Deliver to another server from the next request on, and do not wait to try it."""
        self._server = server
        self._most_lines = self._at_once = most_lines
        self._timeout_seconds = timeout_seconds
        self._hurry.set()
        self._work.set()

    def hangs(self) -> bool:
        """Tell whether the thread has ended, though nobody stopped it."""
        begun = self._thread.ident is not None
        return begun and not self._stopping.is_set() and not self._thread.is_alive()

    @property
    def shrinking(self) -> bool:
        """Tell whether the last attempt took too long and a smaller one is still to be made."""
        return self.failing in _TOO_SLOW and self._sent > 1

    def deliver_once(self) -> float | None:
        """Try to deliver one batch.

        Returns 0 if there may be more, None if nothing waits, else the seconds to wait.
        """
        try:
            batch = self._spool.read(self._at_once)
        except OSError as error:
            return self._later(Verdict("later", "disk", str(error), answered=False))
        self._sent = len(batch.lines)
        self._just_took = self._took_any = False
        self.oldest = timestamp(batch.lines[0]) if batch.lines else None
        if not batch.lines:
            self._spool.commit(batch.end)
            return self._ask() if self._wants_answer() else None
        gone = self._spool.mark_in_flight(batch.ends)
        if gone == len(batch.lines):
            return 0.0
        try:
            self._deliver(batch.lines[gone:], batch.ends[gone:])
        except Undelivered as undelivered:
            return self._later(undelivered.verdict)
        except Stopped:
            return None
        finally:
            self._spool.mark_in_flight(())
        self._well()
        return 0.0

    def _ask(self) -> float:
        """Get an answer, and so the server's time, without lines; return how long to wait."""
        verdict = self._server.write([])
        self._on_answer(verdict)
        if not self._wants_answer():
            return 0.0
        if verdict.outcome == "written" or verdict.server_time is not None:
            return FIRST_WAIT_SECONDS
        return self._later(_for_all(verdict))

    def _run(self) -> None:
        while True:
            self._work.clear()
            if self._stopping.is_set():
                return
            try:
                wait = self.deliver_once()
            except Exception:  # noqa: BLE001, the top of a thread
                _log.exception("delivery broke")
                wait = LONGEST_WAIT_SECONDS
            if wait is None:
                self._work.wait()
            elif wait and self._hurry.wait(wait):
                self._hurry.clear()

    def _deliver(self, lines: Sequence[bytes], ends: Sequence[tuple[int, int]]) -> None:
        """Deliver lines in order; halve what the server refuses until the bad line is alone."""
        after_another = self._just_took
        verdict = self._write(lines)
        if verdict.outcome == "written":
            self.written += len(lines)
            self._spool.commit(ends[-1])
        elif verdict.outcome == "later" and not self._suspect(verdict, lines):
            raise Undelivered(verdict)
        elif len(lines) > 1:
            if verdict.outcome != "too_large" and not self._took_any and not self._passes(lines):
                raise Undelivered(_for_all(verdict))
            half = len(lines) // 2
            self._deliver(lines[:half], ends[:half])
            self._deliver(lines[half:], ends[half:])
        elif after_another:
            self._give_up(lines[0], verdict)
            self._spool.commit(ends[-1])
        elif self._passes(lines):
            self._deliver(lines, ends)
        else:
            raise Undelivered(_for_all(verdict))

    def _write(self, lines: Sequence[bytes]) -> Verdict:
        if self._stopping.is_set():
            raise Stopped
        begun = time.monotonic()
        verdict = self._server.write(lines)
        self._seconds = time.monotonic() - begun
        self._on_answer(verdict)
        self._just_took = verdict.outcome == "written"
        if self._just_took:
            self._took_any = True
            self._passing = lines[-1]
        return verdict

    def _suspect(self, verdict: Verdict, lines: Sequence[bytes]) -> bool:
        """Tell whether these lines may be what the server breaks on: ten times in a row.

        What takes too long is first tried in ever smaller requests.
        """
        slow = verdict.reason in _TOO_SLOW
        if not slow and verdict.reason != "server_error":
            return False
        self._breaks += 1
        if slow and len(lines) > 1:
            return False
        return self._breaks >= BREAKS_BEFORE_PROBE

    def _passes(self, lines: Sequence[bytes]) -> bool:
        """Tell whether the server takes another line now, best the one that it took last."""
        for line in self._others(lines):
            if self._write([line]).outcome == "written":
                return True
        self._passing = None
        self._breaks = 0
        return False

    def _others(self, lines: Sequence[bytes]) -> list[bytes]:
        """Return lines to try: the one that passed last, the newest, and one of each charger."""
        waiting = self._spool.read(self._most_lines).lines
        last = len(waiting) - 1
        quarters = [waiting[last * part // 4] for part in range(5)] if waiting else []
        series = {line.partition(b" ")[0]: line for line in waiting}
        found = dict.fromkeys([self._passing, self._spool.newest(), *quarters, *series.values()])
        alone = lines[0] if len(lines) == 1 else None
        return [line for line in found if line not in (None, alone)][:MOST_PROBES]

    def _give_up(self, line: bytes, verdict: Verdict) -> None:
        self._dead.put(line, verdict.words)
        self.rejected += 1
        self._refusals.begins(words=verdict.words[:200])
        self._refused_at = time.monotonic()

    def _later(self, verdict: Verdict) -> float:
        """Count a failure and return how long to wait."""
        self.failures[verdict.reason] += 1
        self._outage.begins(reason=verdict.reason, words=verdict.words[:200])
        if self._sent and verdict.reason in _TOO_SLOW and self.failing in _TOO_SLOW:
            self._at_once = max(self._sent // 2, 1)
        self.failing = verdict.reason
        doubled = FIRST_WAIT_SECONDS * 2.0 ** min(self._outage.count - 1, 10)
        wait = min(doubled, LONGEST_WAIT_SECONDS)
        wait *= 0.5 + self._jitter() / 2
        if verdict.retry_after_seconds is not None:
            return max(wait, min(verdict.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
        return wait

    def _well(self) -> None:
        self._breaks = 0
        self._outage.ends()
        self.failing = ""
        if self._seconds < self._timeout_seconds / 2:
            self._at_once = min(self._at_once * 2, self._most_lines)
        if time.monotonic() - self._refused_at > QUIET_SECONDS:
            self._refusals.ends()


def _for_all(verdict: Verdict) -> Verdict:
    """Return what it means that the server refuses every line: it is not the lines' fault."""
    reason = "rejected_all" if verdict.outcome == "rejected" else verdict.reason
    return verdict._replace(outcome="later", reason=reason)
