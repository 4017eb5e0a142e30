"""The network of simulated chargers: one event loop, in one thread, for any number of them."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self, TypeVar

from .connection import Connection
from .faults import FAULTS
from .speech import Answer, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType

    from .charger import Charger

LOG_LENGTH = 1000
LOCK_WAIT_S = 3.0
BACKLOG = 100
MUTE_ABOUT_CLOSING = 3
APIS = ("both", "1", "2")

T = TypeVar("T")


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

    def __init__(self, simulator: Simulator, charger: Charger, address: tuple[str, int]) -> None:
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
        self.connections: set[Connection] = set()
        self.holder: Connection | None = None
        self.waiting: deque[Connection] = deque()
        self.server: asyncio.Server | None = None
        self._simulator = simulator
        self._charger = charger
        self._seen = simulator.clock()
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
        self._simulator.remove(self)

    def play(self, story: Iterator[float]) -> None:
        """Let a story happen to the charger, beginning with the next moment that passes."""
        with self.lock:
            self._story = story
            self._until_event_s = 0.0

    def catch_up(self) -> None:
        """Advance the charger and its story to the present; every request does this."""
        with self.lock:
            now = self._simulator.clock()
            seconds = max(0.0, now - self._seen) * self._simulator.speed
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
        self.log.append((self._simulator.clock(), target))
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

    def left(self, connection: Connection) -> None:
        """Book a request out, and hand the API lock to the next one if it had it."""
        self._in_flight -= 1
        if self.holder is connection:
            self.holder = self.waiting.popleft() if self.waiting else None
            if self.holder is not None:
                asyncio.get_running_loop().call_soon(self.holder.begin)
        elif connection in self.waiting:
            self.waiting.remove(connection)


class Simulator:
    """Hosts chargers on local addresses; a context manager.

    `speed` is simulated seconds per second of `clock`, which is monotonic time unless a test
    brings its own. A charger's time passes when somebody asks it. `box` makes the boxes.
    """

    box: Callable[[Simulator, Charger, tuple[str, int]], Box] = Box

    def __init__(self, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Be ready to be entered; nothing runs yet."""
        self.speed = speed
        self.clock = clock
        self.boxes: list[Box] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        loop = asyncio.new_event_loop()
        self._loop = loop
        self._thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take every charger off the network and stop the thread."""
        for box in list(self.boxes):
            self.remove(box)
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            self._loop = self._thread = None
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def add(
        self,
        charger: Charger,
        host: str = "127.0.0.1",
        port: int = 0,
        api: str = "both",
        latency: float = 0.0,
        story: Iterator[float] | None = None,
    ) -> Box:
        """Put a charger on the network and return its box, which answers from now on.

        `port` 0 takes a free one. `story` yields the simulated seconds between the events that it
        causes. Raises OSError when the address cannot be had, RuntimeError outside the context.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        try:
            box = self.box(self, charger, listener.getsockname()[:2])
            box.api, box.latency = api, latency
            if story is not None:
                box.play(story)
            self._run(_serve(box, listener))
        except BaseException:
            listener.close()
            raise
        self.boxes.append(box)
        return box

    def remove(self, box: Box) -> None:
        """Take a charger off the network, its open connections too; twice does no harm."""
        if box in self.boxes:
            self.boxes.remove(box)
            self._run(_shut(box))

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run something in the loop's thread and return its result."""
        if self._loop is None:
            coroutine.close()
            message = "the simulator is not running: use it in a with statement"
            raise RuntimeError(message)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _serve(box: Box, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    box.server = await loop.create_server(lambda: Connection(box), sock=listener, backlog=BACKLOG)


async def _shut(box: Box) -> None:
    box.closed = True
    if box.server is not None:
        box.server.close()
    for connection in list(box.connections):
        connection.abort()
    # A connection that was just accepted needs its turns to find the box closed.
    for _ in range(3):
        await asyncio.sleep(0)
