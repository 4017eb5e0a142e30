"""Draws what goes wrong, from a seed, and lets it happen; the ledger says what and when."""

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
from tests.soak.process import Exporter, Metrics, Weight

HOUR = 3600.0
TRUSTED_OFFSETS = tuple(hours * HOUR for hours in (-21, -12, -3, 3, 12, 21))
"""Jumps of less than a day are believed; so far apart that no two points get the same time."""

UNTRUSTED_OFFSETS = (-56 * 365 * 24 * HOUR, -72 * HOUR, 72 * HOUR, 20 * 365 * 24 * HOUR)
"""With these the clock disagrees with the server: points wait until it is right again."""

CHARGER_EVENTS = (*FAULTS, "off", "reboot", "api", "firmware", "error")
LONG, LONG_SECONDS = "off until the spool is full", (20.0, 40.0)
TELL = 5000
SAMPLE_SECONDS = 0.5
SCRAPE_SECONDS = 2.0
LOOK_SECONDS = 10.0
"""How often somebody opens the page and asks for the JSON."""

T = TypeVar("T")

RELOADED = ("goe_config_last_reload_success_timestamp_seconds",)
RELOAD_SECONDS = 20.0

Strand = Iterator[float]
"""Something that goes on beside the rest: yields the seconds until it is to go on."""


class Entry(NamedTuple):
    """A line of the ledger: when (Unix, from and to), to whom, what."""

    begun: float
    ended: float
    whom: str
    what: str


