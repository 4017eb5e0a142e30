"""A meter with an address: the values of a house in the shape of several devices."""

from __future__ import annotations

import time
from collections.abc import Callable

from .box import Box
from .endpoint import Endpoint, Network
from .house import House
from .meter_api import respond
from .responses import Response, plain_text

UNREACHABLE = "reset"


class MeterBox(Endpoint):
    """The meter of a house with an address, created by `Simulator.add_meter`.

    Time passes in the house as it does for the charger of `box`, which plays `House.live`.
    `wall_clock` returns the Unix time of the values.
    """

    wall_clock: Callable[[], float] = staticmethod(time.time)

    def __init__(self, network: Network, house: House, box: Box, address: tuple[str, int]) -> None:
        """Create a meter on a network; use `Simulator.add_meter`."""
        super().__init__(network, address)
        self.house = house
        self._box = box

    def request_received(self, target: str) -> str | None:
        """Count a request, and return the fault that affects it; a dead device never answers."""
        fault = super().request_received(target)
        return UNREACHABLE if fault is None and self._response(target) is None else fault

    def respond(self, method: str, target: str) -> Response:
        """Return the meter's response to a request now."""
        if method != "GET":
            return plain_text(405, "Method not allowed")
        return self._response(target) or plain_text(503, "Service Unavailable")

    def _response(self, target: str) -> Response | None:
        with self._box.lock:
            self._box.catch_up()
            house = self.house
            return respond(target, house.meter.shown, house.time_s, self.wall_clock())
