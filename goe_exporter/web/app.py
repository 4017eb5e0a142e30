"""The web application: `/metrics`, the live page, the JSON API and health checks.

Everything is read-only: no request ever reaches a charger. All but the charging sessions is
answered from memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.model import Table
from goe_exporter.channels.table import CHARGER
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.negotiation import negotiated
from goe_exporter.prometheus.text_format import Format
from goe_exporter.web import json_api, openapi, pages
from goe_exporter.web.content import Content
from goe_exporter.web.history import MAX_MINUTES
from goe_exporter.web.locale import Locale
from goe_exporter.web.methods import METHODS, ReadOnlyRoute, options_of_server
from goe_exporter.web.middleware import NO_STORE, security_headers, undecoded_path
from goe_exporter.web.overview import ALL_CHARGERS, Selection, selection
from goe_exporter.web.parameters import whole_number
from goe_exporter.web.paths import AT_ROOT, DISCOVERY, HEALTH, PROBE, Paths
from goe_exporter.web.renderer import Renderer
from goe_exporter.web.representation import combined, is_current, reader_locale
from goe_exporter.web.session_routes import SessionHandlers
from goe_exporter.web.targets import Targets, asked

Application = Starlette
Endpoint = Callable[[Request], Response] | Callable[[Request], Awaitable[Response]]

NO_FRAMES = ("'none'",)
CACHE_FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"


def application(
    content: Content, paths: Paths = AT_ROOT, frame_ancestors: Sequence[str] = NO_FRAMES
) -> Application:
    """Return the web application, which shows `content` at `paths`.

    `frame_ancestors` are the sources of the directive of that name.
    """
    targets = Targets(content, paths)
    handlers = _Handlers(content, paths)
    health: dict[str, Endpoint] = dict(zip(HEALTH, (handlers.healthy, handlers.ready), strict=True))
    shared = Renderer().shared
    routes = {
        paths.metrics: shared(handlers.metrics, _format),
        PROBE: shared(targets.probe, _format),
        DISCOVERY: shared(targets.sd, asked),
        "/api/v1/influx": shared(handlers.influx_json),
    } | health
    if content.history is not None:
        routes |= {
            "/": shared(handlers.root, _edition),
            "/charger/{name}": shared(handlers.charger, _edition),
            "/assets/{name}": shared(_asset),
            "/api/v1/openapi.json": shared(handlers.openapi),
            "/api/v1/chargers": shared(handlers.chargers_json),
            "/api/v1/chargers/{name}": shared(handlers.charger_json),
            "/api/v1/controllers": shared(handlers.controllers_json),
            "/api/v1/controllers/{name}": shared(handlers.controller_json),
            "/api/v1/chargers/{name}/history": shared(handlers.history_json),
        }
    if content.history is not None and content.sessions is not None:
        apart = Renderer().shared
        sessions = SessionHandlers(content.sessions, paths, frame_ancestors)
        routes |= {path: apart(each, _edition) for path, each in sessions.routes().items()}
    routes = {f"{paths.prefix}{path}": handler for path, handler in routes.items()} | health
    if content.history is not None and paths.prefix:
        routes = dict.fromkeys({"/", paths.prefix} - {paths.home}, handlers.redirect) | routes
    app = Starlette(
        routes=[ReadOnlyRoute(path, handler, methods=METHODS) for path, handler in routes.items()],
        middleware=[
            Middleware(undecoded_path),
            Middleware(security_headers, frame_ancestors),
            Middleware(options_of_server),
        ],
    )
    app.router.redirect_slashes = False
    return app


@dataclass(frozen=True)
class _Handlers:
    """One method per route, called in a thread: in that of the renderer, or for health in others.

    A large scrape blocks no health check.
    """

    content: Content
    paths: Paths

    @property
    def _sessions(self) -> bool:
        """Whether charging sessions are shown."""
        return self.content.sessions is not None

    def _named(self, request: Request, table: Table = CHARGER) -> ChargerView | None:
        """Return the device of a table that the path names."""
        view = self.content.find(_name(request))
        return view if view is not None and view.table is table else None

    def redirect(self, _request: Request) -> Response:
        """Redirect from outside the prefix to the page."""
        return RedirectResponse(self.paths.home, 302)

    def root(self, request: Request) -> Response:
        """Return the overview, or the charger's page if there is only one charger."""
        views, houses = self.content.chargers_and_controllers()
        if len(views) != 1:
            selected = selection(request.query_params)
            return _page(
                request,
                [*views, *houses],
                lambda locale: pages.overview(
                    views,
                    locale,
                    selected,
                    self.paths.metrics_link,
                    houses,
                    sessions=self._sessions,
                ),
                selected,
            )
        return self._charger_page(request, views[0], houses, root="", several=False)

    def charger(self, request: Request) -> Response:
        views, houses = self.content.chargers_and_controllers()
        name = _name(request)
        view = next((view for view in views if view.name == name), None)
        if view is None:
            return HTMLResponse(
                pages.missing(reader_locale(request.headers), self.paths.metrics_link), 404
            )
        return self._charger_page(request, view, houses, root="../", several=len(views) > 1)

    def _charger_page(
        self,
        request: Request,
        view: ChargerView,
        houses: Sequence[ChargerView],
        *,
        root: str,
        several: bool,
    ) -> Response:
        surplus, metrics = self.content.control_of(view), self.paths.metrics_link

        def render(locale: Locale) -> str:
            return pages.charger(
                view,
                locale,
                root=root,
                several=several,
                metrics=metrics,
                surplus=surplus,
                houses=houses,
                sessions=self._sessions,
            )

        return _page(request, [view, *houses], render, surplus=surplus)

    def metrics(self, request: Request) -> Response:
        """Return all metrics, and with `chargers=none` the exporter's own."""
        chargers = request.query_params.getlist("chargers")
        if chargers not in ([], ["none"]):
            return PlainTextResponse("chargers: must be none, given once, or absent\n", 400)
        accept = combined(request.headers, "accept")
        body, content_type = self.content.exposition.render(accept, chargers=not chargers)
        return Response(body, headers={"Content-Type": content_type, "Vary": "Accept"})

    def openapi(self, _request: Request) -> Response:
        return JSONResponse(
            openapi.openapi(
                CHARGER,
                CONTROLLER,
                self.paths.external_url or self.paths.prefix or "/",
                sessions=self._sessions,
            )
        )

    def chargers_json(self, _request: Request) -> Response:
        return self._all_json(CHARGER)

    def charger_json(self, request: Request) -> Response:
        return self._one_json(request, CHARGER)

    def controllers_json(self, _request: Request) -> Response:
        return self._all_json(CONTROLLER)

    def controller_json(self, request: Request) -> Response:
        return self._one_json(request, CONTROLLER)

    def _all_json(self, table: Table) -> Response:
        views = (view for view in self.content.views() if view.table is table)
        # One by one, because no other thread runs while Python's encoder is at work.
        devices = (self._json(view).body for view in views)
        body = b'{"%s":[' % table.section.encode() + b",".join(devices) + b"]}"
        return Response(body, media_type="application/json")

    def _one_json(self, request: Request, table: Table) -> Response:
        view = self._named(request, table)
        return _unknown(request, table) if view is None else self._json(view)

    def _json(self, view: ChargerView) -> JSONResponse:
        return JSONResponse(json_api.as_json(view, self.content.control_of(view)))

    def history_json(self, request: Request) -> Response:
        view = self._named(request)
        if view is None:
            return _unknown(request)
        text = request.query_params.get("minutes", str(MAX_MINUTES))
        try:
            minutes = whole_number("minutes", text, 1, MAX_MINUTES)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        assert self.content.history is not None
        timeline = self.content.history.timeline(view.name, minutes, view.interval_seconds)
        return JSONResponse(json_api.history_json(view, minutes, timeline))

    def influx_json(self, _request: Request) -> Response:
        influx = self.content.influx
        return JSONResponse(None if influx is None else influx())

    def healthy(self, _request: Request) -> Response:
        """Return 200 unless a component has stalled or the spool is unavailable."""
        if fault := self.content.fault():
            return PlainTextResponse(f"{fault}\n", 503)
        return PlainTextResponse("healthy\n")

    def ready(self, _request: Request) -> Response:
        """Return 200 once every device has been polled."""
        waiting = sum(view.stats.up is None for view in self.content.views())
        if waiting:
            return PlainTextResponse(f"{waiting} not polled yet\n", 503)
        return PlainTextResponse("ready\n")


