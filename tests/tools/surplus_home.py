"""The control loop at a simulated house, over real sockets, in a time that passes by request."""

from __future__ import annotations

import time
from pathlib import Path

import clocks

from goe_exporter.charger.client import Client
from goe_exporter.control.energy import Energy
from goe_exporter.control.inputs import Inputs
from goe_exporter.control.lease_file import LeaseFile
from goe_exporter.control.loop import Control
from goe_exporter.control.place import Place
from goe_exporter.control.rules import ControlRule
from goe_exporter.polling.poller import Poller
from goe_exporter.simulator import Battery, Box, Charger, House, MeterBox, Simulator
from goe_exporter.surplus.config import GridConfig
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.settings import Settings
from goe_exporter.surplus.source import Reading, Source

SERIAL = "218042"
REFRESH_S = 10.0
WALL = 1_780_000_000.0
"""The Unix time at the moment 0."""


class Clock(clocks.Clock):
    """A clock that stands still, with the Unix time, whose clock was set by `step_s`."""

    step_s = 0.0

    def wall(self) -> float:
        return WALL + self.now + self.step_s


class ClockedSource:
    """A source whose values have the age that they have in real time, on another clock."""

    def __init__(self, inner: Source, clock: Clock) -> None:
        self.name, self._inner, self._clock = inner.name, inner, clock

    def read(self, _until: float) -> Reading:
        reading = self._inner.read(time.monotonic() + 4)
        age_s = time.monotonic() - reading.measured_at if reading.age_known else 0.0
        return reading._replace(measured_at=self._clock() - round(age_s))


class Home:
    """An exporter's poller and control loop of a charger at `host`, with the grid at `meter`."""

    def __init__(
        self, clock: Clock, host: str, meter: str, state: Path, **settings: object
    ) -> None:
        self.clock = clock
        chosen = {"max_current_a": 16, "phases": None, "refresh_s": REFRESH_S, **settings}
        self.settings = Settings(**chosen)  # type: ignore[arg-type]
        self.client = Client(host, serial=SERIAL)
        self.lease_file = LeaseFile(state, SERIAL, clock, clock.wall)
        self.rule = ControlRule(self.settings, self.lease_file.load())
        query = "house_grid_power_watts"
        grid = PrometheusSource("grid", GridConfig(prometheus=f"http://{meter}", query=query))
        self.inputs = Inputs({"grid": ClockedSource(grid, clock)}, clock)
        place = Place("garage", host, lambda: self.client, lambda: Client(host, serial=SERIAL))
        self.control = Control(place, self.rule, self.inputs, self.lease_file, Energy(), clock)
        self.poller = Poller(
            "garage", host, self.client, REFRESH_S, serial=SERIAL, clock=clock, wall=clock.wall
        )

    def poll(self) -> None:
        """Poll once, and take a step if one is due."""
        self.poller.poll()
        self.control.step(self.poller.last_poll())

    @property
    def state(self) -> str:
        return self.control.vitals().state

    def run(self, seconds: float, until: str = "") -> None:
        """Poll every 10 s for a time, or until a state begins, which must happen."""
        for _ in range(round(seconds / REFRESH_S)):
            self.clock.now += REFRESH_S
            self.poll()
            if until and self.state == until:
                return
        assert not until, self.control.vitals()


class Street:
    """A simulated house with a charger and a meter, whose time is that of a `Clock`."""

    def __init__(
        self,
        weather: str = "sunny",
        start_hour: int = 6,
        seed: int | str = 0,
        battery: Battery | None = None,
    ) -> None:
        self.clock = Clock()
        self.network = Simulator(clock=self.clock)
        self.network.__enter__()
        self.house = House(weather, seed, battery, start_s=start_hour * 3600)
        self.charger = Charger("V4", serial=SERIAL)
        self.box: Box = self.network.add(self.charger, story=self.house.live(self.charger))
        self.meter: MeterBox = self.network.add_meter(self.house, self.box)
        self.meter.wall_clock = time.time

    def close(self) -> None:
        self.network.__exit__(None, None, None)

    def write(self, key: str, value: object) -> None:
        """Write a value as the app does, and let the charger take it."""
        with self.box.lock:
            self.box.catch_up()
            self.charger.write(key, value)

    def leave(self) -> None:
        """Unplug the car, which stays away."""
        self.box.play(iter(()))
        with self.box.lock:
            self.box.catch_up()
            self.charger.unplug()

    def home(self, state: Path, **settings: object) -> Home:
        return Home(self.clock, self.box.address, self.meter.address, state, **settings)
