"""The sources of a section, read together."""

from __future__ import annotations

import time

from goe_exporter.surplus.config import SourceConfig, SurplusConfig
from goe_exporter.surplus.follow import Number
from goe_exporter.surplus.http_source import DEADLINE_SECONDS
from goe_exporter.surplus.json_source import JsonSource
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.situation import Sample
from goe_exporter.surplus.source import Reading, Source


class Meters:
    """Reads what a section names; raises `ConfigError` for a secret that cannot be read."""

    def __init__(self, section: SurplusConfig) -> None:
        named = {"grid": section.grid, "battery": section.battery, "available": section.available}
        self.sources: dict[str, Source] = {
            name: source(name, config) for name, config in named.items() if config is not None
        }

    def sample(self) -> Sample:
        """Return what mode `control` decides on, as of the older one of two numbers.

        Takes 4 s at most. Raises `SourceError`; the last sample then only becomes older.
        """
        return sample(self._readings())

    def number(self) -> Number:
        """Return what mode `follow` follows; raises `SourceError`."""
        value, measured_at, _age_known = self._readings()["available"]
        return Number(value, measured_at)

    def _readings(self) -> dict[str, Reading]:
        until = time.monotonic() + DEADLINE_SECONDS
        return {name: each.read(until) for name, each in self.sources.items()}


def source(name: str, config: SourceConfig) -> Source:
    """Return the source that a part of the section describes."""
    return (PrometheusSource if config.kind == "prometheus" else JsonSource)(name, config)


def sample(readings: dict[str, Reading]) -> Sample:
    """Return the readings of `grid` and, if there is one, `battery` as one sample."""
    grid, battery = readings["grid"], readings.get("battery")
    return Sample(
        grid.value,
        min(each.measured_at for each in readings.values()),
        None if battery is None else battery.value,
        all(each.age_known for each in readings.values()),
    )
