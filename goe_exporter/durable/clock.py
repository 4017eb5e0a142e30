"""Whether the system clock can be trusted: a Raspberry Pi boots in 1970 and jumps later.

The clock is trusted once something outside it agrees: the kernel, if NTP synchronises it, the
`Date` of the server's answers, or the time saved on disk earlier in the same boot. If the clock
jumps against the machine's uptime, it is not trusted until it is confirmed again. What is measured
meanwhile is kept with the uptime and stamped later.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from goe_exporter.durable import files
from goe_exporter.durable.directory import refuse_newer
from goe_exporter.logs import Incident, Pace, logger

EARLIEST = 1_767_225_600.0
"""2026-01-01, before the first release: a clock that shows an earlier time is wrong."""

LATEST = 4_102_444_800.0
"""2100-01-01: a file with a later time is damaged."""

VERSION = 1
"""The version of the file, "v1"; files older than versions have none."""

TOLERANCE_SECONDS = 86_400.0
MAX_POLL_SECONDS = 60.0
SAVE_SECONDS = 600.0
_VERSION = re.compile(r"v([0-9]{1,9})")
TIME_ERROR = 5
"""What adjtimex(2) returns for a clock that is not synchronised."""

_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On macOS, which has no CLOCK_BOOTTIME, CLOCK_MONOTONIC includes sleep."""

_log = logger(__name__)


def uptime() -> float:
    """Return the seconds since the machine booted, including sleep; never set or adjusted."""
    return time.clock_gettime(_UPTIME)


def asleep() -> float:
    """Return seconds that grow only while the machine sleeps, which `time.monotonic` omits.

    They vary a little, because the two clocks are read one after the other.
    """
    return uptime() - time.monotonic()


def boot() -> str:
    """Return the identifier of this boot of the machine; without /proc, one of this start."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(uuid.uuid4())


def synchronised() -> bool:
    """Return whether the kernel reports that its clock is synchronised, by NTP or the like."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < TIME_ERROR


def utc(unix_seconds: float) -> str:
    """Return a time as text, such as `2026-01-31 17:46:40 UTC`."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_seconds))
    except (ValueError, OverflowError, OSError):
        return f"{unix_seconds:.0f}"


class SavedTime(NamedTuple):
    """A time at which the clock was trusted: Unix and uptime, both in seconds, and the boot."""

    wall: float
    since_boot: float
    boot: str


class Moment(NamedTuple):
    """Both clocks at one moment, in seconds: the Unix time and the uptime."""

    wall: float
    since_boot: float

    def stamp(self, measured: float) -> float:
        """Return the Unix time of a poll that ended a moment ago, with a clock that is trusted.

        That is `measured`, or now if the clock was corrected in between.
        """
        return measured if abs(self.wall - measured) <= MAX_POLL_SECONDS else self.wall

    def time_at(self, since_boot: float) -> float:
        """Return the Unix time of an uptime of this boot, with a clock that is trusted."""
        return self.wall - (self.since_boot - since_boot)


class TrustedClock:
    """Returns the time and whether it can be trusted; saves the last trusted time in `file`.

    `wall` returns the Unix time in seconds, `since_boot` the uptime, in the boot `boot`.
    `disagreement` holds the clock's time and the server's if they are more than a day apart.
    The file is written only while `may_save` returns True.
    """

    def __init__(
        self,
        file: Path,
        boot_id: str,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = uptime,
        synchronised: Callable[[], bool] = synchronised,
        *,
        may_save: Callable[[], bool] = lambda: True,
    ) -> None:
        """Read the file; raises `UsageError` if a newer release wrote it."""
        self.boot = boot_id
        self.disagreement: tuple[float, float] | None = None
        self._file = file
        self._wall = wall
        self._since_boot = since_boot
        self._synchronised = synchronised
        self._may_save = may_save
        self._lock = threading.Lock()
        self._offset: float | None = None
        self._apart = Incident(
            _log, "clock and server disagree", "clock and server agree", Pace(since_boot)
        )
        self._saved = self._read()
        if self._saved.boot == self.boot:
            saved, moment = self._saved.wall - self._saved.since_boot, self.now()
            if abs(moment.wall - moment.since_boot - saved) <= TOLERANCE_SECONDS:
                self._confirm(moment)

    @property
    def last_trusted(self) -> float:
        """The last time (Unix) at which the clock was trusted, 0 if it never was."""
        return self._saved.wall

    def trusted(self) -> Moment | None:
        """Return the present moment if the clock may stamp points with it, else None.

        A later reading may not be used in its place: the clock may have jumped in between.
        """
        with self._lock:
            moment = self.now()
            offset = moment.wall - moment.since_boot
            if self._offset is not None and (
                abs(offset - self._offset) > TOLERANCE_SECONDS or moment.wall < EARLIEST
            ):
                self._offset = None
            if self._offset is None:
                if self._synchronised():
                    self._confirm(moment)
            else:
                self._offset = offset
                self._save(moment)
            return None if self._offset is None else moment

    def now(self) -> Moment:
        """Return the present moment, whether the clock is trusted or not."""
        return Moment(self._wall(), self._since_boot())

    def uptime(self) -> float:
        """Return the seconds since the machine booted."""
        return self._since_boot()

    def compare(self, server_time: float | None) -> None:
        """Compare the clock with the time of a server's answer (None if it had none)."""
        with self._lock:
            moment = self.now()
            if server_time is not None and server_time < EARLIEST:
                return
            if server_time is not None and abs(moment.wall - server_time) > TOLERANCE_SECONDS:
                self.disagreement = moment.wall, server_time
                self._apart.begins(clock=utc(moment.wall), server=utc(server_time))
                if not self._synchronised():
                    self._offset = None
                return
            if server_time is not None:
                self.disagreement = None
                self._apart.ends()
            if self._offset is None:
                self._confirm(moment)

    def _confirm(self, moment: Moment) -> None:
        if moment.wall >= EARLIEST:
            self._offset = moment.wall - moment.since_boot
            self._save(moment)

    def _save(self, moment: Moment) -> None:
        """Save the time every ten minutes; if that fails, a start needs a new confirmation."""
        saved = SavedTime(*moment, self.boot)
        if self._saved.boot == self.boot and abs(saved.wall - self._saved.wall) < SAVE_SECONDS:
            return
        self._saved = saved
        if not self._may_save():
            return
        line = f"v{VERSION} {saved.wall:.0f} {saved.since_boot:.0f} {saved.boot}\n"
        with contextlib.suppress(OSError):
            files.replace(self._file, line.encode())

    def _read(self) -> SavedTime:
        try:
            found = self._file.read_text("ascii").split()
        except (OSError, ValueError):
            found = []
        version = _VERSION.fullmatch(found[0]) if found else None
        if version:
            name = f"the clock file {self._file}"
            refuse_newer(int(version[1]), VERSION, name, "delete the file")
        try:
            wall, since_boot, boot_id = found[1:] if version else found
            saved = SavedTime(float(wall), float(since_boot), boot_id)
        except ValueError:
            return SavedTime(0.0, 0.0, "")
        plausible = EARLIEST <= saved.wall < LATEST and 0 <= saved.since_boot < saved.wall
        return saved if plausible else SavedTime(0.0, 0.0, "")
