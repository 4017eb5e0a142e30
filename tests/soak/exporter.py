"""The shipped exporter on a compressed clock: `python -m tests.soak.exporter CLOCK serve …`.

All intervals and waits are `FACTOR` times shorter, and its wall clock is ahead by the seconds (a
double) in the file CLOCK, which may change at any time. The clock counts as not synchronised by
NTP. Nothing else differs from `goe-exporter`.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

FACTOR = 20.0
DEADLINE_SECONDS = 2.0
"""Deadline of a request; a twentieth of the real 4 s would measure the machine."""

SHORTENED = (
    ("config.values", "MIN_INTERVAL_SECONDS"),
    ("polling.scheduler", "FIRST_SECONDS"),
    ("polling.slow_rows", "SLOW_SECONDS"),
    ("polling.poller", "MAX_SLOW_SECONDS"),
    ("polling.poller", "MAX_BACK_OFF_SECONDS"),
    ("influx.sender", "MIN_WAIT_SECONDS"),
    ("influx.sender", "MAX_WAIT_SECONDS"),
    ("influx.sender", "MAX_RETRY_AFTER_SECONDS"),
    ("influx.sender", "QUIET_SECONDS"),
    ("influx.parked", "RETRY_SECONDS"),
    ("durable.clock", "SAVE_SECONDS"),
)


class Clock:
    """The offset of the exporter's wall clock, in a file that two processes share."""

    def __init__(self, file: Path) -> None:
        """Open the file, or create it with an offset of 0."""
        if not file.exists():
            file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8)

    @property
    def offset(self) -> float:
        """Seconds by which the clock is ahead."""
        offset: float = struct.unpack("d", self._shared[:])[0]
        return offset

    @offset.setter
    def offset(self, seconds: float) -> None:
        self._shared[:] = struct.pack("d", seconds)

    def now(self) -> float:
        """Return the Unix time of the clock."""
        return time.time() + self.offset


def compress(wall: Callable[[], float]) -> None:
    """Shorten the exporter's durations, and replace its clock."""
    import importlib

    modules: dict[str, Any] = {
        name: importlib.import_module(f"goe_exporter.{name}")
        for name in (*dict(SHORTENED), "influx.store", "service.reload", "charger.connection")
    }
    for module, name in SHORTENED:
        setattr(modules[module], name, getattr(modules[module], name) / FACTOR)
    store, reload = modules["influx.store"], modules["service.reload"]
    store.TrustedClock = partial(store.TrustedClock, wall=wall, synchronised=lambda: False)
    reload.Poller = partial(reload.Poller, wall=wall)
    connection = modules["charger.connection"]
    connection.Client = partial(connection.Client, deadline_seconds=DEADLINE_SECONDS)


def main() -> None:
    """Run the command line."""
    clock = Clock(Path(sys.argv.pop(1)))
    compress(clock.now)
    from goe_exporter.cli import main

    main.main()


if __name__ == "__main__":
    main()
