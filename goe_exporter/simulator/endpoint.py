"""A device with an address: its fault, its API lock, and the requests it received."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Protocol

from .faults import FAULTS
from .responses import Response

MAX_LOG_ENTRIES = 1000
LOCK_WAIT_S = 3.0
SILENT_CLOSE_EVERY = 3


class Network(Protocol):
    """What an endpoint needs of its network: the clock, and the speed of simulated time."""

    speed: float

    def clock(self) -> float:
        """Return the monotonic time in seconds."""

    def remove(self, endpoint: Endpoint) -> None:
        """Remove a device from the network."""


class Client(Protocol):
    """The part of a connection that its endpoint uses."""

    def begin(self) -> None:
        """Process the request, now that this connection holds the API lock."""

    def abort(self) -> None:
        """Close the connection at once."""


class Endpoint:
    """A device with an address.

    These may be set at any time from any thread: `fault` (a name in `FAULTS`, None if healthy),
    `fault_every` (the fault affects every n-th request), `latency` (s, real time for which a
    request holds the API lock), `lock_wait_s` (s, time for which another request waits for it).

    These may be read: `address` ("host:port"), `requests` (number of requests), `max_concurrent`
    (largest number of requests in progress, with those that wait), `log` (the last 1000 requests
    as pairs of the simulator's clock and the request's target).
    """

    def __init__(self, network: Network, address: tuple[str, int]) -> None:
        """Create an endpoint on a network."""
        host, port = address
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.lock = threading.RLock()
        self.fault_every = 1
        self.latency = 0.0
        self.lock_wait_s = LOCK_WAIT_S
        self.requests = 0
        self.max_concurrent = 0
        self.log: deque[tuple[float, str]] = deque(maxlen=MAX_LOG_ENTRIES)
        self.closed = False
        self.connections: set[Client] = set()
        self.holder: Client | None = None
        self.waiting: deque[Client] = deque()
        self.server: asyncio.Server | None = None
        self._network = network
        self._fault: str | None = None
        self._in_flight = 0
        self._responses = 0

    @property
    def fault(self) -> str | None:
        """The simulated fault; ValueError for a name that is not in `FAULTS`."""
        return self._fault

    @fault.setter
    def fault(self, name: str | None) -> None:
        if name is not None and name not in FAULTS:
            message = f"fault: must be one of {', '.join(FAULTS)}, not {name!r}"
            raise ValueError(message)
        self._fault = name

    def close(self) -> None:
        """Remove the device from the network; it refuses connections from now on."""
        self._network.remove(self)

    def request_received(self, target: str) -> str | None:
        """Count a request, and return the fault that affects it."""
        self.requests += 1
        self._in_flight += 1
        self.max_concurrent = max(self.max_concurrent, self._in_flight)
        self.log.append((self._network.clock(), target))
        return self._fault if self.requests % max(1, self.fault_every) == 0 else None

    def respond(self, method: str, target: str) -> Response:
        """Return the device's response to a request now."""
        raise NotImplementedError

    def announces_close(self) -> bool:
        """Return whether the next response announces its close; every third does not."""
        self._responses += 1
        return self._responses % SILENT_CLOSE_EVERY != 0

    def request_ended(self, connection: Client) -> None:
        """End a request, and pass the API lock to the next one if it held it."""
        self._in_flight -= 1
        if self.holder is connection:
            self.holder = self.waiting.popleft() if self.waiting else None
            if self.holder is not None:
                asyncio.get_running_loop().call_soon(self.holder.begin)
        elif connection in self.waiting:
            self.waiting.remove(connection)
