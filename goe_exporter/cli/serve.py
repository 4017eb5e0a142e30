"""`goe-exporter serve`: poll chargers, and serve `/metrics` and the page."""

from __future__ import annotations

from typing import Any

import click

from goe_exporter import logs
from goe_exporter.charger.client import Api
from goe_exporter.cli import options
from goe_exporter.cli.options import option, parsed
from goe_exporter.cli.run_config import run_config
from goe_exporter.config import values
from goe_exporter.config.quoting import one_line
from goe_exporter.http_server.server import Limits
from goe_exporter.http_server.web_config import WebSettings
from goe_exporter.service.charger_files import unmatched
from goe_exporter.service.config import Config, ConfigFile, RunConfig
from goe_exporter.service.service import Service
from goe_exporter.service.sharding import Shard
from goe_exporter.service.web import open_server
from goe_exporter.web.history import History
from goe_exporter.web.paths import chosen


@click.command("serve")
@options.hosts
@options.config_file("Configuration file (YAML).")
@option("--config.check", "check", is_flag=True, help="Check the configuration and exit.")
@options.refresh_interval
@options.api
@options.token_file
@option(
    "--environment-proxies", is_flag=True,
    help="Use the proxy set in HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
)  # fmt: skip
@options.listen_addresses("Address on which to serve metrics and the page", ":10332")
@options.telemetry_path
@options.external_url
@options.route_prefix
@options.web_config
@options.open_health
@option(
    "--web.max-connections", "max_connections", type=click.IntRange(16, 65_536), metavar="NUMBER",
    default=512, show_default=True,
    help="Maximum concurrent connections; the longest-idle connection is closed first.",
)  # fmt: skip
@option(
    "--web.request-timeout", "request_timeout", metavar="DURATION", default="10s",
    show_default=True, callback=parsed(values.timeout_seconds),
    help="Time limit for receiving a complete request.",
)  # fmt: skip
@options.frame_ancestors
@options.shard
@options.log_format
@options.log_level
def command(
    hosts: tuple[str, ...],
    config_file: str | None,
    check: bool,
    refresh_interval: float | None,
    api: Api,
    token_file: str | None,
    environment_proxies: bool,
    listen: tuple[tuple[str, int], ...],
    telemetry_path: str | None,
    external_url: str | None,
    route_prefix: str | None,
    web_config: str | None,
    open_health: bool,
    max_connections: int,
    request_timeout: float,
    frame_ancestors: tuple[str, ...],
    shard: Shard | None,
    log_format: Any,
    log_level: str,
) -> None:
    """Poll chargers and serve their metrics.

    HOST is a host name or address, with an optional port; NAME is the charger's name in the
    metrics. GOE_EXPORTER_HOSTS can hold the hosts too, separated by spaces.
    """
    file = ConfigFile(config_file) if config_file else None

    def loaded() -> RunConfig:
        config = file.load() if file else Config()
        return run_config(
            config, hosts, api, token_file, refresh_interval,
            environment_proxies=environment_proxies, shard=shard,
        )  # fmt: skip

    first = loaded()
    web = WebSettings(web_config)
    if check:
        for device in first.devices:
            device.connection()
        for pattern in unmatched(first.charger_files):
            click.echo(f"charger_files: no file matches {one_line(pattern)}", err=True)
        for line in first.unwritable():
            click.echo(line, err=True)
        click.echo(f"the configuration is valid: {first.extent}")
        return
    logs.configure(log_format, log_level)
    limits = Limits(max_connections, request_timeout)
    paths = chosen(external_url, route_prefix, telemetry_path)
    server = open_server(listen, web, paths, limits, open_health=open_health)
    Service(
        first,
        loaded,
        server,
        History(),
        paths,
        frame_ancestors,
        changed=file.has_changed if file else None,
    ).run()
