"""The service: polls chargers, serves and pushes their readings, until a signal stops it.

SIGHUP and a change of the charger files reload the configuration. An invalid configuration is
rejected as a whole; a valid one changes only what differs, so a charger that stays keeps its
counters and its place on the grid.
"""

from __future__ import annotations

import contextlib
import gc
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from goe_exporter import __version__
from goe_exporter.channels.table import CHARGER
from goe_exporter.charger.client import Client
from goe_exporter.errors import GoeExporterError
from goe_exporter.influx.agent import open_agent, open_server
from goe_exporter.logs import Incident, logger
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import Poll
from goe_exporter.service import reload, systemd
from goe_exporter.service.charger_files import unmatched
from goe_exporter.service.config import RunConfig
from goe_exporter.service.self_metrics import Parts, Reload
from goe_exporter.service.session_points import SessionPoints
from goe_exporter.service.surplus import log_start, open_control
from goe_exporter.sessions.bookkeeper import open_bookkeeper
from goe_exporter.surplus.meters import open_sources
from goe_exporter.web.history import History
from goe_exporter.web.paths import AT_ROOT, Paths

if TYPE_CHECKING:
    from goe_exporter.http_server.server import Server

STOP_SECONDS = 3.0
"""Time limit from the signal until polls and delivery in progress are abandoned."""

FILES_SECONDS = 30.0
"""Maximum interval between two checks whether the charger files have changed."""

MACOS_OPEN_MAX = 10_240
"""The most open files that macOS accepts, although it reports no maximum."""

GARBAGE_THRESHOLDS = 10_000, 20, 50
"""New objects before a search for garbage, and searches before one of older objects.

Readings hold no cycles, and searching those of 5,000 chargers takes half a second, which Python's
own thresholds would spend every few seconds.
"""

SWITCH_INTERVAL_SECONDS = 0.0001
"""Time after which a thread that computes yields the interpreter to one that waits for it.

A poll waits for it more than ten times, and rendering a large scrape takes a second or two.
"""

_log = logger(__name__)


