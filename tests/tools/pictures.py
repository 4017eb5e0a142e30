"""Makes the README's pictures anew: `python tests/tools/pictures.py docs/images`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from browsers import Browser, chromium
from sites import Site

from goe_exporter.charger.client import Client
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.view import ChargerView
from goe_exporter.simulator import Car, Charger, Simulator, fleet
from goe_exporter.web.history import History

CYCLES = 700
CHARGERS = 40
FAILING = range(330, 342)


class Clock:
    """The monotonic clock, and how far it was put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def hour(charger: Charger) -> Iterator[float]:
    """Let an hour happen: a car comes, is held back by load balancing, and goes to one phase."""
    charger.energy_wh = 4_318_000.0
    yield 300
    charger.energy_limit_wh = 12_000.0
    charger.plug(Car(battery_wh=60_000, soc=0.5, wait_s=40))
    yield 900
    charger.load_limit_a = 10
    yield 800
    charger.load_limit_a = None
    yield 300
    charger.phase_mode = 1
    yield 400
    charger.phase_mode = 0
    yield 1e9


def take(browser: Browser, url: str, folder: Path) -> None:
    """Take each picture."""
    for name, width, height, dark in (
        ("page-desktop", 1280, 1240, False),
        ("page-phone", 390, 1240, True),
    ):
        browser.be(width, dark=dark, language="en-GB", height=height)
        browser.open(url)
        browser.wait("past.now > 0 && document.querySelector('.trace')", "charts")
        browser.picture(folder / f"{name}.png")


def car_park(simulator: Simulator, clock: Clock) -> list[ChargerView]:
    """Return the views of a fleet after a quarter of an hour."""
    pollers = []
    for place, member in enumerate(fleet(CHARGERS), 1):
        box = simulator.add(member.charger, story=member.story)
        box.fault = member.fault
        name = f"Level {(place - 1) // 20 + 1}, bay {place}"
        pollers.append(Poller(name, box.address, Client(box.address), clock=clock))
    for seconds in (5, 900, 5):
        clock.ahead += seconds
        for poller in pollers:
            poller.poll()
    return [poller.view() for poller in pollers]


def main(folder: Path) -> None:
    """Live through the hour and look at it."""
    clock = Clock()
    past = History(clock=clock)
    with Simulator(clock=clock) as simulator, tempfile.TemporaryDirectory() as profile:
        charger = Charger("V4", serial="218042", name="Garage")
        box = simulator.add(charger, story=hour(charger))
        client = Client(box.address)
        garage = Poller("Garage", "192.168.1.36", client, sink=past.take, clock=clock)
        for cycle in range(CYCLES):
            clock.ahead += 5
            box.fault = "reset" if cycle in FAILING else None
            garage.poll()
        with Site(lambda: [garage.view()], past) as site, chromium(Path(profile)) as browser:
            take(browser, site.url, folder)
            views = car_park(simulator, clock)
            with Site(lambda: views) as overview:
                browser.be(1280, height=1000)
                browser.open(overview.url)
                browser.wait("!document.querySelector('.search').hidden", "the search box")
                browser.picture(folder / "page-overview.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
