"""CPU of the control loop: a step every 10 s, against the two polls in the same time.

`python -m benchmarks.control` is the process of the simulated charger and the meter of its house.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import chargers
from benchmarks.chargers import Steady
from benchmarks.poll import side_by_side
from goe_exporter.charger.client import Client
from goe_exporter.control.energy import Energy
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.control.loop import Control, Place
from goe_exporter.control.rules import ControlRule
from goe_exporter.simulator import House, Simulator
from goe_exporter.surplus.config import GridConfig
from goe_exporter.surplus.json_source import JsonSource
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.source import Reading, Source

POLLS = 2


class Silent(Client):
    """A client that sends nothing: writes are requests, which are rare and counted elsewhere."""

    def write(self, *_write: object, **_options: object) -> None:
        """Do nothing."""


class Timed:
    """A source whose values have the time of the poller, which is simulated.

    Without an inner source, reading it costs nothing.
    """

    name = "grid"

    def __init__(self, poll: Steady, inner: Source | None) -> None:
        self._poll, self._inner = poll, inner

    def read(self, _until: float) -> Reading:
        """Return what the inner source returns, or a surplus of 2 kW, as of now."""
        value = -2000.0
        if self._inner is not None:
            value = self._inner.read(time.monotonic() + 4).value
        return Reading(value, self._poll.now, age_known=True)


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with (
        chargers.process("benchmarks.control") as addresses,
        tempfile.TemporaryDirectory() as folder,
    ):
        charger, meter = addresses.split()
        query = GridConfig(prometheus=f"http://{meter}", query="house_grid_power_watts")
        path = GridConfig(json=f"http://{meter}/status", path="total_power", time_path="unixtime")
        sources: dict[str, Source | None] = {
            "two polls, and a step without its source": None,
            "two polls, and a step that reads JSON": JsonSource("grid", path),
            "two polls, and a step that reads Prometheus": PrometheusSource("grid", query),
        }
        poll = Steady(charger)
        work: dict[str, Callable[[], object]] = {"two polls": _polls(poll)}
        for number, (name, source) in enumerate(sources.items()):
            other = Steady(charger)
            work[name] = _controlled(other, Timed(other, source), Path(folder) / str(number))
        costs = side_by_side(work)
        for name, seconds in costs.items():
            yield name, f"{seconds * 1e6:.0f} µs", f"{seconds / costs['two polls']:.2f} × two polls"


def _polls(poll: Steady) -> Callable[[], None]:
    def polls() -> None:
        for _ in range(POLLS):
            poll()

    return polls


def _controlled(poll: Steady, source: Source, folder: Path) -> Callable[[], None]:
    """Return a function that polls twice and takes a step."""

    def clock() -> float:
        return poll.now

    lease_file = LeaseFile(folder, "000000", clock)
    rule = ControlRule(Settings(16, None), lease_file.load())
    client = Silent(poll.poller.host)
    place = Place("one", poll.poller.host, lambda: client, lambda: client)
    control = Control(place, rule, Inputs({"grid": source}), lease_file, Energy(), clock)
    polls = _polls(poll)

    def step() -> None:
        polls()
        control.step(poll.poller.last_poll())

    return step


def main() -> None:
    """Run a charger and a meter until standard input ends."""
    with Simulator() as simulator:
        house, charger = House("sunny", start_s=12 * 3600), chargers.charging()
        house.step(charger.power_w)
        house.step(charger.power_w)
        box = simulator.add(charger)
        print(box.address, simulator.add_meter(house, box).address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
