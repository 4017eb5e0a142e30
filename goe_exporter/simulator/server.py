"""The network of simulated chargers: one event loop in one thread for all of them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from .box import Box
from .charger import Charger
from .connection import Connection
from .controller import Controller, ControllerBox
from .endpoint import Endpoint
from .house import House
from .meter_box import MeterBox

BACKLOG = 100

T = TypeVar("T")
E = TypeVar("E", bound=Endpoint)


class Simulator:
    """Hosts chargers on local addresses; a context manager.

    `speed` is simulated seconds per second of the monotonic `clock`. A charger's time passes when
    it receives a request. `box` is the class of the boxes.
    """

    box: Callable[[Simulator, Charger, tuple[str, int]], Box] = Box

    def __init__(self, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a network that does not run yet."""
        self.speed = speed
        self.clock = clock
        self.boxes: list[Endpoint] = []
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
        """Remove all devices and stop the thread."""
        for box in self.boxes:
            # First of all: chargers in fast motion may take minutes to respond to what waits.
            box.closed = True
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
        """Add a charger to the network and return its box, which responds from now on.

        `port` 0 picks a free one. `story` yields the simulated seconds between its events. Raises
        OSError if the address cannot be used, RuntimeError outside the context.
        """

        def create(address: tuple[str, int]) -> Box:
            box = self.box(self, charger, address)
            box.api, box.latency = api, latency
            if story is not None:
                box.play(story)
            return box

        return self._listen(create, host, port)

    def add_meter(self, house: House, box: Box, host: str = "127.0.0.1", port: int = 0) -> MeterBox:
        """Add the meter of a house, whose charger `box` plays `House.live`, to the network."""
        return self._listen(partial(MeterBox, self, house, box), host, port)

    def add_controller(
        self, controller: Controller, box: Box | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> ControllerBox:
        """Add the Controller of a house, whose charger `box` plays `House.live`, to the network.

        Without a `box`, the charger of the house is not on the network.
        """
        if box is None:
            charger = Charger()
            box = self.box(self, charger, ("", 0))
            box.play(controller.house.live(charger))
        return self._listen(partial(ControllerBox, self, controller, box), host, port)

    def _listen(self, create: Callable[[tuple[str, int]], E], host: str, port: int) -> E:
        """Create an endpoint for a local address, and serve it."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        try:
            box = create(listener.getsockname()[:2])
            self._run(_serve(box, listener))
        except BaseException:
            listener.close()
            raise
        self.boxes.append(box)
        return box

    def remove(self, box: Endpoint) -> None:
        """Remove a device from the network and close its connections, if it is there."""
        if box in self.boxes:
            self.boxes.remove(box)
            self._run(_shut(box))

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the loop's thread and return its result."""
        if self._loop is None:
            coroutine.close()
            message = "the simulator is not running: use it in a with statement"
            raise RuntimeError(message)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _serve(box: Endpoint, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    box.server = await loop.create_server(lambda: Connection(box), sock=listener, backlog=BACKLOG)


async def _shut(box: Endpoint) -> None:
    box.closed = True
    if box.server is not None:
        box.server.close()
    for connection in list(box.connections):
        connection.abort()
    # Connections accepted just now need a few iterations to notice that the box is closed.
    for _ in range(3):
        await asyncio.sleep(0)
