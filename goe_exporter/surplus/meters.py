"""The sources of a section, and their readings together."""

from __future__ import annotations

from collections.abc import Mapping

from goe_exporter.surplus.config import SourceConfig, SurplusConfig
from goe_exporter.surplus.json_source import JsonSource
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.situation import Sample
from goe_exporter.surplus.source import READ_SECONDS, Reading, Source, SourceError


def open_sources(section: SurplusConfig) -> dict[str, Source]:
    """Return the sources by name: `grid` and perhaps `battery` and `pv`, or `available`.

    Raises `ConfigError` for a token or password that cannot be read.
    """
    return {name: _source(name, config) for name, config in section.sources().items()}


def read_all(
    sources: Mapping[str, Source], now: float, seconds: float = READ_SECONDS
) -> tuple[dict[str, Reading], dict[str, SourceError]]:
    """Read sources one after the other; return the readings, and the errors of the others.

    `now` is the present time on the monotonic clock; all sources together may take `seconds`.
    """
    readings: dict[str, Reading] = {}
    failures: dict[str, SourceError] = {}
    for name, source in sources.items():
        try:
            readings[name] = source.read(now + seconds)
        except SourceError as error:
            failures[name] = error
    return readings, failures


def sample(readings: Mapping[str, Reading]) -> Sample:
    """Return the readings of `grid` and, if there is one, `battery` as one sample.

    It is as old as its older part.
    """
    grid, battery = readings["grid"], readings.get("battery")
    return Sample(
        grid.value,
        min(each.measured_at for each in readings.values()),
        None if battery is None else battery.value,
        all(each.age_known for each in readings.values()),
    )


def _source(name: str, config: SourceConfig) -> Source:
    return (PrometheusSource if config.kind == "prometheus" else JsonSource)(name, config)
