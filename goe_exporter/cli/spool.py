"""`goe-exporter spool`: what waits to be delivered, deliver it now, and what was rejected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from goe_exporter.cli.options import option
from goe_exporter.cli.printable import printable
from goe_exporter.cli.tables import progress
from goe_exporter.durable.clock import shown
from goe_exporter.errors import GoeExporterError, UsageError
from goe_exporter.influx.agent import agent
from goe_exporter.influx.dead_letters import SHARE, DeadLetters, letters
from goe_exporter.influx.line_protocol import timestamp
from goe_exporter.influx.settings import InfluxSettings
from goe_exporter.service import config
from goe_exporter.spool.queue import Spool
from goe_exporter.spool.segments import stored_dropped, survey

_config = option("--config", "config_file", metavar="FILE", required=True, help="Configuration.")


@click.group("spool")
def command() -> None:
    """Inspect and deliver the points that wait on disk for InfluxDB."""


@command.command()
@_config
def status(config_file: str) -> None:
    """Show how many points wait, since when, and how many were rejected and dropped.

    May be called while the agent runs.
    """
    settings = _settings(config_file)
    folder = Path(settings.spool)
    with _readable(folder):
        if not folder.is_dir():
            click.echo(f"{folder}: nothing yet")
            return
        parts = [folder, folder / "held", folder / "dead"]
        found, held, dead = map(survey, parts)
        dropped = list(map(stored_dropped, parts))
    oldest = timestamp(found.first or b"")
    size = found.size_bytes + held.size_bytes + dead.size_bytes
    click.echo(f"spool            {folder}")
    click.echo(f"points waiting   {found.pending + held.pending}")
    click.echo(f"  for the clock  {held.pending}")
    click.echo(f"size             {size / 1024**2:.1f} of "
               f"{settings.spool_limit / 1024**2:.0f} MiB")  # fmt: skip
    click.echo(f"oldest           {'-' if oldest is None else shown(oldest)}")
    click.echo(f"rejected         {dead.pending}")
    lost, last = sum(each.lines for each in dropped), max(each.time for each in dropped)
    click.echo(f"dropped          {lost}{f', the last {shown(last)}' if lost else ''}")


@command.command()
@_config
def drain(config_file: str) -> None:
    """Deliver what waits, now, with a progress bar; the agent must not be running."""
    pusher = agent(_settings(config_file))
    total = pusher.stats().spooled
    try:
        with progress(total) as show:
            while (wait := pusher.sender.deliver_once()) is not None:
                if wait and not pusher.sender.shrinking:
                    break
                show(total - pusher.stats().spooled)
        why = pusher.why()
    finally:
        pusher.stop(0)
    click.echo(f"{pusher.sender.written} points delivered, {pusher.sender.rejected} rejected")
    if wait:
        raise GoeExporterError(f"the server does not take more now ({why}); the rest waits on disk")


@command.command()
@_config
@option("--requeue", is_flag=True, help="Put the rejected lines back into the spool.")
def dead(config_file: str, requeue: bool) -> None:
    """Show the lines that the server rejected, with its words."""
    settings = _settings(config_file)
    if requeue:
        _requeue(settings)
        return
    count, folder = 0, Path(settings.spool)
    with _readable(folder):
        for letter in letters(folder / "dead"):
            click.echo(printable(letter.words))
            click.echo(f"    {printable(letter.line, longest=4000)}")
            count += 1
    click.echo(f"{count} rejected")


def _requeue(settings: InfluxSettings) -> None:

    limit, folder = settings.spool_limit, Path(settings.spool)
    queue = Spool(folder, limit - limit // SHARE)
    try:
        # Points that wait for the clock share the room.
        queue.limit_bytes -= survey(folder / "held").size_bytes
        letters = DeadLetters(folder / "dead", limit // SHARE)
        try:
            moved = letters.requeue(queue)
        finally:
            letters.close()
    finally:
        queue.close()
    click.echo(f"{moved.put_back} put back")
    if moved.without_time:
        click.echo(f"{moved.without_time} stay: they have no timestamp, and would get that of now")
    if moved.without_room:
        raise GoeExporterError(
            f"no room in the spool for {moved.without_room} more; drain it first"
            " or raise spool_limit"
        )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in a line that the files belong to somebody else."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read the spool {folder}: {error.strerror}") from error


def _settings(config_file: str) -> InfluxSettings:

    settings = config.load(config_file).influxdb
    if settings is None:
        raise UsageError(f"{config_file} has no influxdb section")
    return settings
