"""From the spool to the server: one sender, strictly oldest first, never giving up.

What each answer means stands in DESIGN §7. A line is let go of only when the server took it, or
refused this very line (then it goes to `dead/` with the server's words).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from goe_exporter.influx_server import Verdict, WriteServer
from goe_exporter.logs import logger
from goe_exporter.spool import Spool

MOST_LINES = 5000
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 900.0
SERVER_ERRORS_BEFORE_PROBE = 10
DEAD_LIMIT = 1000

_log = logger(__name__)


class DeadLetters:
    """Lines a server refused, a file each in `directory`, the newest `DEAD_LIMIT` of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, line: bytes, words: str) -> None:
        """Keep a line beside the server's words."""
        self.directory.mkdir(mode=0o750, exist_ok=True)
        letter = {"time": time.time(), "words": words, "line": line.decode("utf-8", "replace")}
        with (self.directory / f"{time.time_ns():020}.json").open("w", encoding="utf-8") as file:
            file.write(json.dumps(letter) + "\n")
            file.flush()
            os.fsync(file.fileno())
        for path in self.paths()[:-DEAD_LIMIT]:
            path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """Return the letters' files, oldest first."""
        return sorted(self.directory.glob("*.json")) if self.directory.is_dir() else []

    def letters(self) -> list[dict[str, object]]:
        """Return the letters, oldest first: `time` (Unix), `words`, `line`."""
        found = []
        for path in self.paths():
            try:
                letter = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(letter, dict):
                found.append(letter)
        return found

    def requeue(self, spool: Spool) -> int:
        """Put the letters' lines back into a spool and forget them; return how many."""
        count = 0
        for path in self.paths():
            try:
                line = str(json.loads(path.read_text("utf-8"))["line"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if spool.append(line.encode()):
                path.unlink()
                count += 1
        return count


class Undelivered(Exception):  # noqa: N818, it ends an attempt, it is no error
    """The server could not be asked to take these lines now."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.words)
        self.verdict = verdict


class Sender:
    """Delivers a spool's lines to a server, in a thread of its own from `start` to `stop`.

    `written`, `rejected` and `failures` (by reason) count since the start. `on_answer` is told
    of each answer; while `wants_answer` holds, the server is asked for one even without lines.
    `oldest` is the timestamp (Unix) of the line at the head.
    """

    def __init__(
        self,
        spool: Spool,
        server: WriteServer,
        dead: DeadLetters,
        *,
        most_lines: int = MOST_LINES,
        on_answer: Callable[[Verdict], None] = lambda _verdict: None,
        wants_answer: Callable[[], bool] = lambda: False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.written = 0
        self.rejected = 0
        self.failures: Counter[str] = Counter()
        self.failing = ""
        self._spool = spool
        self._server = server
        self._dead = dead
        self._most_lines = most_lines
        self._on_answer = on_answer
        self._wants_answer = wants_answer
        self.oldest: float | None = None
        self._jitter = jitter
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._failed_in_row = 0
        self._server_errors = 0
        self._passing: bytes | None = None
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
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(grace_seconds)

    def deliver_once(self) -> float | None:
        """Try to deliver one batch.

        Returns 0 if there may be more, None if nothing waits, else the seconds to wait.
        """
        batch = self._spool.read(self._most_lines)
        self.oldest = _timestamp(batch.lines[0]) if batch.lines else None
        if not batch.lines:
            self._spool.commit(batch.end)
            return self._ask() if self._wants_answer() else None
        try:
            self._deliver(batch.lines, batch.ends)
        except Undelivered as undelivered:
            return self._later(undelivered.verdict)
        self._well()
        return 0.0

    def _ask(self) -> float:
        """Get an answer, and so the server's time, without lines; return how long to wait."""
        verdict = self._server.write([])
        self._on_answer(verdict)
        if verdict.answered:
            return FIRST_WAIT_SECONDS if self._wants_answer() else 0.0
        return self._later(verdict)

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
            elif wait:
                self._stopping.wait(wait)

    def _deliver(self, lines: Sequence[bytes], ends: Sequence[tuple[int, int]]) -> None:
        """Deliver lines in order; halve what the server refuses until the bad line is alone."""
        verdict = self._server.write(lines)
        self._on_answer(verdict)
        poisoned = self._poisoned(verdict, lines)
        if verdict.outcome == "written":
            self.written += len(lines)
            self._spool.commit(ends[-1])
        elif verdict.outcome == "later" and not poisoned:
            raise Undelivered(verdict)
        elif len(lines) == 1:
            self._dead.put(lines[0], verdict.words)
            self.rejected += 1
            _log.warning("line rejected", words=verdict.words[:200])
            self._spool.commit(ends[-1])
        else:
            half = len(lines) // 2
            self._deliver(lines[:half], ends[:half])
            self._deliver(lines[half:], ends[half:])

    def _poisoned(self, verdict: Verdict, lines: Sequence[bytes]) -> bool:
        """Tell whether a 5xx is these lines' fault: ten in a row, while a single line passes.

        Once that is known, it holds until the server takes a whole batch again; but no line is
        given up for it unless the line that passed still does, for the server may be down by now.
        """
        if verdict.reason != "server_error":
            return False
        self._server_errors += 1
        if self._server_errors < SERVER_ERRORS_BEFORE_PROBE:
            return False
        last = len(lines) - 1
        if self._server_errors == SERVER_ERRORS_BEFORE_PROBE:
            places = sorted({0, last // 4, last // 2, last * 3 // 4, last}) if last else []
            self._passing = next(filter(self._passes, (lines[place] for place in places)), None)
        elif not last and self._passing is not None and not self._passes(self._passing):
            self._passing = None
        if self._passing is None:
            self._server_errors = 0
        return self._passing is not None

    def _passes(self, line: bytes) -> bool:
        return self._server.write([line]).outcome == "written"

    def _later(self, verdict: Verdict) -> float:
        """Count a failure and return how long to wait."""
        self.failures[verdict.reason] += 1
        self._failed_in_row += 1
        if not self.failing:
            _log.warning("delivery fails", reason=verdict.reason, words=verdict.words[:200])
        self.failing = verdict.reason
        doubled = FIRST_WAIT_SECONDS * 2.0 ** min(self._failed_in_row - 1, 10)
        wait = min(doubled, LONGEST_WAIT_SECONDS)
        wait *= 0.5 + self._jitter() / 2
        if verdict.retry_after_seconds is not None:
            return max(wait, min(verdict.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS))
        return wait

    def _well(self) -> None:
        self._server_errors = 0
        if self.failing:
            _log.info("delivery works again", failures=self._failed_in_row)
        self._failed_in_row = 0
        self.failing = ""


def _timestamp(line: bytes) -> float | None:
    """Return the Unix time at the end of a line."""
    stamp = line.rpartition(b" ")[2]
    return int(stamp) / 1000 if stamp.isdigit() else None
