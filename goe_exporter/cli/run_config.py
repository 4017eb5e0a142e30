"""Combines the configuration file with the command line."""

from __future__ import annotations

from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import charger_argument
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.errors import ConfigError, UsageError
from goe_exporter.service.config import MAX_REFRESH_S, Config, RunConfig, check_names, controlled
from goe_exporter.service.sharding import Shard


def run_config(
    loaded: Config,
    hosts: tuple[str, ...],
    api: Api,
    token_file: str | None,
    refresh_interval: float | None,
    *,
    environment_proxies: bool = False,
    shard: Shard | None = None,
) -> RunConfig:
    """Return the devices of a shard and the settings of both.

    Raises `UsageError` without a charger, and for `api` or `token_file` without one of `hosts`; a
    shard, and the charger files, may have none.
    """
    named = [charger_argument(text) for text in hosts]
    known = {each.name for each in (*loaded.chargers, *loaded.controllers)}
    for name, _host in named:
        if name in known:
            raise ConfigError(
                f"[NAME=]HOST: duplicate charger name {name!r}, as in the configuration"
            )
    chargers = (
        *loaded.chargers,
        *(
            ChargerConfig(name=name, host=host, api=api, token_file=token_file)
            for name, host in named
        ),
    )
    if not chargers and not loaded.controllers and not loaded.charger_files:
        raise UsageError("no charger: give [NAME=]HOST, or --config.file FILE with chargers")
    if not hosts and (api != "auto" or token_file is not None):
        raise UsageError(
            "--api and --token-file are for [NAME=]HOST arguments; the configuration has its own"
            " keys"
        )
    check_names(chargers, "chargers")
    own = tuple(each for each in chargers if shard is None or shard.polls(each.name))
    seconds = refresh_interval or loaded.refresh_interval
    charger = controlled(loaded.surplus, own)
    if charger is not None and charger.refresh_interval is None and seconds > MAX_REFRESH_S:
        raise UsageError(
            f"the surplus section requires --refresh-interval {MAX_REFRESH_S:.0f}s or less"
        )
    return RunConfig(
        own,
        seconds,
        environment_proxies=environment_proxies or loaded.environment_proxies,
        influxdb=loaded.influxdb,
        cards=loaded.cards,
        charger_files=loaded.charger_files,
        shard=shard,
        configured=len(chargers),
        surplus=None if charger is None else loaded.surplus,
        sessions=loaded.sessions,
        controllers=tuple(
            each for each in loaded.controllers if shard is None or shard.polls(each.name)
        ),
    )
