"""`python -m tests.soak --polls N --seed S`: run, compare the counts, exit 1 if they differ."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from goe_exporter.simulator import Simulator
from goe_exporter.spool import segments
from tests.soak.books import Calm, Check, Frozen, checks, flat, tenths
from tests.soak.bucket import Bucket
from tests.soak.chargers import GUEST, Station
from tests.soak.conductor import Conductor
from tests.soak.exporter import DEADLINE_SECONDS, FACTOR
from tests.soak.process import Exporter, Metrics

CHARGERS = 20
CALM_SECONDS = 120.0
SLOW_SECONDS = 60.0 / FACTOR
ATTEMPTS = 30
SWITCH_SECONDS = 0.0005
"""Chargers and server share this process, and must not wait long for each other."""


class Soak:
    """A run from start to end, in its own directory and on its own loopback addresses."""

    def __init__(self, folder: Path, simulator: Simulator, seed: int, pause: float) -> None:
        """Create chargers, server and exporter."""
        network = f"127.{os.getpid() >> 8 & 127 | 1}.{os.getpid() & 255}"
        self.bucket = Bucket(f"{network}.254")
        self.stations = [
            Station(simulator, number, f"{network}.{number + 1}") for number in range(CHARGERS)
        ]
        # A V4, for which both kinds of settings in a reload are valid.
        self.guest = Station(simulator, CHARGERS + 2, f"{network}.{CHARGERS + 1}", GUEST)
        self.exporter = Exporter(folder, f"{network}.253:18441", self.bucket.url)
        self.conductor = Conductor(
            seed, self.exporter, self.stations, self.guest, self.bucket, pause
        )

    def run(self, polls: int, told: Callable[[int], None]) -> list[Check]:
        """Run, and return the results of the comparison."""
        self.exporter.configure(self.stations)
        self.exporter.start()
        try:
            _wait_for(self._all_up, "the first polls")
            self.conductor.run(polls, told)
            calm = self._calm()
            frozen = self._frozen()
        finally:
            status = self.exporter.stop(30.0)
        found = [*checks(calm, frozen)]
        found += flat(tenths(self.conductor.usages))
        return found + self._ended(status, frozen)

    def _ended(self, status: int | None, frozen: Frozen) -> list[Check]:
        """Compare the polls since then with the points on the server or on disk."""
        log = self.exporter.log.read_text()
        tracebacks = log.count("Traceback")
        polls = sum(len(each.polls()) - len(frozen.polls[each.name]) for each in self.stations)
        there, before = (sum(map(len, each.points.values())) for each in (self.bucket, frozen))
        waiting = segments.survey(self.exporter.spool).pending
        seen = f"{polls} polls; {there - before} points more on the server, {waiting} on disk"
        return [
            Check("it stops on SIGTERM", status == 0, f"exit status {status}"),
            Check("nothing is lost at the end", polls == there - before + waiting, seen),
            _check_reloads(self.conductor.not_applied, log.count("component stalled")),
            Check("no traceback is logged", not tracebacks, f"{len(log.splitlines())} lines"),
        ]

    def _all_up(self) -> bool:
        try:
            metrics = self.exporter.metrics()
        except OSError:
            return False
        return all(metrics.get(("goe_up", each.name)) == 1 for each in self.stations)

    def _calm(self) -> Calm:
        """End all faults and charging, wait until the metrics show it, and return them."""
        self.bucket.rejects = False
        for station in self.stations:
            station.change(lambda charger: charger.unplug())
        time.sleep(2 * SLOW_SECONDS)
        _wait_for(self._delivered, "the spool to be empty")
        energy_wh = {each.name: each.last_answered().energy_wh for each in self.stations}
        expected = {
            (f"goe_{what}_total", each)
            for what in ("energy_joules", "reboots")
            for each in energy_wh
        }
        metrics: Metrics = {}

        def all_shown() -> bool:
            # A reading is shown for three intervals, which is short on a busy machine.
            metrics.update(self.exporter.metrics())
            return expected <= metrics.keys()

        _wait_for(all_shown, "all chargers to be shown")
        reboots = {each.name: each.charger.reboots for each in self.stations}
        return Calm(energy_wh, reboots, metrics)

    def _delivered(self) -> bool:
        return self.exporter.metrics()["goe_influx_spooled_points",] < CHARGERS

    def _frozen(self) -> Frozen:
        """Scrape while each charger has one poll in progress that it does not answer."""
        for _ in range(ATTEMPTS):
            begun = time.time()
            for station in self.stations:
                station.box.fault = "hang"
            while time.time() - begun < DEADLINE_SECONDS:
                if frozen := self._standing_still():
                    return frozen
            for station in self.stations:
                station.box.fault = None
            time.sleep(SLOW_SECONDS)
        raise SystemExit("the exporter never stood still")

    def _standing_still(self) -> Frozen | None:
        before = [len(each.book) for each in self.stations]
        metrics = self.exporter.metrics()
        points = {name: list(each) for name, each in self.bucket.points.items()}
        tally = self.bucket.tally()
        letters = segments.survey(self.exporter.spool / "dead").pending
        last = [each.book[-1] for each in self.stations]
        fresh = time.time() - min(each.time for each in last) < DEADLINE_SECONDS
        still = before == [len(each.book) for each in self.stations]
        empty = metrics["goe_influx_spooled_points",] == 0
        if not (still and fresh and empty and all(each.fault == "hang" for each in last)):
            return None
        upto = zip(self.stations, before, strict=True)
        polls = {each.name: each.polls(end)[:-1] for each, end in upto}
        return Frozen(polls, self.guest.polls(), points, tally, letters, metrics)


def _check_reloads(not_applied: list[str], stalls: int) -> Check:
    kept = not not_applied and not stalls
    seen = f"{not_applied} not applied, {stalls} stalled"
    return Check("every reload was applied and nothing stalled", kept, seen)


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + CALM_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"timed out waiting for {what}")
        time.sleep(0.1)


def main() -> int:
    """Run the soak test with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--polls", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two faults")
    parser.add_argument("--folder", type=Path, help="keep spool and log in this directory")
    given = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    with tempfile.TemporaryDirectory() as temporary, Simulator(speed=FACTOR) as simulator:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder, simulator, given.seed, given.pause)
        begun = time.monotonic()
        found = soak.run(given.polls, _told)
        print(f"\n{time.monotonic() - begun:.0f} s, seed {given.seed}\n")
    print("| event | count |\n|---|---|")
    for what, times in sorted(soak.conductor.counted().items()):
        print(f"| {what} | {times} |")
    print("\n| tenth | memory | descriptors | threads |\n|---|---|---|---|")
    for number, (memory_kb, *rest) in enumerate(tenths(soak.conductor.usages), 1):
        print(f"| {number} | {memory_kb / 1024:.1f} MB | {rest[0]} | {rest[1]} |")
    print("\n| promise | kept | seen |\n|---|---|---|")
    for check in found:
        print(f"| {check.promise} | {'yes' if check.kept else 'NO'} | {check.seen} |")
    return 0 if all(check.kept for check in found) else 1


def _told(polls: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} {polls} polls", file=sys.stderr, flush=True)


sys.exit(main())
