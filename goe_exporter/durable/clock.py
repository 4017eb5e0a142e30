"""When is the system clock to be believed? A Raspberry Pi boots in 1970 and jumps later.

The clock is trusted once something outside it agrees: the kernel, which knows whether NTP keeps
it, the `Date` of the server's answers, or the time kept on disk earlier in the same boot. A jump
against the machine's uptime ends the trust until it is confirmed again. What is measured meanwhile
is kept with the uptime and stamped afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable import files
from goe_exporter.errors import UsageError
from goe_exporter.logs import Incident, logger

EARLIEST = 1_767_225_600.0
"""2026-01-01, before the first release: no clock that shows less is right."""

LATEST = 4_102_444_800.0
"""2100-01-01: a file that says more is damaged."""

VERSION = 1
"""The version of the file, "v1"; a file of before there were versions has none."""

TOLERANCE_SECONDS = 86_400.0
LONGEST_TAKING_SECONDS = 60.0
KEEP_SECONDS = 600.0
_VERSION = re.compile(r"v([0-9]{1,9})")
TIME_ERROR = 5
"""What adjtimex(2) returns for a clock that nothing keeps right."""

_log = logger(__name__)


def uptime() -> float:
    """Return the seconds since the machine booted, sleep included; no clock setting moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot() -> str:
    """Return what tells this boot of the machine from any other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def synchronised() -> bool:
    """Tell whether the kernel says that NTP or the like keeps its clock right."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < TIME_ERROR


def shown(unix_seconds: float) -> str:
    """Return a time as people read it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_seconds))
    except (ValueError, OverflowError, OSError):
        return f"{unix_seconds:.0f}"


class Kept(NamedTuple):
    """A time at which the clock was right: Unix and uptime, both in seconds, and the boot."""

    wall: float
    since_boot: float
    boot: str


class Timekeeper:
    """Tells the time, and whether it is to be believed; keeps the last good time in `file`.

    `wall` is the Unix time in seconds, `since_boot` the uptime, in the boot `boot`.
    `disagreement` holds the clock's time and the server's, where these are more than a day apart.
    The file is written only while `may_keep` allows it.
    """

    def __init__(
        self,
        file: Path,
        boot_id: str,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = uptime,
        synchronised: Callable[[], bool] = synchronised,
        *,
        may_keep: Callable[[], bool] = lambda: True,
    ) -> None:
        """Read the file; raises `UsageError` if a newer release wrote it."""
        self.boot = boot_id
        self.disagreement: tuple[float, float] | None = None
        self._file = file
        self._wall = wall
        self._since_boot = since_boot
        self._synchronised = synchronised
        self._may_keep = may_keep
        self._lock = threading.Lock()
        self._offset: float | None = None
        self._apart = Incident(_log, "clock and server disagree", "clock and server agree")
        self._kept = self._read()
        if self._kept.boot == self.boot:
            kept = self._kept.wall - self._kept.since_boot
            if abs(wall() - since_boot() - kept) <= TOLERANCE_SECONDS:
                self._confirm()

    @property
    def last_right(self) -> float:
        """The last time (Unix) at which the clock was known to be right, 0 if it never was."""
        return self._kept.wall

    def trusted(self) -> bool:
        """Tell whether the clock may stamp a point now."""
        with self._lock:
            offset = self._wall() - self._since_boot()
            if self._offset is not None and (
                abs(offset - self._offset) > TOLERANCE_SECONDS or self._wall() < EARLIEST
            ):
                self._offset = None
            if self._offset is None:
                if self._synchronised():
                    self._confirm()
                return self._offset is not None
            self._offset = offset
            self._keep()
            return True

    def now(self) -> tuple[float, float]:
        """Return what the clock shows (Unix) and the uptime of the same moment."""
        return self._wall(), self._since_boot()

    def stamp(self, measured: float) -> float:
        """Return the Unix time of what the clock, trusted now, stamped a moment ago.

        If it was put right in between, that is now.
        """
        now = self._wall()
        return measured if abs(now - measured) <= LONGEST_TAKING_SECONDS else now

    def server_says(self, server_time: float | None) -> None:
        """Compare the clock with the time of a server's answer (None: it gave none)."""
        with self._lock:
            now = self._wall()
            if server_time is not None and server_time < EARLIEST:
                return
            if server_time is not None and abs(now - server_time) > TOLERANCE_SECONDS:
                self.disagreement = now, server_time
                self._apart.begins(clock=shown(now), server=shown(server_time))
                if not self._synchronised():
                    self._offset = None
                return
            if server_time is not None:
                self.disagreement = None
                self._apart.ends()
            if self._offset is None:
                self._confirm()

    def time_at(self, since_boot: float) -> float:
        """Return the Unix time of a moment of this boot; only right while `trusted`."""
        return self._wall() - (self._since_boot() - since_boot)

    def _confirm(self) -> None:
        if self._wall() >= EARLIEST:
            self._offset = self._wall() - self._since_boot()
            self._keep()

    def _keep(self) -> None:
        """Keep the time on disk, every ten minutes; losing it costs only a new confirmation."""
        kept = Kept(self._wall(), self._since_boot(), self.boot)
        if self._kept.boot == self.boot and abs(kept.wall - self._kept.wall) < KEEP_SECONDS:
            return
        self._kept = kept
        if not self._may_keep():
            return
        line = f"v{VERSION} {kept.wall:.0f} {kept.since_boot:.0f} {kept.boot}\n"
        with contextlib.suppress(OSError):
            files.replace(self._file, line.encode())

    def _read(self) -> Kept:
        try:
            words = self._file.read_text("ascii").split()
        except (OSError, ValueError):
            words = []
        version = _VERSION.fullmatch(words[0]) if words else None
        if version and int(version[1]) > VERSION:
            raise UsageError(
                f"the clock file {self._file} has version {version[1]}, and this release reads"
                f" versions up to {VERSION}: use a newer release, or delete the file"
            )
        try:
            wall, since_boot, boot_id = words[1:] if version else words
            kept = Kept(float(wall), float(since_boot), boot_id)
        except ValueError:
            return Kept(0.0, 0.0, "")
        sound = EARLIEST <= kept.wall < LATEST and 0 <= kept.since_boot < kept.wall
        return kept if sound else Kept(0.0, 0.0, "")
