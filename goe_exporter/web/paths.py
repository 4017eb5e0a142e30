"""The paths of the web server: below which prefix it answers, and where the metrics are."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from goe_exporter.errors import UsageError

METRICS = "/metrics"
HEALTH = ("/-/healthy", "/-/ready")
PROBE = "/probe"
DISCOVERY = "/sd"
RESERVED = ("/-", "/api", "/assets", "/charger", PROBE, DISCOVERY, "/sessions")
"""Paths that the metrics cannot have, nor a path below them, nor `/`."""


class Paths(NamedTuple):
    """Every path begins with `prefix`, which is empty or such as `/goe`; `metrics` follows it.

    `external_url` is where readers reach the exporter, such as `https://example.org/goe`, empty if
    that is not known. It differs from `prefix` behind a proxy that replaces or removes a prefix.
    """

    prefix: str = ""
    metrics: str = METRICS
    external_url: str = ""

    @property
    def home(self) -> str:
        """The path of the page as a reader's browser sees it."""
        return f"{urlsplit(self.external_url).path if self.external_url else self.prefix}/"

    @property
    def metrics_link(self) -> str:
        """The path of the metrics relative to the root of the exporter."""
        return self.metrics.lstrip("/")

    @property
    def health(self) -> frozenset[str]:
        """The paths of the health checks, which need not know the prefix."""
        return frozenset((*HEALTH, *(f"{self.prefix}{path}" for path in HEALTH)))


AT_ROOT = Paths()


def chosen(external_url: str | None, route_prefix: str | None, metrics: str | None) -> Paths:
    """Return the paths of the command line's options, None for one that is not given.

    Raises `UsageError` for a prefix below which the health checks would hide other paths.
    """
    external_url = external_url or ""
    prefix = urlsplit(external_url).path if route_prefix is None else route_prefix
    if prefix == "/-":
        option = "--web.external-url" if route_prefix is None else "--web.route-prefix"
        raise UsageError(f"{option}: the path must not be /-, which is that of the health checks")
    return Paths(prefix, metrics or METRICS, external_url)


def telemetry_path(path: str) -> str:
    """Return the path of the metrics; raises `ValueError` if the exporter uses it otherwise."""
    if f"/{path.split('/')[1]}" in RESERVED:
        taken = ", ".join(RESERVED)
        raise ValueError(f"must not be or begin with {taken}, which are reserved, not {path!r:.80}")
    return path
