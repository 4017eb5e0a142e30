"""A charger with an address: its faults, its API lock, and the requests that came."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from .charger import Charger
from .faults import FAULTS
from .speech import Answer, answer

LOG_LENGTH = 1000
LOCK_WAIT_S = 3.0
MUTE_ABOUT_CLOSING = 3
APIS = ("both", "1", "2")


class Network(Protocol):
    """What a box needs of the network it hangs on: its clock, and how fast time passes there."""

    speed: float

    def clock(self) -> float:
        """Return the present moment in seconds."""

    def remove(self, box: Box) -> None:
        """Take a charger off the network."""


class Client(Protocol):
    """A connection, as its box sees it."""

    def begin(self) -> None:
        """Go to work on the request, now that this connection holds the API lock."""

    def abort(self) -> None:
        """Drop the client at once."""


class Box:
    """A charger with an address. Made by `Simulator.add`.

    May be changed at any time from any thread: `fault` (a name of `FAULTS` or None = healthy),
    `fault_every` (every how many requests the fault strikes), `api` ("both", "1", "2": what is
    switched on in the app), `latency` (s, real time, spent holding the API lock), `lock_wait_s`
    (s, how long a second request waits for that lock), `charger` (to swap the device).

    May be read: `address` ("host:port"), `requests` (how many came), `most_at_once` (the most that
    were ever under way together, the waiting ones included), `log` (the last 1000 requests as
    pairs of the simulator's clock and the request's target).

    Hold `lock` while touching `charger`: a request advances it in another thread.
    """

    def __init__(self, network: Network, charger: Charger, address: tuple[str, int]) -> None:
        """Belong to this simulator; use `Simulator.add`."""
        host, port = address
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.lock = threading.RLock()
        self.fault_every = 1
        self.latency = 0.0
        self.lock_wait_s = LOCK_WAIT_S
        self.requests = 0
        self.most_at_once = 0
        self.log: deque[tuple[float, str]] = deque(maxlen=LOG_LENGTH)
        self.closed = False
        self.connections: set[Client] = set()
        self.holder: Client | None = None
        self.waiting: deque[Client] = deque()
        self.server: asyncio.Server | None = None
        self._network = network
        self._charger = charger
        self._seen = network.clock()
        self._story: Iterator[float] = iter(())
        self._until_event_s = math.inf
        self._fault: str | None = None
        self._api = "both"
        self._in_flight = 0
        self._answers = 0

    @property
    def charger(self) -> Charger:
        """The device at this address; setting it swaps the device."""
        return self._charger

    @charger.setter
    def charger(self, charger: Charger) -> None:
        with self.lock:
            self.catch_up()
            self._charger = charger

    @property
    def fault(self) -> str | None:
        """What goes wrong at present; ValueError for a name that `FAULTS` lacks."""
        return self._fault

    @fault.setter
    def fault(self, name: str | None) -> None:
        if name is not None and name not in FAULTS:
            message = f"fault: one of {', '.join(FAULTS)}, not {name!r}"
            raise ValueError(message)
        self._fault = name

    @property
    def api(self) -> str:
        """The APIs that are switched on: "both", "1" or "2"; ValueError for anything else."""
        return self._api

    @api.setter
    def api(self, name: str) -> None:
        if name not in APIS:
            message = f"api: one of {', '.join(APIS)}, not {name!r}"
            raise ValueError(message)
        self._api = name

    def close(self) -> None:
        """Take the charger off the network: connections are refused from now on."""
        self._network.remove(self)

    def play(self, story: Iterator[float]) -> None:
        """Let a story happen to the charger, beginning with the next moment that passes."""
        with self.lock:
            self._story = story
            self._until_event_s = 0.0

    def catch_up(self) -> None:
        """Advance the charger and its story to the present; every request does this."""
        with self.lock:
            now = self._network.clock()
            seconds = max(0.0, now - self._seen) * self._network.speed
            self._seen = now
            while self._until_event_s <= seconds:
                self._charger.advance(self._until_event_s)
                seconds -= self._until_event_s
                self._until_event_s = next(self._story, math.inf)
            self._charger.advance(seconds)
            self._until_event_s -= seconds

    def arrived(self, target: str) -> str | None:
        """Book a request that has come in and return the fault that strikes it."""
        self.requests += 1
        self._in_flight += 1
        self.most_at_once = max(self.most_at_once, self._in_flight)
        self.log.append((self._network.clock(), target))
        return self._fault if self.requests % max(1, self.fault_every) == 0 else None

    def ask(self, method: str, target: str) -> Answer:
        """Return what the charger says to a request at this moment."""
        with self.lock:
            self.catch_up()
            return answer(self._charger, self._api, method, target)

    def says_close(self) -> bool:
        """Tell whether the next answer announces that it closes: every third does not."""
        self._answers += 1
        return self._answers % MUTE_ABOUT_CLOSING != 0

    def left(self, connection: Client) -> None:
        """Book a request out, and hand the API lock to the next one if it had it."""
        self._in_flight -= 1
        if self.holder is connection:
            self.holder = self.waiting.popleft() if self.waiting else None
            if self.holder is not None:
                asyncio.get_running_loop().call_soon(self.holder.begin)
        elif connection in self.waiting:
            self.waiting.remove(connection)
