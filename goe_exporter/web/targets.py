"""Prometheus' targets: `/sd` lists the chargers, and `/probe` has the metrics of one of them.

`/probe` never polls. The interface is that of an exporter of several targets, but an open
`target` would let any client send requests, and the tokens of chargers, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from goe_exporter.channels.model import Kind
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.web.paths import PROBE, Paths
from goe_exporter.web.representation import combined

META_LABELS = ("serial", "model", "firmware")
"""Labels of the device's identity that `/sd` passes on as `__meta_goe_…`."""

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*))(:[0-9]{1,5})?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Targets:
    """The handlers of `/probe` and `/sd`; `find` returns the charger with a name."""

    views: Callable[[], Sequence[ChargerView]]
    find: Callable[[str], ChargerView | None]
    exposition: Exposition
    paths: Paths

    def probe(self, request: Request) -> Response:
        """Return the series of one charger, also while it is down."""
        names = request.query_params.getlist("target")
        if len(names) != 1 or not names[0]:
            rule = "must be given once, such as /probe?target=garage"
            return PlainTextResponse(f"target: {rule}\n", 400)
        view = self.find(names[0])
        if view is None:
            return PlainTextResponse(f"no charger is named {names[0]!r:.80}\n", 404)
        accept = combined(request.headers, "accept")
        body, content_type = self.exposition.render_charger(view, accept)
        return Response(body, headers={"Content-Type": content_type, "Vary": "Accept"})

    def sd(self, request: Request) -> Response:
        """Return a target for each charger, in the format of Prometheus' HTTP service discovery."""
        external = urlsplit(self.paths.external_url)
        scheme = external.scheme or request.url.scheme
        address = _with_port(external.netloc or request.headers.get("host", ""), scheme)
        if address is None:
            rule = "must be HOST or HOST:PORT, unless --web.external-url is set"
            return PlainTextResponse(f"Host: {rule}\n", 400)
        common = {"__scheme__": scheme, "__metrics_path__": f"{self.paths.home}{PROBE.lstrip('/')}"}
        return JSONResponse(
            [{"targets": [address], "labels": {**common, **_labels(view)}} for view in self.views()]
        )


def asked(request: Request) -> tuple[str, str]:
    """Return the scheme and the `Host` of a request, on which the response of `/sd` depends."""
    return request.url.scheme, request.headers.get("host", "")


def _labels(view: ChargerView) -> dict[str, str]:
    """Return the labels of a charger; what is not known of the device is absent."""
    device = {
        channel.label: str(value)
        for channel, _label, value, _code in view.readings
        if channel.kind is Kind.TEXT
    }
    meta = {f"__meta_goe_{name}": device[name] for name in META_LABELS if device.get(name)}
    return {"__param_target": view.name, **meta}


def _with_port(address: str, scheme: str) -> str | None:
    """Return HOST:PORT, None if the address is invalid; Prometheus 3 adds no default port."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return None
    return address if match[1] else f"{address}:{_PORTS[scheme]}"
