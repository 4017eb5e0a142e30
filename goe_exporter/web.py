"""The web application: `/metrics`, the JSON API, health and a landing page (DESIGN §5).

Everything is read-only and answered from snapshots: no request ever reaches a charger.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from goe_exporter import __version__
from goe_exporter.model import ChargerView, InfluxVitals, Kind, Reading
from goe_exporter.prometheus import Exposition

Application = Starlette
Views = Callable[[], Sequence[ChargerView]]

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def application(
    views: Views, exposition: Exposition, influx: Callable[[], InfluxVitals] | None = None
) -> Starlette:
    """Return the web application over what `views` shows and `exposition` renders.

    With `influx`, how delivery to InfluxDB goes is shown too.

    The handlers are plain functions, so they run in threads and a large scrape holds up nobody.
    """

    def metrics(request: Request) -> Response:
        body, content_type = exposition.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    def chargers(_request: Request) -> Response:
        return JSONResponse({"chargers": [as_json(view) for view in views()]})

    def delivery(_request: Request) -> Response:
        return JSONResponse(None if influx is None else asdict(influx()))

    def ready(_request: Request) -> Response:
        waiting = [view.name for view in views() if view.vitals.up is None]
        if waiting:
            return PlainTextResponse(f"{len(waiting)} not polled yet\n", status_code=503)
        return PlainTextResponse("ready\n")

    def healthy(_request: Request) -> Response:
        return PlainTextResponse("healthy\n")

    def landing(_request: Request) -> Response:
        return HTMLResponse(_landing_page(views()), headers=SECURITY_HEADERS)

    routes = {
        "/": landing,
        "/metrics": metrics,
        "/api/v1/chargers": chargers,
        "/api/v1/influx": delivery,
        "/-/healthy": healthy,
        "/-/ready": ready,
    }
    app = Starlette(
        routes=[Route(path, handler, methods=["GET"]) for path, handler in routes.items()],
        middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=4)],
    )
    app.router.redirect_slashes = False
    return app


def as_json(view: ChargerView) -> dict[str, object]:
    """Return a charger for the JSON API; numbers are in the table's units (V, A, W, Wh, °C, s).

    A row with several parts is an object of them, a state has its word and number, and what is
    absent is not there.
    """
    readings: dict[str, object] = {}
    for reading in _readings(view):
        channel = reading.channel
        if channel.kind in (Kind.STATE, Kind.REASON):
            readings[channel.name] = {"state": reading.value, "code": reading.code}
        elif channel.label and channel.kind is not Kind.TEXT:
            parts = readings.setdefault(channel.name, {})
            assert isinstance(parts, dict)
            parts[reading.label] = reading.value
        else:
            readings[channel.name] = reading.value
    return {
        "name": view.name,
        "host": view.host,
        "up": view.vitals.up,
        "failure": view.vitals.reason or None,
        "api": view.snapshot.api if view.snapshot else None,
        "age_seconds": view.age,
        "last_success_timestamp_seconds": view.vitals.last_success,
        "readings": readings,
    }


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>goe-exporter</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 48rem; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8885 }}
td {{ overflow-wrap: anywhere }}
</style></head><body>
<h1>goe-exporter</h1>
<table><thead><tr><th>Charger</th><th>State</th><th>Power</th><th>Data</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<p><a href="metrics">Metrics</a> · <a href="api/v1/chargers">JSON</a> · version {version}</p>
</body></html>
"""


def _landing_page(views: Sequence[ChargerView]) -> str:
    rows = "\n".join(_row(view) for view in views)
    return _PAGE.format(rows=rows, version=html.escape(__version__))


def _row(view: ChargerView) -> str:
    values = {reading.channel.name: reading.value for reading in _readings(view)}
    power = values.get("power")
    cells = (
        view.name,
        str(values.get("car_state", "unreachable" if view.vitals.up is False else "no data")),
        f"{power / 1000:.2f} kW" if isinstance(power, float) else "–",
        "no answer yet" if view.age is None else f"{view.age:.0f} s old",
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _readings(view: ChargerView) -> Sequence[Reading]:
    return view.snapshot.readings if view.snapshot else ()
