"""What runs for years: chargers polled, `/metrics` served, until a signal ends it.

SIGHUP has the configuration read again. One that is wrong is refused as a whole and what runs
stays as it was; one that is right changes only what differs, so a charger that stays keeps its
counters and its place on the grid.
"""

from __future__ import annotations

import contextlib
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from goe_exporter import __version__
from goe_exporter.charger.client import Client
from goe_exporter.charger.connection import Connection
from goe_exporter.errors import GoeExporterError, UsageError
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.logs import Incident, logger
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, Poll
from goe_exporter.service import self_metrics, systemd
from goe_exporter.service.config import RunConfig
from goe_exporter.service.self_metrics import Reload
from goe_exporter.web.history import History

if TYPE_CHECKING:
    from goe_exporter.http_server.server import Server
    from goe_exporter.influx.agent import Agent
    from goe_exporter.web.app import Application

EXIT_SECONDS = 3.0
"""What polls and delivery under way are given once the web server, if any, has ended."""

SWITCH_SECONDS = 0.0005

_log = logger(__name__)


class Service:
    """Everything that runs, made of `wishes`, and changed by `reload` to what `load` returns then.

    `server` serves what there is; `history` is the page's. Raises `UsageError`, as `load` may.
    """

    def __init__(
        self,
        wishes: RunConfig,
        load: Callable[[], RunConfig],
        server: Server | None = None,
        history: History | None = None,
    ) -> None:
        self._load = load
        self._server = server
        self._history = history
        self._wishes = wishes
        self._agent = _agent(wishes.influxdb)
        self._hangups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._reached: dict[Poller, Connection] = {}
        self._schedule = Scheduler(self._pollers(wishes, self._reaches(wishes)))
        self._last_reload = Reload(successful=True, last_success=time.time())

    def run(self, *, reloads_at_hangup: bool = True) -> None:
        """Poll, serve and push until SIGTERM or SIGINT; SIGHUP reloads, if that is wanted."""
        # Queues, since nothing else that wakes a thread may be used in a handler.
        ends: queue.SimpleQueue[float] = queue.SimpleQueue()

        def end(_signal: int, _frame: object) -> None:
            ends.put(time.monotonic())
            if self._server is not None:
                self._server.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        if reloads_at_hangup:
            signal.signal(signal.SIGHUP, lambda *_: self._hangups.put(None))
        _set_limits()
        # A large scrape keeps the interpreter busy for a second or two; polls must get in between.
        sys.setswitchinterval(SWITCH_SECONDS)
        url = self._server.url if self._server else None
        _log.info("started", version=__version__, url=url, chargers=len(self._wishes.chargers))
        self._schedule.start()
        if self._agent is not None:
            self._agent.start()
        threading.Thread(target=self.watch, name="watch", daemon=True).start()
        systemd.notify("READY=1", self._status())
        if self._server is not None:
            self._server.run(self._application())
        asked = ends.get()
        systemd.notify("STOPPING=1")
        self._schedule.stop(max(asked + EXIT_SECONDS - time.monotonic(), 0))
        if self._agent is not None:
            self._agent.stop(max(asked + EXIT_SECONDS - time.monotonic(), 0))
        _log.info("stopped")

    def reload(self) -> None:
        """Read the configuration again and change what differs; a wrong one changes nothing."""
        systemd.reloading()
        try:
            wishes = self._load()
            reaches = self._reaches(wishes)
            _check_spool(self._wishes.influxdb, wishes.influxdb)
            deliver = _redirection(self._agent, wishes.influxdb)
        except GoeExporterError as error:
            self._last_reload = self._last_reload._replace(successful=False)
            _log.warning("configuration refused, the old one stays", error=str(error))
        else:
            deliver()
            self._schedule.replace(self._pollers(wishes, reaches))
            if self._history is not None:
                self._history.keep(charger.name for charger in wishes.chargers)
            self._wishes = wishes
            self._last_reload = Reload(successful=True, last_success=time.time())
            _log.info("configuration reloaded", chargers=len(wishes.chargers))
        systemd.notify("READY=1", self._status())

    def stalled_component(self) -> str:
        """Return the name of a component that is stalled, "" if all of them work."""
        checks = {"polls": self._schedule.is_stalled}
        if self._agent is not None:
            checks["delivery"] = self._agent.hangs
        if self._server is not None:
            checks["web"] = self._server.hangs
        return next((name for name, is_stalled in checks.items() if is_stalled()), "")

    def unwell(self) -> str:
        """Return what is wrong, "" if nothing is: a stalled component, or an unavailable spool."""
        if component := self.stalled_component():
            return f"stalled: {component}"
        return self._agent.unavailable() if self._agent is not None else ""

    def watch(self) -> None:
        """Reload after each SIGHUP, and show life as long as nothing hangs; never returns."""
        seconds = systemd.watchdog_seconds()
        hanging = Incident(_log, "component stalled", "no component stalled any more")
        while True:
            try:
                self._hangups.get(timeout=seconds)
            except queue.Empty:
                pass
            else:
                self._reload_or_log()
            if part := self.stalled_component():
                hanging.begins(part=part)
            else:
                hanging.ends()
                systemd.notify("WATCHDOG=1")

    def _reload_or_log(self) -> None:
        try:
            self.reload()
        except Exception:  # noqa: BLE001, the top of a thread
            self._last_reload = self._last_reload._replace(successful=False)
            _log.exception("reload failed (bug)")

    def _reaches(self, wishes: RunConfig) -> dict[Connection, Client | None]:
        """Return how each charger is reached, with a client where that is not as before.

        Raises `ConfigError` for a token file.
        """
        known = set(self._reached.values())
        reaches = [charger.connection(wishes.environment_proxies) for charger in wishes.chargers]
        return {each: None if each in known else each.client() for each in reaches}

    def _pollers(
        self, wishes: RunConfig, reaches: Mapping[Connection, Client | None]
    ) -> tuple[Poller, ...]:
        """Return the chargers' pollers; one with the name and host of an earlier one goes on."""
        before = {(each.name, each.host): each for each in self._reached}
        found: dict[Poller, Connection] = {}
        for charger, (way, client) in zip(wishes.chargers, reaches.items(), strict=True):
            interval = charger.refresh_interval or wishes.interval_seconds
            poller = before.get((charger.name, charger.host))
            if poller is None:
                assert client is not None
                poller = Poller(charger.name, charger.host, client, interval, sink=self._take)
            else:
                poller.interval_seconds = interval
                poller.client = client or poller.client
            found[poller] = way
        self._reached = found
        return tuple(found)

    def _take(self, cycle: Poll) -> None:
        """Hand a cycle to those who keep it."""
        if self._agent is not None:
            self._agent.take(cycle)
        if self._history is not None:
            self._history.take(cycle)

    def _status(self) -> str:
        return f"STATUS=polls {len(self._wishes.chargers)} charger(s)"

    def _application(self) -> Application:
        # The web, half of all there is to import, is for those who serve.
        from goe_exporter.prometheus.exposition import Exposition
        from goe_exporter.prometheus.process import process_metrics
        from goe_exporter.web.app import application

        schedule = self._schedule

        def views() -> list[ChargerView]:
            return [each.view() for each in schedule.pollers]

        delivery = self._agent.stats if self._agent is not None else None
        own = self_metrics.providers(schedule, lambda: self._last_reload, delivery)
        exposition = Exposition(views, [*own, process_metrics()])
        influx = None if delivery is None else lambda: asdict(delivery())
        return application(views, exposition, self._history, influx, self.unwell)


def _set_limits() -> None:
    """Open as many files and connections as may be, 1024 are few; dump no memory with secrets."""
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for kind, number in ((resource.RLIMIT_NOFILE, most), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (number, number))


def _agent(settings: InfluxSettings | None) -> Agent | None:
    """Return the push agent, if the configuration wants one."""
    if settings is None:
        return None
    from goe_exporter.influx.agent import agent

    return agent(settings)


def _redirection(agent: Agent | None, settings: InfluxSettings | None) -> Callable[[], None]:
    """Return what makes the agent deliver by other settings; raises `ConfigError` for these."""
    if agent is None or settings is None:
        return lambda: None
    from goe_exporter.influx.agent import open_server

    return partial(agent.change, settings, open_server(settings))


def _check_spool(old: InfluxSettings | None, new: InfluxSettings | None) -> None:
    """Refuse another spool, which holds what is not delivered yet; raises `UsageError`."""
    if (old is None) != (new is None):
        raise UsageError("a section influxdb that comes or goes wants a restart")
    if old is None or new is None:
        return
    for key in ("spool", "spool_limit"):
        if getattr(old, key) != getattr(new, key):
            raise UsageError(f"another influxdb.{key} wants a restart")
