"""The log lines about one charger: at most one a minute, however it behaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from goe_exporter.errors import ChargerError
from goe_exporter.logs import Incident, Pace, logger

_log = logger(__name__)


class ChargerLog:
    """Logs failed polls and undecodable values of the charger, or other `device`, `name`.

    A line that would come within a minute of the last one is held back. A later poll, or `flush`,
    logs it with the number of failed polls and recoveries since then.
    """

    def __init__(
        self, name: str, clock: Callable[[], float] = time.monotonic, device: str = "charger"
    ) -> None:
        self._named = {device: name}
        self._pace = Pace(clock)
        self._lock = threading.Lock()
        self._keys: dict[str, None] = {}
        self._outage = Incident(
            _log,
            "poll failed",
            "poll succeeded again",
            self._pace,
            counted="failures",
            **self._named,
        )

    def failed(self, error: ChargerError) -> None:
        """Take note of a failed poll."""
        self._tell_keys()
        self._outage.begins(error.reason, error=str(error))

    def succeeded(self, undecodable: Collection[str] = ()) -> None:
        """Take note of a poll that succeeded, and of keys that could not be decoded before."""
        if undecodable or self._keys:
            with self._lock:
                self._keys |= dict.fromkeys(sorted(undecodable))
            self._tell_keys()
        self._outage.ends()

    def flush(self) -> None:
        """Log what is held back now: the charger is not polled any more."""
        self._tell_keys(at_once=True)
        self._outage.flush()

    def _tell_keys(self, *, at_once: bool = False) -> None:
        with self._lock:
            if self._keys and (at_once or self._pace.take()):
                keys = ",".join(self._keys)
                _log.warning("value could not be decoded", **self._named, key=keys)
                self._keys.clear()
