"""The whole configuration: the sections of the file, and what the command line adds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from goe_exporter.charger.settings import CardNames, ChargerConfig
from goe_exporter.config import strict_yaml
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.config.values import interval
from goe_exporter.errors import ConfigError
from goe_exporter.influx.settings import InfluxSettings


class Config(Strict):
    """The configuration file; `refresh_interval` is in seconds once loaded.

    With `environment_proxies`, requests to chargers use the proxy in the environment. `cards` holds
    the names of RFID cards by number.
    """

    refresh_interval: Annotated[float, BeforeValidator(interval)] = 5.0
    environment_proxies: bool = False
    chargers: tuple[ChargerConfig, ...] = Field(default=())
    cards: CardNames = Field(default_factory=dict)
    influxdb: InfluxSettings | None = None


class RunConfig(NamedTuple):
    """What the service runs: the configuration file and the command line combined."""

    chargers: tuple[ChargerConfig, ...]
    interval_seconds: float
    environment_proxies: bool = False
    influxdb: InfluxSettings | None = None
    cards: Mapping[str, str] = MappingProxyType({})


def load(path: str) -> Config:
    """Load a configuration file; raises `ConfigError` with the file, the place and the rule."""
    return parse(strict_yaml.document(path), path)


def parse(document: object, source: str) -> Config:
    """Return the configuration of a parsed document; raises `ConfigError` naming `source`."""
    config = strict_yaml.validated(Config, document, source)
    check_names(config.chargers, source)
    for index, charger in enumerate(config.chargers):
        try:
            charger.connection()
        except ConfigError as error:
            raise ConfigError(f"{source}: chargers[{index}].token_file: {error}") from error
    if config.influxdb is not None:
        config.influxdb.check(source)
    return config


def check_names(chargers: tuple[ChargerConfig, ...], source: str) -> None:
    """Raise `ConfigError` if two chargers have the same name."""
    seen: set[str] = set()
    for charger in chargers:
        if charger.name in seen:
            raise ConfigError(f"{source}: duplicate charger name {charger.name!r}")
        seen.add(charger.name)
