"""The exporter as it is shipped, on a compressed clock: `python -m soak.exporter CLOCK serve …`.

All of the product's intervals and waits are `FACTOR` times shorter, and its wall clock is off by
what the file CLOCK holds (seconds, a double), which may change at any moment. No NTP vouches for
that clock. Nothing else differs from `goe-exporter`.
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
"""For an answer; a twentieth of the real 4 s would measure the machine instead of the exporter."""

SHORTENED = (
    ("config.values", "SHORTEST_INTERVAL_SECONDS"),
    ("polling.scheduler", "FIRST_SECONDS"),
    ("polling.slow_rows", "SLOW_SECONDS"),
    ("polling.poller", "SLOW_SECONDS"),
    ("polling.poller", "MAX_BACK_OFF_SECONDS"),
    ("influx.sender", "FIRST_WAIT_SECONDS"),
    ("influx.sender", "LONGEST_WAIT_SECONDS"),
    ("influx.sender", "LONGEST_RETRY_AFTER_SECONDS"),
    ("influx.sender", "QUIET_SECONDS"),
    ("durable.clock", "KEEP_SECONDS"),
)


class Clock:
    """How far the exporter's wall clock is off, in a file that two processes share."""

    def __init__(self, file: Path) -> None:
        """Open it, or make it with nothing in it."""
        if not file.exists():
            file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8)

    @property
    def offset(self) -> float:
        """How many seconds the clock is ahead."""
        offset: float = struct.unpack("d", self._shared[:])[0]
        return offset

    @offset.setter
    def offset(self, seconds: float) -> None:
        self._shared[:] = struct.pack("d", seconds)

    def now(self) -> float:
        """Return what the clock shows (Unix)."""
        return time.time() + self.offset


def compress(wall: Callable[[], float]) -> None:
    """Shorten the product's durations and give it this clock, in the places that it is wired."""
    import importlib

    modules: dict[str, Any] = {
        name: importlib.import_module(f"goe_exporter.{name}")
        for name in (*dict(SHORTENED), "influx.agent", "service.service", "cli.main")
    }
    for module, name in SHORTENED:
        setattr(modules[module], name, getattr(modules[module], name) / FACTOR)
    agent, service = modules["influx.agent"], modules["service.service"]
    agent.Timekeeper = partial(agent.Timekeeper, wall=wall, synchronised=lambda: False)
    service.Poller = partial(service.Poller, wall=wall)
    service.Client = partial(service.Client, deadline_seconds=DEADLINE_SECONDS)


def main() -> None:
    """Run the command line."""
    clock = Clock(Path(sys.argv.pop(1)))
    compress(clock.now)
    from goe_exporter.cli import main

    main.main()


if __name__ == "__main__":
    main()
