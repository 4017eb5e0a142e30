"""When is the system clock to be believed? A Raspberry Pi boots in 1970 and jumps later.

The clock is trusted once something outside it agrees: the `Date` of the server's answers, or the
time kept on disk from the last run. A jump against the machine's uptime ends the trust until it
is confirmed again. What is measured meanwhile is kept with the uptime and stamped afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

EARLIEST = 1_767_225_600.0
"""2026-01-01, before the first release: no clock that shows less is right."""

TOLERANCE_SECONDS = 86_400.0
LONGEST_REST_SECONDS = 30 * 86_400.0
KEEP_SECONDS = 600.0


def uptime() -> float:
    """Return the seconds since the machine booted, sleep included; no clock setting moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot() -> str:
    """Return what tells this boot of the machine from any other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


class Timekeeper:
    """Tells the time, and whether it is to be believed; keeps the last good time in `file`.

    `wall` is the Unix time in seconds, `since_boot` the uptime.
    """

    def __init__(
        self,
        file: Path,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = uptime,
    ) -> None:
        self._file = file
        self._wall = wall
        self._since_boot = since_boot
        self._lock = threading.Lock()
        self._offset: float | None = None
        self._kept = self._read()
        rest = wall() - self._kept
        if self._kept and -TOLERANCE_SECONDS <= rest <= LONGEST_REST_SECONDS:
            self._confirm()

    def trusted(self) -> bool:
        """Tell whether the clock may stamp a point now."""
        with self._lock:
            if self._offset is None:
                return False
            offset = self._wall() - self._since_boot()
            if abs(offset - self._offset) > TOLERANCE_SECONDS or self._wall() < EARLIEST:
                self._offset = None
                return False
            self._offset = offset
            self._keep()
            return True

    def server_says(self, server_time: float | None) -> None:
        """Compare the clock with the time of a server's answer (None: it gave none)."""
        with self._lock:
            now = self._wall()
            if now < EARLIEST or (server_time is not None and server_time < EARLIEST):
                return
            if server_time is None or abs(now - server_time) <= TOLERANCE_SECONDS:
                if self._offset is None:
                    self._confirm()
            else:
                self._offset = None

    def time_at(self, since_boot: float) -> float:
        """Return the Unix time of a moment of this boot; only right while `trusted`."""
        return self._wall() - (self._since_boot() - since_boot)

    def _confirm(self) -> None:
        if self._wall() >= EARLIEST:
            self._offset = self._wall() - self._since_boot()
            self._keep()

    def _keep(self) -> None:
        """Keep the time on disk, every ten minutes; losing it costs only a new confirmation."""
        now = self._wall()
        if abs(now - self._kept) < KEEP_SECONDS:
            return
        self._kept = now
        try:
            temporary = self._file.with_suffix(".tmp")
            temporary.write_text(f"{now:.0f}\n", "ascii")
            temporary.replace(self._file)
        except OSError:
            return

    def _read(self) -> float:
        try:
            return float(self._file.read_text("ascii"))
        except (OSError, ValueError):
            return 0.0
