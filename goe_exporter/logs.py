"""Logs: one line per event on stderr, as logfmt or JSON.

    log = logger(__name__)
    log.warning("poll failed", charger="garage", reason="timeout")

Values with special characters are quoted as JSON strings, so that text from a charger can neither
forge a line nor send escape codes to a terminal. On a terminal, warnings are yellow and errors red.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal, TextIO

LogFormat = Literal["logfmt", "json"]

_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
_NO_COLOUR = "\x1b[0m"
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")
LINE_SECONDS = 60.0
"""Least time between two lines about a fault that comes and goes."""

HOUR_SECONDS = 3600.0
_ROOT = "goe_exporter"

# Other commands than serve and push log nothing; without this, Python would print warnings.
logging.getLogger(_ROOT).addHandler(logging.NullHandler())


class Log:
    """Writes events with named values to a standard logger."""

    def __init__(self, target: logging.Logger) -> None:
        self._target = target

    def debug(self, event: str, **values: object) -> None:
        """Log an event that helps to find a fault."""
        self._target.debug(event, extra={"values": values})

    def info(self, event: str, **values: object) -> None:
        """Log an event of normal operation."""
        self._target.info(event, extra={"values": values})

    def warning(self, event: str, **values: object) -> None:
        """Log the beginning of a fault."""
        self._target.warning(event, extra={"values": values})

    def exception(self, event: str, **values: object) -> None:
        """Log an internal error with its traceback, where it was caught."""
        self._target.exception(event, extra={"values": values})


class Pace:
    """Allows one line a minute, of everything that shares it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = -math.inf

    def take(self) -> bool:
        """Return whether a line may be logged now; if so, the next one may be in a minute."""
        if self.wait_seconds():
            return False
        self._next = self._clock() + LINE_SECONDS
        return True

    def wait_seconds(self) -> float:
        """Return the seconds until the next line may be logged."""
        return max(self._next - self._clock(), 0.0)


class Incident:
    """A fault that lasts, or comes and goes: at most one line a minute, whatever it does.

    A line is logged when the fault begins, when its reason changes, and when it ends. What happens
    within a minute of a line is held back and counted: the next line says how often the fault
    occurred (under the name `counted`) and ended (`recoveries`), and for which `reasons`, since the
    last line with counts. So their sum over all lines is the number of occurrences.

    `count` is the number of occurrences in a row, 0 without a fault. `values` are in every line.
    """

    def __init__(
        self,
        log: Log,
        began: str,
        ended: str,
        pace: Pace | None = None,
        *,
        counted: str = "times",
        **values: object,
    ) -> None:
        self.count = 0
        self._log = log
        self._began = began
        self._ended = ended
        self._counted = counted
        self._pace = pace or Pace()
        self._values = values
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._latest: dict[str, object] = {}
        self._untold = False
        self._told: str | None = None
        self._occurrences: Counter[str] = Counter()
        self._recoveries = 0

    def begins(self, reason: str = "", **values: object) -> None:
        """Count an occurrence; the first, and one with another reason, is logged as a warning."""
        with self._lock:
            self.count += 1
            self._occurrences[reason] += 1
            self._latest = {"reason": reason, **values} if reason else values
            self._becomes(reason)

    def ends(self) -> None:
        """Log the end of the fault, if there was one, with the number of occurrences."""
        if self._reason is None and not self._untold:
            return
        with self._lock:
            self._recoveries += self.count > 0
            self.count = 0
            self._becomes(None)

    def tell(self) -> float | None:
        """Log what is held back if its minute is over, else return the seconds left.

        Returns None if nothing is held back.
        """
        with self._lock:
            self._becomes(self._reason)
            return self._pace.wait_seconds() if self._untold else None

    def flush(self) -> None:
        """Log what is held back now: nothing follows."""
        with self._lock:
            if self._untold:
                self._write()

    def _becomes(self, reason: str | None) -> None:
        self._untold |= reason != self._reason
        self._reason = reason
        if self._untold and self._pace.take():
            self._write()

    def _write(self) -> None:
        if self._reason is None:
            # The only line about a fault is a warning, even if the fault is over.
            log = self._log.warning if self._told is None else self._log.info
            log(self._ended, **self._values, **self._counts(self._told, recoveries=1))
        else:
            first = self._occurrences.total() == 1 and not self._recoveries
            counts = {} if first else self._counts(self._reason, recoveries=0)
            self._log.warning(self._began, **self._values, **self._latest, **counts)
        self._told, self._untold = self._reason, False

    def _counts(self, reason: str | None, recoveries: int) -> dict[str, object]:
        """Return the counts for a line, and begin again.

        Of one reason, which the line or the last one names, and of the usual number of recoveries
        it says nothing.
        """
        counts: dict[str, object] = {}
        if self._occurrences:
            counts[self._counted] = self._occurrences.total()
        if self._recoveries > recoveries:
            counts["recoveries"] = self._recoveries
        if {*self._occurrences} - {reason, ""}:
            found = self._occurrences.most_common()
            counts["reasons"] = ", ".join(f"{name} {count}" for name, count in found)
        self._occurrences.clear()
        self._recoveries = 0
        return counts


