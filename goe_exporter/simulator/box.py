"""A charger with an address."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .charger import Charger
from .endpoint import Endpoint, Network
from .responses import Response, respond

APIS = ("both", "1", "2")


class Box(Endpoint):
    """A charger with an address, created by `Simulator.add`.

    In addition to those of `Endpoint`, these may be set at any time from any thread: `api` ("both",
    "1" or "2": the enabled APIs), `charger` (another device at this address).

    Hold `lock` while using `charger`: a request advances it in another thread.
    """

    def __init__(self, network: Network, charger: Charger, address: tuple[str, int]) -> None:
        """Create a box on a network; use `Simulator.add`."""
        super().__init__(network, address)
        self._charger = charger
        self._last_advance = network.clock()
        self._story: Iterator[float] = iter(())
        self._until_event_s = math.inf
        self._api = "both"

    @property
    def charger(self) -> Charger:
        """The device at this address."""
        return self._charger

    @charger.setter
    def charger(self, charger: Charger) -> None:
        with self.lock:
            self.catch_up()
            self._charger = charger

    @property
    def api(self) -> str:
        """The enabled APIs: "both", "1" or "2"; ValueError for anything else."""
        return self._api

    @api.setter
    def api(self, name: str) -> None:
        if name not in APIS:
            message = f"api: must be one of {', '.join(APIS)}, not {name!r}"
            raise ValueError(message)
        self._api = name

    def play(self, story: Iterator[float]) -> None:
        """Play a story on the charger, from its next advance on."""
        with self.lock:
            self._story = story
            self._until_event_s = 0.0

    def catch_up(self) -> None:
        """Advance the charger and its story to the present, as every request does."""
        with self.lock:
            now = self._network.clock()
            seconds = max(0.0, now - self._last_advance) * self._network.speed
            self._last_advance = now
            while self._until_event_s <= seconds:
                self._charger.advance(self._until_event_s)
                seconds -= self._until_event_s
                self._until_event_s = next(self._story, math.inf)
            self._charger.advance(seconds)
            self._until_event_s -= seconds

    def respond(self, method: str, target: str) -> Response:
        """Return the charger's response to a request now."""
        with self.lock:
            self.catch_up()
            return respond(self._charger, self._api, method, target)
