"""The web application: `/metrics`, the live page, the JSON API and health (DESIGN §5).

Everything is read-only and answered from memory: no request ever reaches a charger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goe_exporter.channels.table import CHANNELS
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.web import json_api, pages
from goe_exporter.web.history import LONGEST_MINUTES, History
from goe_exporter.web.locale import Language, preferred

Application = Starlette
Views = Callable[[], Sequence[ChargerView]]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
KEPT_FOR_EVER = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"
NEVER_KEPT = "no-store"


def application(
    views: Views,
    exposition: Exposition,
    history: History | None,
    influx: Callable[[], Mapping[str, object]] | None = None,
    unwell: Callable[[], str] = lambda: "",
) -> Application:
    """Return the web application over what `views` shows and `exposition` renders.

    `history` holds the last hour; without it there is no page and no API of the chargers. With
    `influx`, how delivery to InfluxDB goes is shown too.
    `unwell` says what is wrong with the exporter, if anything is.

    The handlers are plain functions, so they run in threads and a large scrape holds up nobody.
    """

    def metrics(request: Request) -> Response:
        body, content_type = exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    def delivery(_request: Request) -> Response:
        return JSONResponse(None if influx is None else influx())

    routes = {
        "/metrics": metrics,
        "/api/v1/influx": delivery,
        **_health(views, unwell),
    }
    if history is not None:
        routes |= {"/assets/{name}": _asset, **_pages(views), **_api(views, history)}
    app = Starlette(
        routes=[Route(path, handler, methods=["GET"]) for path, handler in routes.items()],
        middleware=[
            Middleware(_UndecodedPath),
            Middleware(_Secured),
            Middleware(GZipMiddleware, minimum_size=1024, compresslevel=4),
        ],
    )
    app.router.redirect_slashes = False
    return app


_Handlers = dict[str, Callable[[Request], Response]]


def _health(views: Views, unwell: Callable[[], str]) -> _Handlers:
    """Return whether it lives, and whether every charger was polled once."""

    def ready(_request: Request) -> Response:
        waiting = [view.name for view in views() if view.stats.up is None]
        if waiting:
            return PlainTextResponse(f"{len(waiting)} not polled yet\n", status_code=503)
        return PlainTextResponse("ready\n")

    def healthy(_request: Request) -> Response:
        if what := unwell():
            return PlainTextResponse(f"{what}\n", status_code=503)
        return PlainTextResponse("healthy\n")

    return {"/-/healthy": healthy, "/-/ready": ready}


def _pages(views: Views) -> _Handlers:
    """Return the live page: all chargers, and each; a single one is shown at the root too."""

    def root(request: Request) -> Response:
        shown = views()
        if len(shown) == 1:
            return _page(
                request,
                shown,
                lambda language: pages.charger(shown[0], language, root="", several=False),
            )
        return _page(request, shown, lambda language: pages.overview(shown, language))

    def charger(request: Request) -> Response:
        shown = views()
        view = _named(request, shown)
        if view is None:
            language = preferred(request.headers.get("accept-language", ""))
            return HTMLResponse(pages.missing(language), 404)
        return _page(
            request,
            [view],
            lambda language: pages.charger(view, language, root="../", several=len(shown) > 1),
        )

    return {"/": root, "/charger/{name}": charger}


def _page(
    request: Request, views: Sequence[ChargerView], render: Callable[[Language], str]
) -> Response:
    """Return a page in the reader's language, or 304 if they have it already.

    A browser keeps none, since the same page later has other ages; who asks with the tag, as the
    page's script does, counts them on.
    """
    language = preferred(request.headers.get("accept-language", ""))
    tag = pages.fingerprint(views, language)
    headers = {
        "Cache-Control": NEVER_KEPT,
        "Content-Language": language.tag,
        "ETag": tag,
        "Vary": "Accept-Language",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return HTMLResponse(render(language), headers=headers)


def _api(views: Views, history: History) -> _Handlers:
    """Return the JSON API."""
    description = json_api.openapi(CHANNELS)

    def openapi(_request: Request) -> Response:
        return JSONResponse(description)

    def chargers(_request: Request) -> Response:
        return JSONResponse({"chargers": [json_api.as_json(view) for view in views()]})

    def charger(request: Request) -> Response:
        view = _named(request, views())
        return _unknown(request) if view is None else JSONResponse(json_api.as_json(view))

    def last_hour(request: Request) -> Response:
        view = _named(request, views())
        if view is None:
            return _unknown(request)
        text = request.query_params.get("minutes", str(LONGEST_MINUTES))
        minutes = int(text) if text.isascii() and text.isdecimal() and len(text) <= 2 else 0
        if not 1 <= minutes <= LONGEST_MINUTES:
            wanted = f"a whole number from 1 to {LONGEST_MINUTES}"
            return JSONResponse({"error": f"minutes: {wanted}, not {text!r:.80}"}, 400)
        timeline = history.timeline(view.name, minutes, view.interval_seconds)
        return JSONResponse(json_api.history_json(view, minutes, timeline))

    return {
        "/api/v1/openapi.json": openapi,
        "/api/v1/chargers": chargers,
        "/api/v1/chargers/{name}": charger,
        "/api/v1/chargers/{name}/history": last_hour,
    }


def _named(request: Request, views: Sequence[ChargerView]) -> ChargerView | None:
    """Return the charger that the path names."""
    name = unquote(request.path_params["name"])
    return next((view for view in views if view.name == name), None)


def _unknown(request: Request) -> Response:
    name = unquote(request.path_params["name"])
    return JSONResponse({"error": f"no charger is named {name!r:.80}"}, 404)


def _asset(request: Request) -> Response:
    """Return a file of the page; one asked for by its version may be kept for ever."""
    asset = pages.assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("Not Found", 404)
    current = request.query_params.get("v") == asset.version
    headers = {
        "Cache-Control": KEPT_FOR_EVER if current else ASKED_AGAIN,
        "Content-Type": asset.content_type,
    }
    return Response(asset.body, headers=headers)


class _UndecodedPath:
    """Lets routes see the path as it was sent, so that `%2F` in a name is no slash."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: Any = scope.get("raw_path")
        if raw:
            scope = dict(scope, path=raw.decode("ascii", "replace"))
        await self._app(scope, receive, send)


class _Secured:
    """Gives every answer the security headers, whatever it is, and keeps it out of caches.

    An answer that may be kept says so itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", NEVER_KEPT)
            await send(message)

        await self._app(scope, receive, secured)
