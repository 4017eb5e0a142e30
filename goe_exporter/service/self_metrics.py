"""The exporter's own metrics: a new one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from goe_exporter import __version__
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.prometheus.families import (
    Family,
    Provider,
    family,
    histogram,
    info,
    labelled,
)
from goe_exporter.service import session_metrics, surplus_metrics
from goe_exporter.service.sharding import Shard
from goe_exporter.sessions.bookkeeper import StoreStats


class Reload(NamedTuple):
    """Whether the last reload succeeded, and the Unix time of the last successful one."""

    successful: bool
    last_success: float


@dataclass(frozen=True)
class Parts:
    """The parts of a service that have metrics.

    `delivery` is None without InfluxDB, `store` without sessions, `surplus` unless a charger is
    controlled.
    """

    scheduler: Scheduler
    last_reload: Callable[[], Reload]
    delivery: Callable[[], DeliveryStats] | None = None
    card_names: Callable[[], Mapping[str, str]] = dict
    shard: Shard | None = None
    store: Callable[[], StoreStats] | None = None
    surplus: Callable[[], SurplusVitals] | None = None


def providers(parts: Parts) -> list[Provider]:
    """Return the providers of a service's parts."""
    scheduler, surplus, store = parts.scheduler, parts.surplus, parts.store
    shard, delivery = parts.shard, parts.delivery
    found: list[Provider] = [
        lambda: polling(scheduler, surplus),
        lambda: configuration(parts.last_reload()),
        lambda: cards(parts.card_names()),
    ]
    if shard is not None:
        found.append(lambda: sharding(shard))
    if delivery is not None:
        found.append(lambda: influx(delivery()))
    if surplus is not None:
        found.append(lambda: surplus_metrics.surplus(surplus()))
    if store is not None:
        found.append(lambda: sessions(store(), [each.name for each in scheduler.pollers]))
    return found


def polling(
    scheduler: Scheduler, surplus: Callable[[], SurplusVitals] | None = None
) -> Iterator[Family]:
    """Yield the families of the build and of all chargers' polls together."""
    yield info("goe_exporter_build", "Version of the exporter.", {"version": __version__})
    for name, help_text, times in (
        ("duration", "Duration of the polls of all chargers.", scheduler.duration),
        ("lateness", "Delay of the polls after their scheduled time.", scheduler.lateness),
    ):
        full_name = f"goe_exporter_poll_{name}_seconds"
        yield histogram(full_name, help_text, times.buckets(), times.sum)
    errors = scheduler.internal_errors + (surplus().internal_errors if surplus is not None else 0)
    yield family(
        "counter",
        "goe_exporter_defects",
        "Polls and control loops aborted by an internal error.",
        errors,
    )


def configuration(reload: Reload) -> Iterator[Family]:
    """Yield the families of the last read of the configuration."""
    yield family(
        "gauge",
        "goe_config_last_reload_successful",
        "Whether the last reload of the configuration succeeded.",
        reload.successful,
    )
    yield family(
        "gauge",
        "goe_config_last_reload_success_timestamp_seconds",
        "Unix time of the last successful reload of the configuration.",
        reload.last_success,
    )


def sharding(shard: Shard) -> Iterator[Family]:
    """Yield which of several processes this one is."""
    labels = {"shard": str(shard.number), "shards": str(shard.count)}
    yield info("goe_exporter_shard", "Number of this process, from 0, and of all.", labels)


def cards(names: Mapping[str, str]) -> Iterator[Family]:
    """Yield the names of RFID cards in the configuration, if there are any."""
    found = (({"card": card, "name": name}, 1) for card, name in names.items())
    help_text = "Names of RFID cards in the configuration."
    yield from labelled("gauge", "goe_card_info", help_text, found)


def influx(stats: DeliveryStats) -> Iterator[Family]:
    """Yield the families of the delivery to InfluxDB."""
    points = {result: getattr(stats, result) for result in ("written", "rejected", "dropped")}
    failures = dict(sorted(stats.failures.items())) or None
    oldest = "Timestamp of the oldest InfluxDB point waiting on disk."
    retried = "Failed InfluxDB writes that are retried, by reason."
    for kind, name, help_text, values, label in (
        ("counter", "points", "InfluxDB points by result.", points, "result"),
        ("gauge", "spooled_points", "InfluxDB points waiting on disk.", stats.spooled, ""),
        ("gauge", "spool_bytes", "Size of the InfluxDB spool on disk.", stats.spool_bytes, ""),
        ("gauge", "oldest_spooled_timestamp_seconds", oldest, stats.oldest, ""),
        ("counter", "damaged_records", "Unreadable records of the spool.", stats.damaged, ""),
        ("counter", "write_failures", retried, failures, "reason"),
    ):
        if values is not None:
            yield family(kind, f"goe_influx_{name}", help_text, values, label)


def sessions(stats: StoreStats, chargers: Iterable[str]) -> Iterator[Family]:
    """Yield the families of the session store, then those of the chargers with these names."""
    damaged = "Damaged session stores that were set aside."
    lost = "Charging sessions lost because the store could not be written for too long."
    for kind, name, help_text, value in (
        ("gauge", "session_store_bytes", "Size of the session store.", stats.size_bytes),
        (
            "counter",
            "session_store_failures",
            "Failed writes of the session store.",
            stats.failures,
        ),
        ("counter", "session_store_damaged", damaged, stats.damaged),
        ("counter", "sessions_lost", lost, stats.lost),
    ):
        yield family(kind, f"goe_{name}", help_text, value)
    yield from session_metrics.chargers(stats.chargers, chargers)
