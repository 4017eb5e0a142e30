"""The web server of the service; not imported without one, which saves 9 MB of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict

from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.http_server.server import Limits, Server
from goe_exporter.http_server.web_config import WebSettings
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service.self_metrics import Reload, providers
from goe_exporter.service.sharding import Shard
from goe_exporter.sessions.bookkeeper import StoreStats
from goe_exporter.web import app
from goe_exporter.web.history import History
from goe_exporter.web.paths import AT_ROOT, Paths


def open_server(
    addresses: Iterable[tuple[str, int]],
    settings: WebSettings,
    paths: Paths,
    limits: Limits | None = None,
    *,
    open_health: bool,
) -> Server:
    """Return a server that listens on `addresses`; with `open_health` health needs no password."""
    open_paths = paths.health if open_health else ()
    return Server(addresses, settings, limits, open_paths=open_paths, home=f"{paths.prefix}/")


def application(
    scheduler: Scheduler,
    last_reload: Callable[[], Reload],
    delivery: Callable[[], DeliveryStats] | None,
    history: History | None,
    fault: Callable[[], str],
    card_names: Callable[[], Mapping[str, str]] = dict,
    paths: Paths = AT_ROOT,
    shard: Shard | None = None,
    store: Callable[[], StoreStats] | None = None,
    *,
    frame_ancestors: Sequence[str],
    surplus: Callable[[], SurplusVitals] | None = None,
) -> app.Application:
    """Return the web application of a service's parts.

    `delivery` is None without InfluxDB, `store` without sessions, `surplus` unless a charger is
    controlled.
    """

    def views() -> list[ChargerView]:
        return [each.view() for each in scheduler.pollers]

    def find(name: str) -> ChargerView | None:
        # Only the view of this charger is made: a large fleet is asked for one after the other.
        return next((each.view() for each in scheduler.pollers if each.name == name), None)

    own = [
        *providers(scheduler, last_reload, delivery, card_names, shard, store, surplus),
        process_metrics(),
    ]
    influx = None if delivery is None else lambda: asdict(delivery())
    return app.application(
        views,
        Exposition(views, own, scheduler.is_behind),
        history,
        influx,
        fault,
        paths,
        frame_ancestors,
        find,
        surplus,
    )
