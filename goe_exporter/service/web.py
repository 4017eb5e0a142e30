"""The web server of the service; not imported without one, which saves 9 MB of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from goe_exporter.http_server.server import Limits, Server
from goe_exporter.http_server.web_config import WebSettings
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service.self_metrics import Parts, providers
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.web import app
from goe_exporter.web.content import Content, SessionLog
from goe_exporter.web.history import History
from goe_exporter.web.paths import Paths


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
    parts: Parts,
    history: History | None,
    fault: Callable[[], str],
    paths: Paths,
    frame_ancestors: Sequence[str],
    sessions: Callable[[], SessionSettings | None],
) -> app.Application:
    """Return the web application of a service's parts.

    `sessions` returns the settings of charging sessions, None without; it shows them if the
    settings say so at the start.
    """
    scheduler, delivery = parts.scheduler, parts.delivery

    def views() -> list[ChargerView]:
        return [each.view() for each in scheduler.pollers]

    def find(name: str) -> ChargerView | None:
        # Only the view of this charger is made: a large fleet is asked for one after the other.
        return next((each.view() for each in scheduler.pollers if each.name == name), None)

    own = [*providers(parts), process_metrics()]
    exposition = Exposition(views, own, scheduler.is_behind)
    influx = None if delivery is None else lambda: asdict(delivery())
    content = Content(
        views, exposition, history, influx, fault, find, parts.surplus, _log(sessions, parts)
    )
    return app.application(content, paths, frame_ancestors)


def _log(sessions: Callable[[], SessionSettings | None], parts: Parts) -> SessionLog | None:
    """Return the sessions to show, None if none are."""
    first = sessions()
    if first is None or not first.web:
        return None
    return SessionLog(lambda: sessions() or first, parts.card_names)
