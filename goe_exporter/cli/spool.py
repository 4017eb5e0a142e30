"""`goe-exporter spool`: inspect and deliver waiting points, and list rejected lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from goe_exporter.cli.options import config_file, option
from goe_exporter.cli.printable import printable
from goe_exporter.cli.tables import progress
from goe_exporter.durable.clock import utc
from goe_exporter.errors import GoeExporterError, UsageError
from goe_exporter.influx.agent import open_agent
from goe_exporter.influx.dead_letters import letters
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.influx.store import Store, contents
from goe_exporter.service import config

_config = config_file("Configuration.", required=True)


@click.group("spool")
def command() -> None:
    """Inspect and deliver the points that wait on disk for InfluxDB."""


@command.command(short_help="Show how many points wait, were rejected or were dropped.")
@_config
def status(config_file: str) -> None:
    """Show how many points wait, since when, and how many were rejected and dropped.

    Can be run while the exporter is running.
    """
    settings = _settings(config_file)
    folder = Path(settings.spool)
    with _readable(folder):
        if not folder.is_dir():
            click.echo(f"{folder}: nothing yet")
            return
        found = contents(folder)
    lost = found.dropped
    click.echo(f"spool            {folder}")
    click.echo(f"points waiting   {found.queued + found.unstamped + found.parked}")
    click.echo(f"  for the clock  {found.unstamped}")
    click.echo(f"  parked         {found.parked}")
    click.echo(f"size             {found.size_bytes / 1024**2:.1f} of "
               f"{settings.spool_limit / 1024**2:.0f} MiB")  # fmt: skip
    click.echo(f"oldest           {'-' if found.oldest is None else utc(found.oldest)}")
    click.echo(f"rejected         {found.rejected}")
    click.echo(
        f"dropped          {lost.lines}{f', the last {utc(lost.time)}' if lost.lines else ''}"
    )


@command.command()
@_config
def drain(config_file: str) -> None:
    """Deliver the waiting points now; the exporter must be stopped."""
    agent = open_agent(_settings(config_file))
    total = agent.store.waiting
    try:
        with progress(total) as show:
            why = agent.drain(lambda waiting: show(total - waiting))
    finally:
        agent.stop(0)
    click.echo(f"{agent.sender.written} points delivered, {agent.sender.rejected} rejected")
    if parked := len(agent.store.parked):
        click.echo(
            f"{parked} parked after a rejection; the exporter, or a later drain with other points,"
            " decides what becomes of them"
        )
    if why:
        raise GoeExporterError(
            f"the server does not accept more now ({why}); the rest waits on disk"
        )


@command.command()
@_config
@option("--requeue", is_flag=True, help="Put the rejected lines back into the spool.")
def dead(config_file: str, requeue: bool) -> None:
    """Show the lines that the server rejected, with its messages."""
    settings = _settings(config_file)
    if requeue:
        _requeue(settings)
        return
    count, folder = 0, Path(settings.spool)
    with _readable(folder):
        for letter in letters(folder / "dead"):
            click.echo(printable(letter.message))
            click.echo(f"    {printable(letter.line, max_length=4000)}")
            count += 1
    click.echo(f"{count} rejected")


def _requeue(settings: InfluxSettings) -> None:
    with closing(Store(Path(settings.spool), settings.spool_limit)) as store:
        moved = store.requeue()
    click.echo(f"{moved.put_back} put back")
    if moved.without_time:
        click.echo(
            f"{moved.without_time} not put back: they have no timestamp,"
            " and the server would give them the current time"
        )
    if moved.without_room:
        raise GoeExporterError(
            f"no room in the spool for {moved.without_room} more; drain it first"
            " or raise spool_limit"
        )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn a file that cannot be read, such as another user's, into a `UsageError`."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read the spool {folder}: {error.strerror}") from error


def _settings(config_file: str) -> InfluxSettings:
    settings = config.load(config_file).influxdb
    if settings is None:
        raise UsageError(f"{config_file} has no influxdb section")
    return settings
