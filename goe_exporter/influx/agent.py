"""The push agent: puts the point of every poll on disk, and delivers it from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from goe_exporter.durable.clock import utc
from goe_exporter.influx.sender import Sender
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.influx.store import Store
from goe_exporter.influx.write_api import Access, ServerV1, ServerV2, WriteResult, WriteServer
from goe_exporter.polling.view import Poll

PAUSE_SECONDS = 0.01
"""Pause between two batches of stamped points, so that a poll gets the lock: locks are not fair."""


class Agent:
    """Puts polls into a `Store` in `directory`, and delivers them to `server`."""

    def __init__(
        self,
        directory: Path,
        limit_bytes: int,
        server: WriteServer,
        tags: Mapping[str, str],
        max_batch_lines: int,
        timeout_seconds: float = 10.0,
    ) -> None:
        """Open the store; raises `UsageError`."""
        self.store = Store(directory, limit_bytes)
        self._tags = tags
        self.sender = Sender(
            self.store.queue,
            server,
            self.store.dead_letters,
            self.store.parked,
            max_batch_lines=max_batch_lines,
            timeout_seconds=timeout_seconds,
            on_answer=self._answered,
            needs_answer=lambda: self.store.has_unstamped,
        )

    def take(self, poll: Poll) -> None:
        """Put a poll on disk, or keep it in memory while the disk fails."""
        self.store.add(poll, self._tags)
        self.store.log_losses()
        self.sender.wake()

    def take_lines(self, lines: Sequence[str]) -> int:
        """Put lines with a timestamp on disk; return how many, from the first on, are there now.

        None is accepted while the server or the disk fails, so that a queue that overflows drops
        none of them. No other line is dropped for them.
        """
        queue = self.store.queue
        queue.check_directory()
        if queue.unavailable or self.sender.failing or not self.sender.written:
            return 0
        accepted = queue.extend([line.encode() for line in lines], make_room=False)
        self.sender.wake()
        # If the disk failed meanwhile, they may be in memory only.
        return 0 if queue.unavailable else accepted

    def stats(self) -> DeliveryStats:
        """Return the statistics of delivery."""
        sender, store = self.sender, self.store
        return DeliveryStats(
            written=sender.written,
            rejected=sender.rejected + store.untimed,
            dropped=store.dropped,
            damaged=store.damaged,
            spooled=store.waiting,
            spool_bytes=store.size_bytes,
            oldest=sender.oldest,
            failing=sender.failing or ("clock" if self._clocks_disagree() else ""),
            failures=dict(sender.failures),
        )

    def change(self, settings: InfluxSettings, server: WriteServer) -> None:
        """Deliver to `server` with other settings from now on; the store does not change."""
        self._tags = settings.tags
        self.sender.change(server, settings.batch, settings.timeout)

    def is_stalled(self) -> bool:
        """Return whether delivery has ended without being stopped."""
        return self.sender.is_stalled()

    def unavailable(self) -> str:
        """Return why points wait in memory instead of on disk, "" if they do not."""
        return self.store.unavailable()

    def start(self) -> None:
        """Begin to deliver."""
        self.sender.start()

    def stop(self, grace_seconds: float) -> None:
        """End delivery and release the store; all accepted points are on disk."""
        self.sender.stop(grace_seconds)
        self.store.close()

    def drain(self, on_progress: Callable[[int], None]) -> str:
        """Deliver what waits, without the thread; return why some of it was not delivered.

        `on_progress` receives the number of waiting points. The result is "" if all was delivered,
        apart from parked lines.
        """
        while (wait := self.sender.deliver_once()) is not None:
            if wait and not self.sender.shrinking:
                return self._failing() or "the clock is not confirmed"
            on_progress(self.store.waiting)
        return ""

    def _failing(self) -> str:
        failing, apart = self.stats().failing, self.store.clock.disagreement
        if failing != "clock" or apart is None:
            return failing
        return f"the clock shows {utc(apart[0])}, the server's {utc(apart[1])}"

    def _clocks_disagree(self) -> bool:
        return self.store.has_unstamped and self.store.clock.disagreement is not None

    def _answered(self, result: WriteResult) -> None:
        """Compare the clock with the server's, and stamp the points that waited for it."""
        if not result.answered:
            return
        # An error without a date may be from anything, such as a TLS port that received http.
        if result.server_time is not None or result.outcome == "written":
            self.store.clock.compare(result.server_time)
        more = self.store.has_unstamped
        while more:
            more = self.store.stamp_some()
            time.sleep(PAUSE_SECONDS)
            self.sender.wake()


def open_server(settings: InfluxSettings) -> WriteServer:
    """Return the write endpoint of a configuration; raises `ConfigError` for its secrets."""
    access = Access(settings.timeout, settings.verify_tls, settings.ca_file)
    if settings.api == "v1":
        return ServerV1(settings.url, settings.bucket, *settings.login(), access)
    return ServerV2(settings.url, settings.org, settings.bucket, settings.token(), access)


def open_agent(settings: InfluxSettings) -> Agent:
    """Return the push agent of a configuration; raises `ConfigError` or `UsageError`."""
    return Agent(
        Path(settings.spool),
        settings.spool_limit,
        open_server(settings),
        settings.tags,
        settings.batch,
        settings.timeout,
    )
