"""`goe-exporter spool`: what waits to be delivered, deliver it now, and what was rejected."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from goe_exporter.cli_options import option
from goe_exporter.errors import GoeExporterError, UsageError

if TYPE_CHECKING:
    from goe_exporter.config import InfluxSettings

_config = option("--config", "config_file", metavar="FILE", required=True, help="Configuration.")


@click.group()
def spool() -> None:
    """Look after the points that wait on disk for InfluxDB."""


@spool.command()
@_config
def status(config_file: str) -> None:
    """Show how many points wait, since when, and how many were rejected.

    May be called while the agent runs.
    """
    from goe_exporter.delivery import DeadLetters
    from goe_exporter.records import survey

    settings = _settings(config_file)
    folder = Path(settings.spool)
    if not folder.is_dir():
        click.echo(f"{folder}: nothing yet")
        return
    found, held = survey(folder), survey(folder / "held")
    click.echo(f"spool            {folder}")
    click.echo(f"points waiting   {found.pending + held.pending}")
    click.echo(f"  for the clock  {held.pending}")
    click.echo(f"size             {(found.size_bytes + held.size_bytes) / 1024**2:.1f} of "
               f"{settings.spool_limit / 1024**2:.0f} MiB")  # fmt: skip
    click.echo(f"oldest           {_when(found.first)}")
    click.echo(f"rejected         {len(DeadLetters(folder / 'dead').paths())}")


@spool.command()
@_config
def drain(config_file: str) -> None:
    """Deliver what waits, now, with a progress bar; the agent must not be running."""
    from goe_exporter.agent import agent
    from goe_exporter.terminal import progress

    pusher = agent(_settings(config_file))
    total = pusher.spool.pending
    try:
        with progress(total) as show:
            while (wait := pusher.sender.deliver_once()) is not None:
                if wait:
                    break
                show(total - pusher.spool.pending)
    finally:
        pusher.stop(0)
    click.echo(f"{pusher.sender.written} points delivered, {pusher.sender.rejected} rejected")
    if wait:
        raise GoeExporterError(
            f"the server does not take more now ({pusher.sender.failing}); the rest waits on disk"
        )


@spool.command()
@_config
@option("--requeue", is_flag=True, help="Put the rejected lines back into the spool.")
def dead(config_file: str, requeue: bool) -> None:
    """Show the lines that the server rejected, with its words."""
    from goe_exporter.delivery import DeadLetters
    from goe_exporter.spool import Spool
    from goe_exporter.terminal import printable

    settings = _settings(config_file)
    letters = DeadLetters(Path(settings.spool) / "dead")
    if not requeue:
        for letter in letters.letters():
            click.echo(f"{printable(str(letter.get('words')))}")
            click.echo(f"    {printable(str(letter.get('line')), longest=4000)}")
        click.echo(f"{len(letters.paths())} rejected")
        return
    queue = Spool(Path(settings.spool), settings.spool_limit * 15 // 16)
    try:
        count = letters.requeue(queue)
    finally:
        queue.close()
    click.echo(f"{count} put back")


def _settings(config_file: str) -> InfluxSettings:
    from goe_exporter import config

    settings = config.load(config_file).influxdb
    if settings is None:
        raise UsageError(f"{config_file} has no influxdb section")
    return settings


def _when(line: bytes | None) -> str:
    stamp = (line or b"").rpartition(b" ")[2]
    if not stamp.isdigit():
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(stamp) / 1000))
