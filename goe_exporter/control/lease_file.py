"""The lease on disk, in a directory that one process uses at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from goe_exporter.durable import files
from goe_exporter.durable.directory import Directory
from goe_exporter.errors import UsageError
from goe_exporter.logs import logger
from goe_exporter.surplus.lease import Lease
from goe_exporter.surplus.settings import MAX_PAUSE_S
from goe_exporter.surplus.wear import Wear

VERSION = 1
MAX_BYTES = 64 * 1024
CLOCK_STEP_SECONDS = 60.0

_log = logger(__name__)


class LeaseFile:
    """The lease of the charger with a serial number, in `directory`, until `close`.

    `clock` is that of the lease's times, `wall` returns the Unix time. `damaged` is the path of a
    damaged file that `load` has set aside.
    """

    def __init__(
        self,
        directory: Path,
        serial: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Lock the directory, which is created if it does not exist; raises `UsageError`."""
        self._directory = Directory(directory, "surplus state", VERSION)
        self._path = path(directory, serial)
        self._clock, self._wall = clock, wall
        self._saved: Lease | None = None
        self.damaged = ""
        self._offset = wall() - clock()

    @property
    def owned(self) -> frozenset[str]:
        """The channels that are on loan according to the file."""
        return frozenset() if self._saved is None else self._saved.owned

    def load(self) -> Lease:
        """Return the saved lease, an empty one if there is none.

        A damaged file is set aside. Its operations of the contactor are unknown, so charging starts
        after the longest pause only, and an "off" that the charger shows counts as a person's.
        Raises `UsageError` if the file cannot be read.
        """
        try:
            lease = read(self._path, self._clock(), self._wall())
        except FileNotFoundError:
            return Lease()
        except OSError as error:
            raise UsageError(f"cannot read {self._path}: {error.strerror}") from error
        except ValueError as error:
            aside = self.damaged = self._set_aside()
            _log.warning("lease file damaged", file=str(self._path), aside=aside, error=str(error))
            now = self._clock()
            return Lease(wear=Wear(paused_at=now, switched_at=now, pause_s=MAX_PAUSE_S))
        self._saved = lease
        return lease

    def save(self, lease: Lease) -> None:
        """Write the lease to disk unless it is there already; raises `OSError`.

        Its times are those of the wall clock, so a step of that clock writes them again.
        """
        now, wall = self._clock(), self._wall()
        offset = wall - now
        if lease == self._saved and abs(offset - self._offset) < CLOCK_STEP_SECONDS:
            return
        document = lease.saved(now, wall)
        files.replace(self._path, json.dumps(document, indent=1).encode() + b"\n")
        self._saved, self._offset = lease, offset

    def close(self) -> None:
        """Let another process use the directory."""
        self._directory.close()

    def _set_aside(self) -> str:
        aside = self._path.with_suffix(".damaged")
        try:
            self._path.replace(aside)
        except OSError as error:
            raise UsageError(f"cannot rename {self._path}: {error.strerror}") from error
        return str(aside)


def path(directory: Path, serial: str) -> Path:
    """Return the file with the lease of a charger."""
    return directory / f"{serial}.json"


def read(file: Path, now: float, wall: float) -> Lease:
    """Return the lease in a file; `wall` is the Unix time at `now`.

    Raises `OSError`, and `ValueError` for a damaged file.
    """
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"must have at most {MAX_BYTES} bytes")
    try:
        return Lease.loaded(json.loads(content), now, wall)
    except RecursionError as error:
        raise ValueError(str(error)) from error
