"""The push agent: every cycle becomes a line on disk, and lines go to the server from there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from goe_exporter.durable.clock import Timekeeper, boot, shown
from goe_exporter.influx import dead_letters, line_protocol
from goe_exporter.influx.dead_letters import DeadLetters
from goe_exporter.influx.sender import Sender
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.influx.unstamped import Held
from goe_exporter.influx.write_api import Access, ServerV1, ServerV2, Verdict, WriteServer
from goe_exporter.logs import Incident, Losses, logger
from goe_exporter.polling.view import Poll
from goe_exporter.spool import segments
from goe_exporter.spool.queue import Spool

LET_IN_SECONDS = 0.01
"""How long points are not stamped, so that a poll gets its turn: locks are not fair."""

_log = logger(__name__)


class Agent:
    """Takes cycles, keeps them in a spool in `directory`, and delivers them to `server`.

    While the system clock is not to be believed, points wait in `held/` with the uptime at which
    they were measured, and are stamped when it is. `limit_bytes` bounds the spool, what is held
    and the dead letters together.
    """

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        server: WriteServer,
        tags: Mapping[str, str],
        most_lines: int,
        timeout_seconds: float = 10.0,
    ) -> None:
        """Open the spools; raises `UsageError`."""
        self._tags = tags
        self._limit_bytes = limit_bytes - limit_bytes // dead_letters.SHARE
        # An eighth stays free of held points, to move them.
        most_held = self._limit_bytes - self._limit_bytes // 8
        with contextlib.ExitStack() as opened:
            self.spool = Spool(directory, self._limit_bytes)
            opened.callback(self.spool.close)
            self.dead = DeadLetters(directory / "dead", limit_bytes // dead_letters.SHARE)
            opened.callback(self.dead.close)
            self.timekeeper = Timekeeper(
                directory / "clock", boot(), may_keep=lambda: not self.spool.unavailable
            )
            last_stamp = line_protocol.timestamp(self.spool.newest() or b"") or 0.0
            self._held = Held(directory / "held", most_held, self.timekeeper, last_stamp)
            opened.pop_all()
        self._spools = (self.spool, self._held.spool, self.dead.spool)
        self._lock = threading.Lock()
        self._timeless = 0  # not in the sender's count, which another thread adds to
        self._closed = False
        self._holding = self._held.spool.pending > 0
        self._losses = Losses(_log)
        self._failures = Incident(_log, "spool failed", "spool recovered")
        self.sender = Sender(
            self.spool,
            server,
            self.dead,
            most_lines=most_lines,
            timeout_seconds=timeout_seconds,
            on_answer=self._answered,
            wants_answer=self.clock_unsure,
        )

    def take(self, cycle: Poll) -> None:
        """Put a cycle on disk; a full disk costs the oldest lines, never the poll."""
        try:
            for spool in self._spools:
                spool.check_directory()
            with self._lock:
                trusted = self.timekeeper.trusted()
                if self._holding or not trusted:
                    self._hold(cycle)
                    if trusted:
                        self._stamp_some()
                    return
                stamped = replace(cycle, time=self.timekeeper.stamp(cycle.time))
            self.spool.append(line_protocol.line(stamped, self._tags).encode())
        except OSError as error:
            self._failures.begins(error=str(error))
        else:
            self._failures.ends()
        finally:
            self._note_losses()
            self.sender.wake()

    def stats(self) -> DeliveryStats:
        """Return how delivery goes."""
        sender, spools = self.sender, self._spools
        unsure = self.clock_unsure() and self.timekeeper.disagreement is not None
        return DeliveryStats(
            written=sender.written,
            rejected=sender.rejected + self._timeless,
            dropped=sum(spool.dropped for spool in spools),
            damaged=sum(spool.damaged for spool in spools),
            spooled=self.spool.pending + self._held.spool.pending,
            spool_bytes=sum(spool.size_bytes for spool in spools),
            oldest=sender.oldest,
            failing=sender.failing or ("clock" if unsure else ""),
            failures=dict(sender.failures),
        )

    def change(self, settings: InfluxSettings, server: WriteServer) -> None:
        """Deliver to `server`, by other settings, from now on; the spool stays what it is."""
        self._tags = settings.tags
        self.sender.change(server, settings.batch, settings.timeout)

    def hangs(self) -> bool:
        """Tell whether delivery has come to an end of itself."""
        return self.sender.hangs()

    def unavailable(self) -> str:
        """Return why points wait in memory instead of on disk, "" if they do not."""
        return next((spool.unavailable for spool in self._spools if spool.unavailable), "")

    def start(self) -> None:
        """Begin to deliver."""
        self.sender.start()

    def stop(self, grace_seconds: float) -> None:
        """End delivery and release the spool; everything taken is on disk."""
        self.sender.stop(grace_seconds)
        # All at once, or a sender that outlived the grace would let go of what it cannot move.
        with self._lock:
            self._closed = True
            self.spool.close()
            self._held.spool.close()
            self.dead.close()

    def clock_unsure(self) -> bool:
        """Tell whether points wait for the clock to be confirmed."""
        return self._holding

    def why(self) -> str:
        """Return why not everything is delivered, in a few words."""
        failing, apart = self.stats().failing, self.timekeeper.disagreement
        if failing != "clock" or apart is None:
            return failing
        return f"the clock shows {shown(apart[0])}, the server's {shown(apart[1])}"

    def _note_losses(self) -> None:
        full = self.spool.full or self._held.spool.full
        self._losses.note(sum(spool.dropped for spool in self._spools), full=full)

    def _hold(self, cycle: Poll) -> None:
        if not self._holding:
            _log.info("points wait on disk until the clock is confirmed")
        self._holding = True
        record = self._held.record(line_protocol.point(cycle, self._tags))
        self._share_the_limit(len(record) + segments.FRAME_BYTES)
        self._held.spool.append(record)

    def _share_the_limit(self, wanted_bytes: int = 0) -> None:
        """Bound the spool to what the held points leave: what is in it is older than they."""
        held = self._held.spool.size_bytes + wanted_bytes
        self.spool.bound(max(self._limit_bytes - held, 0))

    def _stamp_some(self) -> bool:
        """Move some of what was held to the spool, stamped; tell whether there may be more."""
        found, end = self._held.stamped()
        self._share_the_limit()
        self.spool.extend(found.lines)
        self.dead.extend(found.timeless)
        self._timeless += len(found.timeless)
        if found.unconfirmed or found.timeless:
            _log.warning("points of an earlier start", stamped_by_its_clock=found.unconfirmed,
                         without_a_time=len(found.timeless))  # fmt: skip
        self._holding = not self._held.done(end)
        self._share_the_limit()
        if not self._holding:
            _log.info("clock confirmed; points that waited are stamped")
        return self._holding

    def _answered(self, verdict: Verdict) -> None:
        """Compare the clock with the server's, and stamp what waited for it."""
        if not verdict.answered:
            return
        # An error without a time may come from anybody, such as a TLS port that was sent http.
        if verdict.server_time is not None or verdict.outcome == "written":
            self.timekeeper.server_says(verdict.server_time)
        more = self._holding
        while more:
            with self._lock:
                ready = self._holding and not self._closed and self.timekeeper.trusted()
                more = ready and self._stamp_some()
            time.sleep(LET_IN_SECONDS)
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
        settings.timeout,
    )
