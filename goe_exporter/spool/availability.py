"""Whether the directory of a spool can be used, and when to try it again after its disk failed."""

from __future__ import annotations

import time
from pathlib import Path

from goe_exporter.logs import logger

RETRY_SECONDS = 60.0
"""Time before a disk that failed is tried again."""

_log = logger(__name__)


class Availability:
    """The state of `directory`: `reason` is why it cannot be used, "" if it can."""

    def __init__(self, directory: Path) -> None:
        self.reason = ""
        self._directory = directory
        self._retry_at = 0.0

    @property
    def may_try(self) -> bool:
        """Whether the directory may be opened now."""
        return time.monotonic() >= self._retry_at

    def retry_now(self) -> None:
        """Allow the directory to be opened, whenever its disk failed."""
        self._retry_at = 0.0

    def fail(self, error: OSError) -> None:
        """Note that the disk failed; it is tried again later."""
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self.end(f"cannot use the spool {self._directory}: {error.strerror}")

    def end(self, reason: str) -> None:
        """Note that the directory cannot be used; logged once."""
        if not self.reason:
            _log.warning("spool unavailable, points wait in memory", reason=reason)
        self.reason = reason

    def begin(self, points: int) -> None:
        """Note that the directory can be used, with the number of points that waited in memory."""
        if self.reason:
            _log.info("spool available again", directory=str(self._directory), points=points)
        self.reason = ""
