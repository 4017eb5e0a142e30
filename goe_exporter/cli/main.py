"""The command line: it only wires. Heavy imports stand in the command that needs them."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from goe_exporter import __version__
from goe_exporter.cli import options
from goe_exporter.cli.demo import demo, simulate
from goe_exporter.cli.options import by, option
from goe_exporter.cli.spool import spool
from goe_exporter.errors import GoeExporterError, UsageError

if TYPE_CHECKING:
    from goe_exporter.channels.model import Channel
    from goe_exporter.config.values import ChargerConfig, Config
    from goe_exporter.polling.poller import Collector
    from goe_exporter.service.service import Wishes


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the charger or the server said no, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int:
    status = 0
    try:
        status = command.main(prog_name="goe-exporter", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        _complain(error.format_message())
        status = error.exit_code
    except GoeExporterError as error:
        _complain(str(error))
        status = error.exit_status
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing may be written while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _complain(f"{error.filename or 'the output'}: {error.strerror or error}")
        status = 1
    except Exception as error:
        if os.environ.get("GOE_EXPORTER_DEBUG"):
            raise
        _complain(f"a defect, please report it: {type(error).__name__}: {error}")
        status = 1
    return status


def _complain(message: str) -> None:
    from goe_exporter.cli.output import printable

    click.echo(f"goe-exporter: {printable(' '.join(message.split()), longest=1000)}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def command() -> None:
    """Telemetry of go-eCharger EV wallboxes for Prometheus, and a hand on their settings."""


@command.command()
@options.hosts
@option("--config", "config_file", metavar="FILE", help="Configuration in YAML.")
@option("--config.check", "check", is_flag=True, help="Check the configuration and exit.")
@options.refresh_interval
@options.api
@options.token_file
@option("--environment-proxies", is_flag=True, help="Let HTTP_PROXY and the like count.")
@option(
    "--web.listen-address", "listen", metavar="ADDR:PORT", default=":10332", show_default=True,
    callback=by("listen_address"), help="Where /metrics and the page are served.",
)  # fmt: skip
@option(
    "--web.config.file", "web_config", metavar="FILE",
    help="TLS and passwords, in the format of Prometheus' exporters.",
)  # fmt: skip
@option(
    "--web.open-health", "open_health", is_flag=True, help="Health and readiness need no password."
)
@option(
    "--web.max-connections", "max_connections", type=click.IntRange(16, 65_536), default=512,
    show_default=True, help="Clients at once; beyond, the idlest goes.",
)  # fmt: skip
@option(
    "--web.request-timeout", "request_timeout", metavar="DURATION", default="10s",
    show_default=True, callback=by("timeout_seconds"), help="Time for a request to arrive whole.",
)  # fmt: skip
@options.log_format
@options.log_level
def serve(
    hosts: tuple[str, ...],
    config_file: str | None,
    check: bool,
    refresh_interval: float | None,
    api: str,
    token_file: str | None,
    environment_proxies: bool,
    listen: tuple[str, int],
    web_config: str | None,
    open_health: bool,
    max_connections: int,
    request_timeout: float,
    log_format: Any,
    log_level: str,
) -> None:
    """Poll chargers and serve their metrics.

    Each HOST is an address or a name, with a port if need be; NAME is what the metrics call it.
    They can also stand in GOE_EXPORTER_HOSTS, separated by spaces.
    """
    from goe_exporter import logs
    from goe_exporter.config import values
    from goe_exporter.http_server.web_config import WebSettings
    from goe_exporter.service import service

    def wishes() -> Wishes:
        loaded = values.load(config_file) if config_file else values.Config()
        return _wishes(loaded, hosts, api, token_file, refresh_interval, environment_proxies)

    first = wishes()
    web = WebSettings(web_config)
    if check:
        for charger in first.chargers:
            charger.token()
        click.echo(f"the configuration is good: {len(first.chargers)} charger(s)")
        return
    from goe_exporter.http_server.server import Limits, Server
    from goe_exporter.web.app import HEALTH_PATHS
    from goe_exporter.web.history import History

    logs.configure(log_format, log_level)
    limits = Limits(max_connections, request_timeout)
    server = Server(*listen, web, limits, open_paths=HEALTH_PATHS if open_health else ())
    service.Service(first, wishes, server, History()).run()


@command.command()
@options.hosts
@option("--config", "config_file", metavar="FILE", required=True,
        help="Configuration in YAML, with an influxdb section.")  # fmt: skip
@options.refresh_interval
@options.api
@options.token_file
@options.log_format
@options.log_level
def push(
    hosts: tuple[str, ...],
    config_file: str,
    refresh_interval: float | None,
    api: str,
    token_file: str | None,
    log_format: Any,
    log_level: str,
) -> None:
    """Poll chargers and push their readings to InfluxDB; no web server.

    [NAME=]HOSTs are polled besides the chargers of the configuration; they can also stand in
    GOE_EXPORTER_HOSTS, separated by spaces.
    """
    from goe_exporter import logs
    from goe_exporter.config import values
    from goe_exporter.service import service

    def wishes() -> Wishes:
        loaded = values.load(config_file)
        if loaded.influxdb is None:
            raise UsageError(f"{config_file} has no influxdb section")
        return _wishes(loaded, hosts, api, token_file, refresh_interval)

    first = wishes()
    logs.configure(log_format, log_level)
    service.Service(first, wishes).run()


@command.command()
@click.argument("host")
@options.api
@options.token_file
@option(
    "--format", "output", type=click.Choice(["table", "json", "prometheus", "influx"]),
    default="table", show_default=True, help="How the readings are printed.",
)  # fmt: skip
def read(host: str, api: str, token_file: str | None, output: str) -> None:
    """Ask the charger at [NAME=]HOST once and print its readings."""
    from goe_exporter.cli import output as terminal
    from goe_exporter.polling.poller import Collector
    from goe_exporter.service import service

    charger = _charger(host, api, token_file)
    client = service.reach(charger).client()
    collector = Collector(charger.name, charger.host, client, 60.0)
    _ask_for_all(collector)
    view = collector.view()
    if output == "table":
        terminal.print_readings(view)
    elif output == "json":
        from goe_exporter.web.json_api import as_json

        terminal.print_json(as_json(view))
    elif output == "prometheus":
        from goe_exporter.prometheus.exposition import render_readings

        terminal.print_lines(render_readings([view]))
    else:
        from goe_exporter.influx.line_protocol import line

        terminal.print_lines(line(collector.last_cycle(), {}, nanoseconds=True) + "\n")


@command.command(name="set", context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("channel")
@click.argument("value")
@options.api
@options.token_file
@option("--dry-run", is_flag=True, help="Show the request and send nothing.")
def set_(
    host: str, channel: str, value: str, api: Any, token_file: str | None, dry_run: bool
) -> None:
    """Set CHANNEL of the charger at HOST to VALUE, and wait until the charger shows it.

    CHANNEL is our name or openHAB's (max-current or maxCurrent), VALUE a number, with its unit if
    you like (10A, 5kWh), or a word. `goe-exporter channels` lists what can be set.
    """
    from goe_exporter.channels.table import CHANNELS
    from goe_exporter.charger import write
    from goe_exporter.charger.client import Client
    from goe_exporter.cli import output as terminal

    row = write.find(CHANNELS, channel)
    charger = _charger(host, api, token_file)
    if api != "auto":
        spec = write.specification(row, int(api), CHANNELS)
        write.parse(row, spec, value)
    if dry_run:
        _show_requests(row, value, charger)
        return
    client = Client(charger.host, charger.api, token=charger.token())
    written = write.write(client, row, value, channels=CHANNELS)
    shown = terminal.written(row, value, written.value)
    click.echo(
        f"{terminal.printable(charger.name)}: {row.option} is now {shown}"
        f" (shown by the charger after {written.seconds:.1f} s, API v{written.api})"
    )


@command.command()
@option("--format", "output", of="channels", type=click.Choice(["table", "markdown"]),
         default="table", show_default=True, help="How the table is printed.")  # fmt: skip
@option("--check", of="channels", metavar="FILE", help="Fail unless FILE holds the current table.")
@option("--update", of="channels", metavar="FILE", help="Write the current table into FILE.")
def channels(output: str, check: str | None, update: str | None) -> None:
    """List the channels: names, metrics, fields, units, and what may be set."""
    from goe_exporter.channels.table import CHANNELS
    from goe_exporter.cli import channel_table
    from goe_exporter.cli import output as terminal

    if check:
        _table_in(check, write=False)
    elif update:
        _table_in(update, write=True)
    elif output == "markdown":
        click.echo(channel_table.markdown(CHANNELS))
    else:
        terminal.print_channels(channel_table.rows(CHANNELS))


for _more in (demo, simulate, spool):
    command.add_command(_more)


def _charger(text: str, api: str, token_file: str | None) -> ChargerConfig:
    from goe_exporter.config import values

    return values.charger_argument(text).model_copy(update={"api": api, "token_file": token_file})


def _wishes(
    loaded: Config,
    hosts: tuple[str, ...],
    api: str,
    token_file: str | None,
    refresh_interval: float | None,
    environment_proxies: bool = False,
) -> Wishes:
    """Return what the configuration and the command line ask for together."""
    from goe_exporter.service import service

    return service.Wishes(
        _all_chargers(loaded, hosts, api, token_file),
        refresh_interval or loaded.refresh_interval,
        environment_proxies or loaded.environment_proxies,
        loaded.influxdb,
    )


def _all_chargers(
    loaded: Config, hosts: tuple[str, ...], api: str, token_file: str | None
) -> tuple[ChargerConfig, ...]:
    """Return the chargers of the configuration and of the command line."""
    from goe_exporter.config import values

    chargers = (*loaded.chargers, *(_charger(host, api, token_file) for host in hosts))
    if not chargers:
        raise UsageError("no charger: give [NAME=]HOST, or --config FILE with chargers")
    values.check_names(chargers, "chargers")
    return chargers


def _ask_for_all(collector: Collector) -> None:
    """Run cycles until the slow rows are in too; the first failure is the user's answer."""
    from goe_exporter.errors import ChargerError

    while not collector.complete:
        collector.cycle()
        vitals = collector.view().vitals
        if not vitals.up:
            raise ChargerError(vitals.reason, vitals.message)


