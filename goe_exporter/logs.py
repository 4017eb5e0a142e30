"""Logs: one line per event on stderr, as logfmt or JSON.

    log = logger(__name__)
    log.warning("poll failed", charger="garage", reason="timeout")

Values with special characters are quoted as JSON strings, so that text from a charger can neither
forge a line nor send escape codes to a terminal.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal

LogFormat = Literal["logfmt", "json"]

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")
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


class Incident:
    """A fault that lasts: logged when it begins and when it ends, not each time it recurs.

    `count` is the number of occurrences so far, 0 without a fault.
    """

    def __init__(self, log: Log, began: str, ended: str) -> None:
        self._log = log
        self._began = began
        self._ended = ended
        self.count = 0

    def begins(self, **values: object) -> None:
        """Count an occurrence; the first is logged as a warning."""
        self.count += 1
        if self.count == 1:
            self._log.warning(self._began, **values)

    def ends(self) -> None:
        """Log the end of the fault, if there was one, with the number of occurrences."""
        if self.count:
            self._log.info(self._ended, times=self.count)
        self.count = 0


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


def configure(log_format: LogFormat, level: str) -> None:
    """Send all events of `level` ("debug", "info", "warning") and above to stderr.

    The web server logs errors only: with a line per bad request, a client could fill the disk.
    Python's warnings and asyncio's errors are formatted like all other events.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(log_format))
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
    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._json = log_format == "json"

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
        return " ".join(f"{key}={_quoted(value)}" for key, value in values.items())


def _quoted(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
