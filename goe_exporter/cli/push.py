"""`goe-exporter push`: poll chargers and push their readings to InfluxDB."""

from __future__ import annotations

from typing import Any

import click

from goe_exporter import logs
from goe_exporter.charger.client import Api
from goe_exporter.cli import options
from goe_exporter.cli.options import option, parsed
from goe_exporter.cli.run_config import run_config
from goe_exporter.config import values
from goe_exporter.errors import UsageError
from goe_exporter.http_server.web_config import WebSettings
from goe_exporter.service.config import RunConfig, load
from goe_exporter.service.service import Service


@click.command("push")
@options.hosts
@option("--config", "config_file", metavar="FILE", required=True,
        help="Configuration file (YAML) with an influxdb section.")  # fmt: skip
@options.refresh_interval
@options.api
@options.token_file
@option("--web.listen-address", "listen", metavar="ADDR:PORT",
        callback=parsed(values.listen_address),
        shown_default="no web server",
        help="Address on which to serve metrics and health.")  # fmt: skip
@options.web_config
@options.open_health
@options.log_format
@options.log_level
def command(
    hosts: tuple[str, ...],
    config_file: str,
    refresh_interval: float | None,
    api: Api,
    token_file: str | None,
    listen: tuple[str, int] | None,
    web_config: str | None,
    open_health: bool,
    log_format: Any,
    log_level: str,
) -> None:
    """Poll chargers and push their readings to InfluxDB.

    The [NAME=]HOST arguments are polled in addition to the chargers of the configuration.
    GOE_EXPORTER_HOSTS can hold them too, separated by spaces.
    """

    def loaded() -> RunConfig:
        config = load(config_file)
        if config.influxdb is None:
            raise UsageError(f"{config_file} has no influxdb section")
        return run_config(config, hosts, api, token_file, refresh_interval)

    if listen is None and (web_config is not None or open_health):
        option = "--web.open-health" if web_config is None else "--web.config.file"
        raise UsageError(f"{option} requires --web.listen-address")
    first = loaded()
    server = None
    if listen is not None:
        # Imported here: without a web server the agent needs 9 MB less memory.
        from goe_exporter.service.web import open_server  # noqa: PLC0415

        server = open_server(listen, WebSettings(web_config), open_health=open_health)
    logs.configure(log_format, log_level)
    Service(first, loaded, server).run()
