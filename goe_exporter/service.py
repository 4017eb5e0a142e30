"""What runs for years: chargers polled, `/metrics` served, until a signal ends it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from goe_exporter import __version__
from goe_exporter.client import Client
from goe_exporter.collector import Collector
from goe_exporter.config import ChargerConfig
from goe_exporter.history import History
from goe_exporter.logs import logger
from goe_exporter.model import ChargerView, Cycle
from goe_exporter.schedule import Schedule

if TYPE_CHECKING:
    from goe_exporter.agent import Agent
    from goe_exporter.server import Server
    from goe_exporter.web import Application

EXIT_SECONDS = 3.0
"""What polls and delivery under way are given once the web server, if any, has ended."""

SWITCH_SECONDS = 0.0005

_log = logger(__name__)


def collector(
    charger: ChargerConfig,
    interval_seconds: float,
    environment_proxies: bool = False,
    sink: Callable[[Cycle], None] | None = None,
) -> Collector:
    """Return the collector of a configured charger; raises `ConfigError` for its token file."""
    client = Client(
        charger.host,
        charger.api,
        token=charger.token(),
        environment_proxies=environment_proxies,
    )
    interval = charger.refresh_interval or interval_seconds
    return Collector(charger.name, charger.host, client, interval, sink=sink)


def both(first: Callable[[Cycle], None], second: Callable[[Cycle], None]) -> Callable[..., None]:
    """Return a sink that hands each cycle to two sinks."""

    def take(cycle: Cycle) -> None:
        first(cycle)
        second(cycle)

    return take


def serve(
    collectors: Sequence[Collector],
    server: Server | None,
    agent: Agent | None = None,
    history: History | None = None,
) -> None:
    """Poll the collectors' chargers until SIGTERM or SIGINT.

    Serves what they say on `server`, with their `history`, and pushes it through `agent`, where
    given. The collectors' sinks feed the latter two.
    """
    schedule = Schedule(collectors)
    ending = threading.Event()
    asked_at: list[float] = []

    def stop(_signal: int, _frame: object) -> None:
        asked_at.append(time.monotonic())
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    url = server.url if server else None
    _log.info("started", version=__version__, url=url, chargers=len(collectors))
    # A large scrape keeps the interpreter busy for a second or two; polls must get in between.
    sys.setswitchinterval(SWITCH_SECONDS)
    schedule.start()
    if agent is not None:
        agent.start()
    if server is not None:
        server.run(_application(schedule, agent, history or History()))
    else:
        ending.wait()
    asked = asked_at[0] if asked_at else time.monotonic()
    schedule.stop(max(asked + EXIT_SECONDS - time.monotonic(), 0))
    if agent is not None:
        agent.stop(max(asked + EXIT_SECONDS - time.monotonic(), 0))
    _log.info("stopped")


def _application(schedule: Schedule, agent: Agent | None, history: History) -> Application:
    # The web, half of all there is to import, is for those who serve.
    from goe_exporter.prometheus import Exposition
    from goe_exporter.web import application

    def views() -> list[ChargerView]:
        return [each.view() for each in schedule.collectors]

    influx = agent.vitals if agent is not None else None
    exposition = Exposition(
        views, schedule.duration, schedule.lateness, lambda: schedule.defects, influx
    )
    return application(views, exposition, history, influx)
