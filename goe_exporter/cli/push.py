"""`goe-exporter push`: poll chargers and push their readings to InfluxDB."""

from __future__ import annotations

from typing import Any

import click

from goe_exporter import logs
from goe_exporter.charger.client import Api
from goe_exporter.cli import options
from goe_exporter.cli.run_config import run_config
from goe_exporter.errors import UsageError
from goe_exporter.http_server.web_config import WebSettings
from goe_exporter.service.config import ConfigFile, RunConfig
from goe_exporter.service.service import Service
from goe_exporter.service.sharding import Shard
from goe_exporter.web.paths import chosen


@click.command("push")
@options.hosts
@options.config_file("Configuration file (YAML) with an influxdb section.", required=True)
@options.refresh_interval
@options.api
@options.token_file
@options.listen_addresses("Address on which to serve metrics and health")
@options.telemetry_path
@options.external_url
@options.route_prefix
@options.web_config
@options.open_health
@options.shard
@options.log_format
@options.log_level
def command(
    hosts: tuple[str, ...],
    config_file: str,
    refresh_interval: float | None,
    api: Api,
    token_file: str | None,
    listen: tuple[tuple[str, int], ...],
    telemetry_path: str | None,
    external_url: str | None,
    route_prefix: str | None,
    web_config: str | None,
    open_health: bool,
    shard: Shard | None,
    log_format: Any,
    log_level: str,
) -> None:
    """Poll chargers and push their readings to InfluxDB.

    The [NAME=]HOST arguments are polled in addition to the chargers of the configuration.
    GOE_EXPORTER_HOSTS can hold them too, separated by spaces.
    """
    file = ConfigFile(config_file)

    def loaded() -> RunConfig:
        config = file.load()
        if config.influxdb is None:
            raise UsageError(f"{config_file} has no influxdb section")
        return run_config(config, hosts, api, token_file, refresh_interval, shard=shard)

    for option, value in (
        ("--web.config.file", web_config),
        ("--web.open-health", open_health or None),
        ("--web.telemetry-path", telemetry_path),
        ("--web.external-url", external_url),
        ("--web.route-prefix", route_prefix),
    ):
        if value is not None and not listen:
            raise UsageError(f"{option} requires --web.listen-address")
    first = loaded()
    paths = chosen(external_url, route_prefix, telemetry_path)
    server = None
    if listen:
        # Imported here: without a web server the agent needs 9 MB less memory.
        from goe_exporter.service.web import open_server  # noqa: PLC0415

        server = open_server(listen, WebSettings(web_config), paths, open_health=open_health)
    logs.configure(log_format, log_level)
    Service(first, loaded, server, paths=paths, changed=file.has_changed).run()
