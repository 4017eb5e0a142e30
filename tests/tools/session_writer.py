"""A process that tracks a scripted charger: run it, and kill it at any moment.

`python session_writer.py STORE SECOND [TRANSACTIONS]` polls every 5 s from a second on, without
waiting, and prints the second of the last poll after each transaction. The lines about closed
sessions go to a file beside the store, `.lines`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from clocks import Clocks

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.durable.clock import TrustedClock
from goe_exporter.polling.view import Poll
from goe_exporter.sessions.bookkeeper import Bookkeeper
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.store import Store

START = 1_800_000_000
BOOTED = START - 1_000_000
PERIOD = 300
PLUGGED = range(50, 250)
CHARGING = range(60, 240)
POLLS_PER_WRITE = 7


class LinesFile:
    """Another sink of sessions: a file, on disk when lines are accepted; it refuses every other."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self._refuses = False

    def line(self, session: Session) -> str:
        """Return the session's id and end."""
        return f"{session.id} {session.ended}"

    def take(self, lines: Sequence[str]) -> int:
        """Append the first line, or refuse it."""
        self._refuses = not self._refuses
        if self._refuses:
            return 0
        end = os.fstat(self._descriptor).st_size
        os.pwrite(self._descriptor, f"{lines[0]}\n".encode(), end)
        os.fsync(self._descriptor)
        return 1


def accepted(path: Path) -> list[str]:
    """Return the lines beside a store, a line that was handed over twice as often."""
    file = path.with_suffix(".lines")
    return file.read_text().split("\n")[:-1] if file.exists() else []


def status(second: int) -> dict[str, object]:
    """Return the status: a car comes every five minutes and charges 2 Wh a second."""
    round_, phase = divmod(second, PERIOD)
    charged = 2 * min(max(phase - CHARGING.start, 0), len(CHARGING))
    plugged_in = round_ * PERIOD + PLUGGED.start - (PERIOD if phase < PLUGGED.start else 0)
    return {
        "car": 2 if phase in CHARGING else 3 if phase in PLUGGED else 1,
        "eto": 2 * len(CHARGING) * round_ + charged,
        "wh": float(charged if phase >= PLUGGED.start else 2 * len(CHARGING)),
        "rbt": (START + second - BOOTED) * 1_000,
        "lccfi": (START + plugged_in - BOOTED) * 1_000,
        "trx": round_ % 3,
    }


def poll(second: int) -> Poll:
    """Return a poll of the charger."""
    readings = decode(status(second), 2, boot_time=BOOTED).readings
    snapshot = Snapshot("garage", 2, START + second, 0.0, readings, boot_time=BOOTED)
    return Poll("garage", "7", START + second, snapshot)


def closed_until(second: int) -> int:
    """Return how many sessions have ended by then: 10 s after the car was seen gone."""
    return (second + PERIOD - PLUGGED.stop - 10) // PERIOD


def main(path: Path, first: int, transactions: int) -> None:
    """Track until killed, or for some transactions."""
    clocks = Clocks(wall=START + first, up=5_000.0 + first)
    clocks.synchronised = True
    clock = TrustedClock(
        path.with_suffix(".clock"),
        clocks.boot_id,
        lambda: clocks.wall,
        lambda: clocks.up,
        lambda: True,
    )
    outlet = LinesFile(path.with_suffix(".lines"))
    keeper = Bookkeeper(Store(path, outlet=outlet), clock, ZoneInfo("UTC"), lambda: clocks.up)
    for number in range(1, transactions * POLLS_PER_WRITE + 1):
        second = int(clocks.wall) - START
        keeper.take(poll(second))
        if number % POLLS_PER_WRITE == 0:
            keeper.write()
            print(second, flush=True)
        clocks.go(5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int((sys.argv[3:] or [10**6])[0]))
