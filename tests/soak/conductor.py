"""Draws the faults from a seed and causes them; the ledger records them with their times."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from goe_exporter.simulator import FAULTS, Charger
from tests.soak.bucket import WAYS, Bucket
from tests.soak.chargers import FIRMWARES, Station
from tests.soak.process import Exporter, Metrics, Usage

HOUR = 3600.0
TRUSTED_OFFSETS = tuple(hours * HOUR for hours in (-21, -12, -3, 3, 12, 21))
"""Jumps of less than a day are trusted; so far apart that no two points get the same time."""

UNTRUSTED_OFFSETS = (-56 * 365 * 24 * HOUR, -72 * HOUR, 72 * HOUR, 20 * 365 * 24 * HOUR)
"""With these the clock disagrees with the server, and points wait until it is right again."""

CHARGER_EVENTS = (*FAULTS, "off", "reboot", "api", "firmware", "error")
LONG, LONG_SECONDS = "off until the spool is full", (20.0, 40.0)
PROGRESS_POLLS = 5000
SAMPLE_SECONDS = 0.5
SCRAPE_SECONDS = 2.0
VISIT_SECONDS = 10.0
"""Interval between requests of the page and the JSON API."""

T = TypeVar("T")

RELOADED = ("goe_config_last_reload_success_timestamp_seconds",)
RELOAD_SECONDS = 20.0

Task = Iterator[float]
"""A concurrent task: yields the seconds until it continues."""


class Entry(NamedTuple):
    """An entry of the ledger: begin and end (Unix time), target, and event."""

    begun: float
    ended: float
    target: str
    what: str


class Conductor:
    """Causes events at chargers, server and clock until there were enough polls.

    Two events of a charger are `pause_seconds` apart on average.
    """

    def __init__(
        self,
        seed: int,
        exporter: Exporter,
        stations: Sequence[Station],
        guest: Station,
        bucket: Bucket,
        pause_seconds: float,
    ) -> None:
        """Shuffle the chargers' events; each occurs once before one occurs again.

        The `guest` has no faults, and is polled only while the configuration contains it.
        """
        self.ledger: list[Entry] = []
        self.usages: list[Usage] = []
        self._seed = seed
        self._exporter = exporter
        self._stations = stations
        self._guest = guest
        self._bucket = bucket
        self._pause_seconds = pause_seconds
        self.not_applied: list[str] = []
        self._cards = _shuffled(CHARGER_EVENTS, random.Random(f"{seed} cards"))
        self._dealt: list[str] = []
        self._polls = 0

    def run(self, number: int, on_progress: Callable[[int], None] = lambda _polls: None) -> None:
        """Cause events; `on_progress` receives the number of polls now and then."""
        tasks = [self._charger(index, each) for index, each in enumerate(self._stations)]
        tasks += [self._server(), self._clock(), self._reloads()]
        tasks += [self._scrapes(on_progress), self._visits(), self._samples()]
        begun = time.monotonic()
        due = [(begun + next(task), order) for order, task in enumerate(tasks)]
        heapq.heapify(due)
        while self._exporter.running and not (self._polls >= number and self._all_happened()):
            moment, order = heapq.heappop(due)
            time.sleep(max(moment - time.monotonic(), 0))
            heapq.heappush(due, (time.monotonic() + next(tasks[order]), order))
        self.calm()

    def _all_happened(self) -> bool:
        return {entry.what for entry in self.ledger} >= set(CHARGER_EVENTS)

    def calm(self) -> None:
        """End all faults."""
        for station in self._stations:
            if station.off:
                station.switch_on()
            station.box.fault, station.box.api = None, "both"
            station.change(lambda charger: charger.clear_error())
        self._bucket.fail(None)
        self._exporter.clock.offset = 0.0
        self._exporter.configure(self._stations)
        self._exporter.reload()

    def counted(self) -> Counter[str]:
        """Return the number of events by kind."""
        return Counter(entry.what for entry in self.ledger)

    def _chance(self, whose: str) -> random.Random:
        return random.Random(f"{self._seed} {whose}")

    def _card(self, place: int) -> str:
        """Return the card at a place of the endless deck."""
        while len(self._dealt) <= place:
            self._dealt.append(next(self._cards))
        return self._dealt[place]

    def _charger(self, index: int, station: Station) -> Task:
        chance = self._chance(station.name)
        for turn in itertools.count():
            yield chance.expovariate(1 / self._pause_seconds)
            what = self._card(turn * len(self._stations) + index)
            begun = time.time()
            happens = getattr(self, f"_{what}", partial(self._fault, what))
            yield from happens(station, chance)
            self.ledger.append(Entry(begun, time.time(), station.name, what))

    def _fault(self, what: str, station: Station, chance: random.Random) -> Task:
        station.box.fault = what
        yield chance.uniform(0.1, 2.0)
        station.box.fault = None

    def _off(self, station: Station, chance: random.Random) -> Task:
        station.switch_off()
        yield chance.uniform(0.5, 2.0)
        station.switch_on()

    def _reboot(self, station: Station, _chance: random.Random) -> Task:
        station.change(Charger.reboot)
        yield 0.0

    def _api(self, station: Station, chance: random.Random) -> Task:
        station.box.api = chance.choice(("1", "2"))
        yield chance.uniform(0.1, 2.0)
        station.box.api = "both"

    def _firmware(self, station: Station, chance: random.Random) -> Task:
        firmware = chance.choice(FIRMWARES[station.charger.model])

        def update(charger: Charger) -> None:
            charger.firmware = firmware
            charger.reboot()

        station.change(update)
        yield 0.0

    def _error(self, station: Station, chance: random.Random) -> Task:
        code = chance.randint(1, 24)
        station.change(lambda charger: charger.inject(code))
        yield chance.uniform(0.1, 2.0)
        station.change(lambda charger: charger.clear_error())

    def _server(self) -> Task:
        chance = self._chance("server")
        ways = _shuffled((*WAYS, LONG), chance)
        while True:
            yield chance.uniform(0.5, 4.0)
            way, begun = next(ways), time.time()
            self._bucket.fail("off" if way == LONG else way)
            yield chance.uniform(*(LONG_SECONDS if way == LONG else (0.2, 3.0)))
            self._bucket.fail(None)
            self.ledger.append(Entry(begun, time.time(), "server", f"server {way}"))

    def _clock(self) -> Task:
        chance = self._chance("clock")
        offsets = _shuffled((*TRUSTED_OFFSETS, *UNTRUSTED_OFFSETS), chance)
        while True:
            yield chance.uniform(1.0, 6.0)
            offset, begun = next(offsets), time.time()
            self._exporter.clock.offset = offset
            yield chance.uniform(0.2, 3.0)
            self._exporter.clock.offset = 0.0
            kind = "trusted" if offset in TRUSTED_OFFSETS else "untrusted"
            self.ledger.append(Entry(begun, time.time(), "clock", f"clock jumps, {kind}"))

    def _reloads(self) -> Task:
        chance = self._chance("reloads")
        kinds = _shuffled(("added", "changed", "removed", "rejected", "unchanged"), chance)
        while True:
            yield chance.uniform(1.0, 6.0)
            kind, begun = next(kinds), time.time()
            there = kind in ("added", "changed")
            chargers = [*self._stations, self._guest] if there else self._stations
            if there:
                self._guest.api = chance.choice(("auto", "2"))
                self._guest.further = {"refresh_interval": f"{chance.randint(50, 200)}ms"}
            wrong = {"nonsense": 1} if kind == "rejected" else {}
            self._exporter.configure(chargers, **wrong)
            before = self._exporter.metrics()[RELOADED]
            self._exporter.reload()
            yield from self._applied(kind, before)
            self.ledger.append(Entry(begun, time.time(), "exporter", f"reload: guest {kind}"))

    def _applied(self, kind: str, before: float) -> Task:
        """Wait until the metrics show a reload."""
        end = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < end:
            yield 0.1
            metrics = self._exporter.metrics()
            if kind == "rejected" and not metrics["goe_config_last_reload_successful",]:
                return
            if kind != "rejected" and metrics[RELOADED] > before:
                return
        self.not_applied.append(kind)

    def _scrapes(self, on_progress: Callable[[int], None]) -> Task:
        while True:
            yield SCRAPE_SECONDS
            before, self._polls = self._polls, polls(self._exporter.metrics())
            if self._polls // PROGRESS_POLLS > before // PROGRESS_POLLS:
                on_progress(self._polls)

    def _visits(self) -> Task:
        while True:
            yield VISIT_SECONDS
            for path in ("/", "/api/v1/chargers", "/api/v1/chargers/c00/history?minutes=60"):
                self._exporter.get(path)

    def _samples(self) -> Task:
        while True:
            yield SAMPLE_SECONDS
            self.usages.append(self._exporter.usage())


def polls(metrics: Metrics) -> int:
    """Return the number of polls of the exporter."""
    return int(metrics["goe_exporter_poll_duration_seconds_count",])


def _shuffled(kinds: Sequence[T], chance: random.Random) -> Iterator[T]:
    """Yield all kinds in random order, again and again."""
    while True:
        yield from chance.sample(kinds, len(kinds))
