"""The push agent: every cycle becomes a line on disk, and lines go to the server from there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from goe_exporter import influx
from goe_exporter.config import InfluxSettings
from goe_exporter.delivery import DeadLetters, Sender
from goe_exporter.influx_server import Access, ServerV1, ServerV2, Verdict, WriteServer
from goe_exporter.logs import logger
from goe_exporter.model import Cycle, InfluxVitals
from goe_exporter.spool import Spool
from goe_exporter.timekeeping import Timekeeper, boot, uptime

STAMPED_AT_ONCE = 16

_log = logger(__name__)


class Agent:
    """Takes cycles, keeps them in a spool in `directory`, and delivers them to `server`.

    While the system clock is not to be believed, points wait in `held/` with the uptime at which
    they were measured, and are stamped when it is.
    """

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        server: WriteServer,
        tags: Mapping[str, str],
        most_lines: int,
    ) -> None:
        """Open the spools; raises `UsageError`."""
        self._tags = tags
        self._limit_bytes = limit_bytes
        self.spool = Spool(directory, limit_bytes)
        self._held = Spool(directory / "held", limit_bytes)
        self._timekeeper = Timekeeper(directory / "clock")
        self.dead = DeadLetters(directory / "dead")
        self._boot = boot()
        self._lock = threading.Lock()
        self._holding = self._held.pending > 0
        self._lost = 0
        self.sender = Sender(
            self.spool,
            server,
            self.dead,
            most_lines=most_lines,
            on_answer=self._answered,
            wants_answer=self.clock_unsure,
        )

    def take(self, cycle: Cycle) -> None:
        """Put a cycle on disk; a full disk costs the oldest lines, never the poll."""
        try:
            with self._lock:
                self._share_the_limit()
                trusted = self._timekeeper.trusted()
                if trusted and self._holding:
                    self._stamp_held()
                if not trusted:
                    self._hold(cycle)
                    return
            self.spool.append(influx.line(cycle, self._tags).encode())
        except OSError as error:
            self._lost += 1
            _log.warning("spool fails", error=str(error))
        finally:
            self.sender.wake()

    def vitals(self) -> InfluxVitals:
        """Return how delivery goes."""
        sender = self.sender
        return InfluxVitals(
            written=sender.written,
            rejected=sender.rejected,
            dropped=self.spool.dropped + self._held.dropped + self._lost,
            damaged=self.spool.damaged + self._held.damaged,
            spooled=self.spool.pending + self._held.pending,
            spool_bytes=self.spool.size_bytes + self._held.size_bytes,
            oldest=sender.oldest,
            failing=sender.failing,
            failures=dict(sender.failures),
        )

    def start(self) -> None:
        """Begin to deliver."""
        self.sender.start()

    def stop(self, grace_seconds: float) -> None:
        """End delivery and release the spool; everything taken is on disk."""
        self.sender.stop(grace_seconds)
        self.spool.close()
        self._held.close()

    def clock_unsure(self) -> bool:
        """Tell whether points wait for the clock to be confirmed."""
        return self._holding

    def _share_the_limit(self) -> None:
        """Bound both spools together; an eighth stays free of held points, to move them."""
        room = self._limit_bytes // 8
        self._held.limit_bytes = max(self._limit_bytes - room - self.spool.size_bytes, room)
        self.spool.limit_bytes = max(self._limit_bytes - self._held.size_bytes, room)

    def _hold(self, cycle: Cycle) -> None:
        if not self._holding:
            _log.info("points wait on disk until the server confirms the clock")
        self._holding = True
        self._held.append(f"{self._boot} {uptime():.3f} {influx.point(cycle, self._tags)}".encode())

    def _stamp_held(self) -> None:
        """Move what was held to the spool, stamped; what an earlier boot left cannot be."""
        while (batch := self._held.read(STAMPED_AT_ONCE)).lines:
            for record in batch.lines:
                boot_id, since_boot, point = record.split(b" ", 2)
                if boot_id.decode() == self._boot:
                    stamp = influx.milliseconds(self._timekeeper.time_at(float(since_boot)))
                    self.spool.append(b"%b %d" % (point, stamp))
                else:
                    self.dead.put(point, "measured with a wrong clock, before a restart")
                    self.sender.rejected += 1
            self._held.commit(batch.end)
            self._share_the_limit()
        self._held.commit(batch.end)
        self._holding = False
        _log.info("clock confirmed; points that waited are stamped")

    def _answered(self, verdict: Verdict) -> None:
        """Compare the clock with the server's, and stamp what waited for it."""
        if not verdict.answered:
            return
        self._timekeeper.server_says(verdict.server_time)
        with self._lock:
            if self._holding and self._timekeeper.trusted():
                self._stamp_held()
                self.sender.wake()


def open_server(settings: InfluxSettings) -> WriteServer:
    """Return the write endpoint of a configuration; raises `ConfigError` for its secrets."""
    access = Access(settings.timeout, settings.verify_tls, settings.ca_file)
    if settings.api == "v1":
        return ServerV1(settings.url, settings.bucket, *settings.login(), access)
    return ServerV2(settings.url, settings.org, settings.bucket, settings.token(), access)


def agent(settings: InfluxSettings) -> Agent:
    """Return the push agent of a configuration; raises `ConfigError` or `UsageError`."""
    return Agent(
        Path(settings.spool),
        settings.spool_limit,
        open_server(settings),
        settings.tags,
        settings.batch,
    )