def _show_requests(row: Channel, value: str, charger: ChargerConfig) -> None:
    """Print what a write would send, for each API in question, having sent nothing."""
    from goe_exporter.charger import write
    from goe_exporter.charger.client import write_targets

    refusal: UsageError | None = None
    shown = False
    for api in (1, 2) if charger.api == "auto" else (int(charger.api),):
        try:
            spec = write.specification(row, api)
            wire = write.parse(row, spec, value)
        except UsageError as error:
            refusal = error
            continue
        for target in write_targets(api, write.written_key(row, spec), wire):
            click.echo(f"API v{api}: GET {charger.url}{target}")
            shown = True
    if refusal and not shown:
        raise refusal


def _table_in(path: str, *, write: bool) -> None:
    """Compare the channel table in a file with the current one, or write it there."""
    from pathlib import Path

    from goe_exporter.channels.table import CHANNELS
    from goe_exporter.cli import channel_table

    try:
        text = Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read {path}: not UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    current = channel_table.updated(text, CHANNELS)
    if current is None:
        raise UsageError(f"{path} has no {channel_table.BEGIN} … {channel_table.END}")
    if write:
        Path(path).write_text(current, "utf-8")
    elif current != text:
        raise GoeExporterError(f"the channel table in {path} is old; --update {path} renews it")