class Service:
    """Runs what `config` describes; `reload` changes it to what `load` returns then.

    `server` serves the metrics at `paths`, and with a `history` the page, which the sources
    `frame_ancestors` may show in a frame. `changed` returns whether the charger files differ from
    those that `load` read last; it is called every `files_seconds` or more often. Raises
    `ConfigError` or `UsageError`, as `load` may.
    """

    def __init__(
        self,
        config: RunConfig,
        load: Callable[[], RunConfig],
        server: Server | None = None,
        history: History | None = None,
        paths: Paths = AT_ROOT,
        frame_ancestors: Sequence[str] = ("'none'",),
        *,
        changed: Callable[[], bool] | None = None,
        files_seconds: float = FILES_SECONDS,
    ) -> None:
        self._config = config
        self._load = load
        self._server = server
        self._history = history
        self._paths = paths
        self._frame_ancestors = frame_ancestors
        self._changed = changed
        self._files_seconds = files_seconds
        self._agent = open_agent(config.influxdb) if config.influxdb is not None else None
        clock = self._agent.store.clock if self._agent is not None else None
        sessions = config.sessions
        points = SessionPoints(self._agent, lambda: self._config) if self._agent else None
        self._bookkeeper = open_bookkeeper(sessions, clock, points) if sessions else None
        self._clients = reload.clients(config, {})
        self._surplus = open_control(config, self._client) if config.surplus is not None else None
        self._scheduler = Scheduler(reload.pollers(config, self._clients, (), self._take))
        self._last_reload = Reload(successful=True, last_success=time.time())
        # Signal handlers may use nothing but such a queue to wake a thread.
        self._hangups: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self, *, reload_on_sighup: bool = True) -> None:
        """Poll, serve and push until SIGTERM or SIGINT."""
        stops: queue.SimpleQueue[float] = queue.SimpleQueue()

        def stop(_signal: int, _frame: object) -> None:
            stops.put(time.monotonic())
            if self._server is not None:
                self._server.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if reload_on_sighup:
            signal.signal(signal.SIGHUP, lambda *_: self._hangups.put(None))
        set_limits()
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        self._start()
        if self._server is not None:
            # Imported here: `push` without a web server does not need it.
            from goe_exporter.service.web import application  # noqa: PLC0415

            parts = Parts(
                self._scheduler,
                lambda: self._last_reload,
                delivery=self._agent.stats if self._agent is not None else None,
                card_names=lambda: self._config.cards,
                shard=self._config.shard,
                store=self._bookkeeper.stats if self._bookkeeper is not None else None,
                surplus=self._surplus.vitals if self._surplus is not None else None,
            )
            self._server.run(
                application(
                    parts,
                    self._history,
                    self.fault,
                    self._paths,
                    self._frame_ancestors,
                    lambda: self._config.sessions,
                )
            )
        self._stop(stops.get() + STOP_SECONDS)

    def _start(self) -> None:
        urls = self._server.urls if self._server else [None]
        config = self._config
        more: dict[str, object] = {} if config.shard is None else {"shard": str(config.shard)}
        _log.info("started", version=__version__, url=urls[0], **config.counts, **more)
        for url in urls[1:]:
            _log.info("additional address", url=url)
        self._warn_of_patterns()
        # A search for garbage stops all threads, polls too. What is there now is left out.
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        self._scheduler.start()
        if self._agent is not None:
            self._agent.start()
        if self._surplus is not None and config.surplus is not None:
            log_start(config.surplus)
            self._surplus.start()
        if self._bookkeeper is not None:
            self._bookkeeper.start()
        threading.Thread(target=self.watch, name="watch", daemon=True).start()
        self._notify_ready()

    def _stop(self, deadline: float) -> None:
        systemd.notify("STOPPING=1")
        if self._surplus is not None:
            self._scheduler.stop(0)  # a charger serves one request at a time
            self._surplus.stop(deadline)
        self._scheduler.stop(max(deadline - time.monotonic(), 0))
        for poller in self._scheduler.pollers:
            poller.log.flush()
        if self._bookkeeper is not None:
            self._bookkeeper.stop(max(deadline - time.monotonic(), 0))
        if self._agent is not None:
            self._agent.stop(max(deadline - time.monotonic(), 0))
        _log.info("stopped")

    def reload(self) -> None:
        """Reload the configuration and apply what differs; an invalid one changes nothing."""
        systemd.notify_reloading()
        failed = self._last_reload._replace(successful=False)
        try:
            self._apply(self._load())
        except GoeExporterError as error:
            self._last_reload = failed
            _log.warning("configuration reload failed", error=str(error))
        except Exception:  # noqa: BLE001, the top of a thread
            self._last_reload = failed
            _log.exception("configuration reload aborted by an internal error")
        self._notify_ready()

    def check_files(self) -> None:
        """Reload if the charger files have changed since they were read last."""
        if self._changed is not None and self._changed():
            _log.info("charger files changed")
            self.reload()

    def _apply(self, config: RunConfig) -> None:
        """Change what differs; raises `GoeExporterError` before anything is changed."""
        clients = reload.clients(config, self._clients)
        reload.check_restart_only(self._config, config)
        reload.check_surplus(self._config, config)
        sources = open_sources(config.surplus) if config.surplus is not None else {}
        if self._agent is not None and config.influxdb is not None:
            self._agent.change(config.influxdb, open_server(config.influxdb))
        if self._surplus is not None:
            self._surplus.reconnect(sources)
        before = self._scheduler.pollers
        pollers = reload.pollers(config, clients, before, self._take)
        self._scheduler.replace(pollers)
        for log in {poller.log for poller in before} - {poller.log for poller in pollers}:
            log.flush()
        if self._history is not None:
            self._history.keep(charger.name for charger in config.chargers)
        self._config, self._clients = config, clients
        self._last_reload = Reload(successful=True, last_success=time.time())
        _log.info("configuration reloaded", **config.counts)
        self._warn_of_patterns()

    def _warn_of_patterns(self) -> None:
        for pattern in unmatched(self._config.charger_files):
            _log.warning("charger_files: no file matches", pattern=pattern)

    def stalled_component(self) -> str:
        """Return the name of a component that is stalled, "" if none is."""
        checks = {"polls": self._scheduler.is_stalled}
        if self._agent is not None:
            checks["delivery"] = self._agent.is_stalled
        if self._bookkeeper is not None:
            checks["sessions"] = self._bookkeeper.is_stalled
        if self._server is not None:
            checks["web"] = self._server.is_stalled
        if self._surplus is not None:
            checks["surplus"] = self._surplus.is_stalled
        return next((name for name, is_stalled in checks.items() if is_stalled()), "")

    def fault(self) -> str:
        """Return what is wrong, "" if nothing is: a stalled component, or an unavailable spool."""
        if component := self.stalled_component():
            return f"stalled: {component}"
        return self._agent.unavailable() if self._agent is not None else ""

    def watch(self) -> None:
        """Reload after SIGHUP or a change of the charger files; notify the watchdog.

        The watchdog is not notified while a component is stalled. Never returns.
        """
        seconds = systemd.watchdog_seconds()
        if self._changed is not None:
            seconds = min(seconds or self._files_seconds, self._files_seconds)
        stall = Incident(_log, "component stalled", "component recovered")
        while True:
            try:
                self._hangups.get(timeout=seconds)
            except queue.Empty:
                self.check_files()
            else:
                self.reload()
            if component := self.stalled_component():
                stall.begins(part=component)
            else:
                stall.ends()
                systemd.notify("WATCHDOG=1")

    def _take(self, poll: Poll) -> None:
        """Hand a poll to the sinks that keep polls."""
        if self._agent is not None:
            self._agent.take(poll)
        if poll.table is not CHARGER:
            return  # the other sinks are about charging
        if self._bookkeeper is not None:
            self._bookkeeper.take(poll)
        if self._history is not None:
            self._history.take(poll)
        if self._surplus is not None:
            self._surplus.take(poll)

    def _client(self, charger: str) -> Client:
        """Return the present client of a charger."""
        return next(client for place, client in self._clients.items() if place.name == charger)

    def _notify_ready(self) -> None:
        systemd.notify("READY=1", f"STATUS=polls {self._config.extent}")


def set_limits() -> None:
    """Raise the limit of open files to the maximum (1024 are few), and disable core dumps.

    A core dump would hold the secrets in memory.
    """
    _soft, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    for kind, soft, hard in (
        (resource.RLIMIT_NOFILE, MACOS_OPEN_MAX, maximum),
        (resource.RLIMIT_NOFILE, maximum, maximum),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (soft, hard))
