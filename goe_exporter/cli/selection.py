"""Which chargers a command means: hosts of the command line, or chargers of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import Connection, connection
from goe_exporter.errors import UsageError


class Chosen(NamedTuple):
    """A charger: how it is reached, and the labels of the configuration."""

    connection: Connection
    labels: Mapping[str, str]


def chosen(
    arguments: tuple[str, ...], config_file: str | None, api: Api, token_file: str | None
) -> list[Chosen]:
    """Return the chargers of the arguments; without arguments, all of the configuration.

    An argument is the name of a charger in the configuration, or `[NAME=]HOST`. Raises
    `UsageError` without a charger, and `ConfigError` for a bad configuration or argument.
    """
    configured = {} if config_file is None else _configured(config_file)
    found = list(configured.values()) if not arguments else []
    hosts = {each.connection.host: each for each in configured.values()}
    for text in arguments:
        here = configured.get(text) or hosts.get(text)
        found.append(here or Chosen(connection(text, api, token_file), {}))
        if here is None and (name := found[-1].connection.name) in configured:
            raise UsageError(f"{name!r:.80} is a charger of {config_file}: give its name alone")
    options_given = api != "auto" or token_file is not None
    if options_given and found and all(each in configured.values() for each in found):
        raise UsageError("--config: --api and --token-file are not allowed with it")
    if not found:
        raise UsageError("no charger: give [NAME=]HOST, or --config FILE with chargers")
    names = [each.connection.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"chargers: duplicate charger name {name!r:.80}")
    return found


def _configured(config_file: str) -> dict[str, Chosen]:
    """Return the chargers of a configuration file by name."""
    # Imported here: without a configuration, pydantic is not needed, and start-up is fast.
    from goe_exporter.service.config import load  # noqa: PLC0415

    config = load(config_file)
    return {
        charger.name: Chosen(charger.connection(config.environment_proxies), charger.labels)
        for charger in config.chargers
    }
