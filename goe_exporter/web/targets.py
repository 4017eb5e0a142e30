"""Prometheus' targets: `/sd` lists the chargers, and `/probe` has the metrics of one of them.

`/probe` never polls. The interface is that of an exporter of several targets, but an open
`target` would let any client send requests, and the tokens of chargers, anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from goe_exporter.channels.model import Kind
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.content import Content
from goe_exporter.web.paths import PROBE, Paths
from goe_exporter.web.representation import combined

META_LABELS = ("serial", "model", "firmware")
"""Labels of the device's identity that `/sd` passes on as `__meta_goe_…`."""

_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_MAX_PORT = 65_535
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Targets:
    """The handlers of `/probe` and `/sd`."""

    content: Content
    paths: Paths

    def probe(self, request: Request) -> Response:
        """Return the series of one charger, also while it is down."""
        names = request.query_params.getlist("target")
        if len(names) != 1 or not names[0]:
            rule = "must be given once, such as /probe?target=garage"
            return PlainTextResponse(f"target: {rule}\n", 400)
        view = self.content.find(names[0])
        if view is None:
            return PlainTextResponse(f"no charger is named {names[0]!r:.80}\n", 404)
        accept = combined(request.headers, "accept")
        body, content_type = self.content.exposition.render_charger(view, accept)
        return Response(body, headers={"Content-Type": content_type, "Vary": "Accept"})

    def sd(self, request: Request) -> Response:
        """Return a target for each charger, in the format of Prometheus' HTTP service discovery."""
        external = urlsplit(self.paths.external_url)
        scheme = external.scheme or request.url.scheme
        address = external.netloc or request.headers.get("host", "")
        if not external.netloc and not _is_address(address):
            rule = "must be HOST or HOST:PORT, unless --web.external-url is set"
            return PlainTextResponse(f"Host: {rule}\n", 400)
        if urlsplit(f"//{address}").port is None:  # Prometheus 3 adds no default port
            address = f"{address}:{_PORTS[scheme]}"
        common = {"__scheme__": scheme, "__metrics_path__": f"{self.paths.home}{PROBE.lstrip('/')}"}
        return JSONResponse(
            [
                {"targets": [address], "labels": {**common, **_labels(view)}}
                for view in self.content.views()
            ]
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


def _is_address(text: str) -> bool:
    """Return whether a text is HOST or HOST:PORT, with a name or an IP address as the host."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match["port"] or 1) <= _MAX_PORT:
        return False
    try:
        return match["ipv6"] is None or bool(IPv6Address(match["ipv6"]))
    except ValueError:
        return False