class Conductor:
    """Lets things happen to chargers, server and clock until enough cycles were made.

    A charger is left alone for `pause_seconds` on average between two events.
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
        """Deal out the chargers' events: each is dealt once before one comes again.

        The `guest` is well, and there only where the configuration has it.
        """
        self.ledger: list[Entry] = []
        self.weights: list[Weight] = []
        self._seed = seed
        self._exporter = exporter
        self._stations = stations
        self._guest = guest
        self._bucket = bucket
        self._pause_seconds = pause_seconds
        self.unheard: list[str] = []
        self._cards = _shuffled(CHARGER_EVENTS, random.Random(f"{seed} cards"))
        self._dealt: list[str] = []
        self._cycles = 0

    def run(self, cycles: int, told: Callable[[int], None] = lambda _cycles: None) -> None:
        """Let it all happen; `told` hears now and then how many cycles were made."""
        strands = [self._charger(index, each) for index, each in enumerate(self._stations)]
        strands += [self._server(), self._clock(), self._reloads()]
        strands += [self._scrapes(told), self._looks(), self._weighs()]
        begun = time.monotonic()
        due = [(begun + next(strand), order) for order, strand in enumerate(strands)]
        heapq.heapify(due)
        while self._exporter.running and not (self._cycles >= cycles and self._all_happened()):
            moment, order = heapq.heappop(due)
            time.sleep(max(moment - time.monotonic(), 0))
            heapq.heappush(due, (time.monotonic() + next(strands[order]), order))
        self.calm()

    def _all_happened(self) -> bool:
        return {entry.what for entry in self.ledger} >= set(CHARGER_EVENTS)

    def calm(self) -> None:
        """End whatever is going on."""
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
        """Return how often each thing happened."""
        return Counter(entry.what for entry in self.ledger)

    def _chance(self, whose: str) -> random.Random:
        return random.Random(f"{self._seed} {whose}")

    def _card(self, place: int) -> str:
        """Return the card at a place of the endless deck."""
        while len(self._dealt) <= place:
            self._dealt.append(next(self._cards))
        return self._dealt[place]

    def _charger(self, index: int, station: Station) -> Strand:
        chance = self._chance(station.name)
        for turn in itertools.count():
            yield chance.expovariate(1 / self._pause_seconds)
            what = self._card(turn * len(self._stations) + index)
            begun = time.time()
            happens = getattr(self, f"_{what}", partial(self._fault, what))
            yield from happens(station, chance)
            self.ledger.append(Entry(begun, time.time(), station.name, what))

    def _fault(self, what: str, station: Station, chance: random.Random) -> Strand:
        station.box.fault = what
        yield chance.uniform(0.1, 2.0)
        station.box.fault = None

    def _off(self, station: Station, chance: random.Random) -> Strand:
        station.switch_off()
        yield chance.uniform(0.5, 2.0)
        station.switch_on()

    def _reboot(self, station: Station, _chance: random.Random) -> Strand:
        station.change(Charger.reboot)
        yield 0.0

    def _api(self, station: Station, chance: random.Random) -> Strand:
        station.box.api = chance.choice(("1", "2"))
        yield chance.uniform(0.1, 2.0)
        station.box.api = "both"

    def _firmware(self, station: Station, chance: random.Random) -> Strand:
        firmware = chance.choice(FIRMWARES[station.charger.model])

        def update(charger: Charger) -> None:
            charger.firmware = firmware
            charger.reboot()

        station.change(update)
        yield 0.0

    def _error(self, station: Station, chance: random.Random) -> Strand:
        code = chance.randint(1, 24)
        station.change(lambda charger: charger.inject(code))
        yield chance.uniform(0.1, 2.0)
        station.change(lambda charger: charger.clear_error())

    def _server(self) -> Strand:
        chance = self._chance("server")
        ways = _shuffled((*WAYS, LONG), chance)
        while True:
            yield chance.uniform(0.5, 4.0)
            way, begun = next(ways), time.time()
            self._bucket.fail("off" if way == LONG else way)
            yield chance.uniform(*(LONG_SECONDS if way == LONG else (0.2, 3.0)))
            self._bucket.fail(None)
            self.ledger.append(Entry(begun, time.time(), "server", f"server {way}"))

    def _clock(self) -> Strand:
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

    def _reloads(self) -> Strand:
        chance = self._chance("reloads")
        kinds = _shuffled(("comes", "changes", "goes", "refused", "unchanged"), chance)
        while True:
            yield chance.uniform(1.0, 6.0)
            kind, begun = next(kinds), time.time()
            there = kind in ("comes", "changes")
            chargers = [*self._stations, self._guest] if there else self._stations
            if there:
                self._guest.api = chance.choice(("auto", "2"))
                self._guest.further = {"refresh_interval": f"{chance.randint(50, 200)}ms"}
            wrong = {"nonsense": 1} if kind == "refused" else {}
            self._exporter.configure(chargers, **wrong)
            before = self._exporter.metrics()[RELOADED]
            self._exporter.reload()
            yield from self._heard(kind, before)
            self.ledger.append(Entry(begun, time.time(), "exporter", f"reload: guest {kind}"))

    def _heard(self, kind: str, before: float) -> Strand:
        """Wait until a reload shows in the metrics."""
        end = time.monotonic() + RELOAD_SECONDS
        while time.monotonic() < end:
            yield 0.1
            metrics = self._exporter.metrics()
            if kind == "refused" and not metrics["goe_config_last_reload_successful",]:
                return
            if kind != "refused" and metrics[RELOADED] > before:
                return
        self.unheard.append(kind)

    def _scrapes(self, told: Callable[[int], None]) -> Strand:
        while True:
            yield SCRAPE_SECONDS
            before, self._cycles = self._cycles, polls(self._exporter.metrics())
            if self._cycles // TELL > before // TELL:
                told(self._cycles)

    def _looks(self) -> Strand:
        while True:
            yield LOOK_SECONDS
            for path in ("/", "/api/v1/chargers", "/api/v1/chargers/c00/history?minutes=60"):
                self._exporter.get(path)

    def _weighs(self) -> Strand:
        while True:
            yield SAMPLE_SECONDS
            self.weights.append(self._exporter.weight())


def polls(metrics: Metrics) -> int:
    """Return how many cycles the exporter has made."""
    return int(metrics["goe_exporter_poll_duration_seconds_count",])


def _shuffled(kinds: Sequence[T], chance: random.Random) -> Iterator[T]:
    """Yield all kinds in some order, then again in another, for ever."""
    while True:
        yield from chance.sample(kinds, len(kinds))