def _page(
    request: Request,
    views: Sequence[ChargerView],
    render: Callable[[Locale], str],
    selected: Selection = ALL_CHARGERS,
    surplus: SurplusVitals | None = None,
) -> Response:
    """Return a page in the reader's locale, or 304 if the client has it already.

    Browsers must not cache pages: a page with the same tag can have other ages later. A client
    that sends the tag, such as the page's script, keeps counting the ages itself.
    """
    locale = reader_locale(request.headers)
    tag = pages.fingerprint(views, locale, selected, surplus)
    headers = {
        "Cache-Control": NO_STORE,
        "Content-Language": locale.tag,
        "ETag": tag,
        "Vary": "Accept-Language",
    }
    if is_current(combined(request.headers, "if-none-match"), tag):
        vary = "Accept-Language, Accept-Encoding"
        return Response(status_code=304, headers=headers | {"Vary": vary})
    return HTMLResponse(render(locale), headers=headers)


def _format(request: Request) -> Format:
    return negotiated(combined(request.headers, "accept"))


def _edition(request: Request) -> tuple[Locale, str]:
    """Return what a page depends on in the headers of a request."""
    return reader_locale(request.headers), combined(request.headers, "if-none-match")


def _name(request: Request) -> str:
    """Return the name of a charger in the path."""
    return unquote(request.path_params["name"])


def _unknown(request: Request, table: Table = CHARGER) -> Response:
    return JSONResponse({"error": f"no {table.device} is named {_name(request)!r:.80}"}, 404)


def _asset(request: Request) -> Response:
    """Return a file of the page; clients may cache the current version forever."""
    asset = pages.assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("Not Found", 404)
    current = request.query_params.get("v") == asset.version
    headers = {
        "Cache-Control": CACHE_FOREVER if current else REVALIDATE,
        "Content-Type": asset.content_type,
    }
    return Response(asset.body, headers=headers)