class Losses:
    """Dropped points, by their count so far: logged at the first, each hour, and at the end.

    It ends when nothing was dropped for an hour, unless more is about to be.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._going_on = False
        self._dropped = self._logged = self._before = 0
        self._dropped_at = self._logged_at = 0.0

    def note(self, dropped: int, *, full: bool) -> None:
        """Take note of the count; `full` says that more points are about to be dropped."""
        with self._lock:
            now = self._clock()
            if dropped > self._dropped:
                if not self._going_on:
                    self._log.warning("points dropped", dropped=dropped - self._dropped)
                    self._going_on, self._before = True, self._dropped
                    self._logged, self._logged_at = dropped, now
                self._dropped, self._dropped_at = dropped, now
            if not self._going_on:
                return
            if now - self._dropped_at >= HOUR_SECONDS and not full:
                self._log.info("no more points dropped", dropped=self._dropped - self._before)
                self._going_on = False
            elif now - self._logged_at >= HOUR_SECONDS:
                if self._dropped > self._logged:
                    count = self._dropped - self._logged
                    self._log.warning("points dropped in the last hour", dropped=count)
                self._logged, self._logged_at = self._dropped, now


def logger(name: str) -> Log:
    """Return the log of a module."""
    return Log(logging.getLogger(name))


def coloured(stream: TextIO) -> bool:
    """Return whether to write colours: to a terminal that has them, unless NO_COLOR is set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def configure(log_format: LogFormat, level: str) -> None:
    """Send all events of `level` ("debug", "info", "warn", "error") and above to stderr.

    The web server logs errors only: with a line per bad request, a client could fill the disk.
    Python's warnings and asyncio's errors are formatted like all other events.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(log_format, colours=coloured(sys.stderr)))
    logging.captureWarnings(True)
    for name, minimum in (
        (_ROOT, level.upper()),
        ("uvicorn", "ERROR"),
        ("asyncio", "ERROR"),
        ("py.warnings", "WARNING"),
    ):
        target = logging.getLogger(name)
        target.handlers = [handler]
        target.propagate = False
        target.setLevel(minimum)


class _Formatter(logging.Formatter):
    def __init__(self, log_format: LogFormat, *, colours: bool = False) -> None:
        super().__init__()
        self._json = log_format == "json"
        self._colours = _COLOURS if colours and not self._json else {}

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        values: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "values", {}),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        if self._json:
            return json.dumps(values, default=str)
        line = " ".join(f"{key}={_quoted(value)}" for key, value in values.items())
        colour = self._colours.get(record.levelname)
        return f"{colour}{line}{_NO_COLOUR}" if colour else line


def _quoted(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
