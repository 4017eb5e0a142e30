"""The metrics of the process and of Python, as prometheus_client collects them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from goe_exporter.prometheus.families import Family, Provider, Sample


def process_metrics() -> Provider:
    """Return a provider of the process' families."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)

    def families() -> Iterator[Family]:
        for metric in registry.collect():
            samples = [Sample(each.name, each.labels, each.value) for each in metric.samples]
            yield Family(metric.name, metric.documentation, metric.type, samples)

    return families
