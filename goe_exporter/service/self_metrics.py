"""The exporter's own metrics: a new one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from goe_exporter import __version__
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.prometheus.families import (
    Family,
    Provider,
    counter,
    counters,
    gauge,
    histogram,
    info,
)


class Reload(NamedTuple):
    """Whether the last reload succeeded, and the Unix time of the last successful one."""

    successful: bool
    last_success: float


def providers(
    scheduler: Scheduler,
    last_reload: Callable[[], Reload],
    delivery: Callable[[], DeliveryStats] | None = None,
) -> list[Provider]:
    """Return the providers of a service's parts; `delivery` is None without InfluxDB."""
    found: list[Provider] = [partial(polling, scheduler), lambda: configuration(last_reload())]
    if delivery is not None:
        found.append(lambda: influx(delivery()))
    return found


def polling(scheduler: Scheduler) -> Iterator[Family]:
    """Yield the families of the build and of all chargers' polls together."""
    yield info("goe_exporter_build", "Version of the exporter.", {"version": __version__})
    for name, help_text, times in (
        ("duration", "Duration of the polls of all chargers.", scheduler.duration),
        ("lateness", "Delay of the polls after their scheduled time.", scheduler.lateness),
    ):
        full_name = f"goe_exporter_poll_{name}_seconds"
        yield histogram(full_name, help_text, times.buckets(), times.sum)
    help_text = "Polls aborted by an internal error."
    yield counter("goe_exporter_defects", help_text, scheduler.internal_errors)


def configuration(reload: Reload) -> Iterator[Family]:
    """Yield the families of the last read of the configuration."""
    prefix = "goe_config_last_reload"
    help_text = "Whether the last reload of the configuration succeeded."
    yield gauge(f"{prefix}_successful", help_text, reload.successful)
    help_text = "Unix time of the last successful reload of the configuration."
    yield gauge(f"{prefix}_success_timestamp_seconds", help_text, reload.last_success)


def influx(stats: DeliveryStats) -> Iterator[Family]:
    """Yield the families of the delivery to InfluxDB."""
    points = {result: getattr(stats, result) for result in ("written", "rejected", "dropped")}
    yield counters("goe_influx_points", "InfluxDB points by result.", "result", points)
    yield gauge("goe_influx_spooled_points", "InfluxDB points waiting on disk.", stats.spooled)
    yield gauge("goe_influx_spool_bytes", "Size of the InfluxDB spool on disk.", stats.spool_bytes)
    if stats.oldest is not None:
        help_text = "Timestamp of the oldest InfluxDB point waiting on disk."
        yield gauge("goe_influx_oldest_spooled_timestamp_seconds", help_text, stats.oldest)
    yield counter("goe_influx_damaged_records", "Unreadable records of the spool.", stats.damaged)
    if stats.failures:
        failures = dict(sorted(stats.failures.items()))
        help_text = "Failed InfluxDB writes that are retried, by reason."
        yield counters("goe_influx_write_failures", help_text, "reason", failures)
