"""A process of simulated chargers: `python -m benchmarks.chargers COUNT DEAD [SECONDS]`.

Each charger listens on its own loopback address. Of the dead ones every other refuses connections;
the rest accept the request and never answer. With SECONDS, that much time passes at each request,
so that polls without a pause find the values of a car that charges on, as in operation.
Prints "ready" when all listen, and ends when its standard input is closed.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from goe_exporter.charger.client import Client
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.view import ChargerView
from goe_exporter.simulator import Car, Charger, Simulator
from goe_exporter.transport.loop import Loop

PORT = 18_080
BATTERY_WH = 1e9
"""The car charges to the end of any benchmark."""

DECIMALS = 3
"""Chargers send most values with at most three decimals."""


def address(number: int) -> str:
    """Return the loopback address of charger `number`."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def charging(serial: str = "000000") -> Charger:
    """Return a charging V4."""
    charger = Charger("V4", serial=serial)
    charger.plug(Car(battery_wh=BATTERY_WH))
    charger.advance(60)
    return charger


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[str]:
    """Run `python -m ARGUMENTS…` until its input is closed, and yield the first line it prints."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        line = running.stdout.readline().strip()
        assert line, f"{command} failed"
        yield line


@contextlib.contextmanager
def elsewhere() -> Iterator[str]:
    """Yield the address of a charging V4 in a process of its own, 5 s later at each request."""
    with process("benchmarks.chargers", "1", "0", "5"):
        yield f"{address(0)}:{PORT}"


@contextlib.contextmanager
def one(charger: Charger | None = None) -> Iterator[Poller]:
    """Yield the poller of a charger in this process, a charging V4, with a complete snapshot."""
    with Simulator() as simulator:
        host = simulator.add(charger or charging()).address
        poller = Poller("one", host, Client(host))
        while not poller.complete:
            poller.poll()
        yield poller


class Steady:
    """A poller of `host` on simulated time: each call polls once, five seconds after the last.

    So polls that follow each other at once request the slow rows as often as in operation.
    """

    def __init__(self, host: str) -> None:
        self.now = 0.0
        self._loop = Loop()
        self.poller = Poller("one", host, Client(host), clock=lambda: self.now)
        while not self.poller.complete:
            self()

    def __call__(self) -> None:
        """Poll once, in a loop as in operation."""
        self.now += self.poller.interval_seconds
        ended: list[object] = []
        exchange = self.poller.exchange(self.poller.steps())
        self._loop.run(exchange, lambda *result: ended.append(result))
        while not ended:
            self._loop.turn(math.inf)

    def wait(self) -> None:
        """Poll once, in this thread as `read` does."""
        self.now += self.poller.interval_seconds
        self.poller.poll()


def fleet(view: ChargerView, count: int) -> list[ChargerView]:
    """Return `count` chargers like `view`, each with its own name and numbers."""
    return [_like(view, f"charger-{number}", 1 + number / 7919) for number in range(count)]


def _like(view: ChargerView, name: str, factor: float) -> ChargerView:
    assert view.snapshot is not None
    readings = tuple(
        reading._replace(value=round(reading.value * factor, DECIMALS))
        if isinstance(reading.value, float)
        else reading
        for reading in view.snapshot.readings
    )
    snapshot = view.snapshot._replace(charger=name, readings=readings)
    return replace(view, name=name, snapshot=snapshot)


def main(count: int, dead: int, seconds: int = 0) -> None:
    """Run `count` chargers, the first `dead` of them dead, until standard input ends."""
    steps = itertools.count(0.0, seconds)
    clock = (lambda: next(steps)) if seconds else time.monotonic
    with Simulator(clock=clock) as simulator:
        for number in range(count):
            if number < dead and number % 2:
                continue
            box = simulator.add(charging(f"{number:06}"), address(number), PORT)
            box.fault = "hang" if number < dead else None
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
