"""A process that tracks a scripted charger: run it, and kill it at any moment.

`python session_writer.py STORE SECOND [TRANSACTIONS]` polls every 5 s from a second on, without
waiting, and prints the second of the last poll after each transaction.
"""

from __future__ import annotations

import sys
from pathlib import Path
from zoneinfo import ZoneInfo

from clocks import Clocks

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.durable.clock import TrustedClock
from goe_exporter.polling.view import Poll
from goe_exporter.sessions.bookkeeper import Bookkeeper
from goe_exporter.sessions.store import Store

START = 1_800_000_000
BOOTED = START - 1_000_000
PERIOD = 300
PLUGGED = range(50, 250)
CHARGING = range(60, 240)
POLLS_PER_WRITE = 7


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
    keeper = Bookkeeper(Store(path), clock, ZoneInfo("UTC"), lambda: clocks.up)
    for number in range(1, transactions * POLLS_PER_WRITE + 1):
        second = int(clocks.wall) - START
        keeper.take(poll(second))
        if number % POLLS_PER_WRITE == 0:
            keeper.write()
            print(second, flush=True)
        clocks.go(5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int((sys.argv[3:] or [10**6])[0]))
