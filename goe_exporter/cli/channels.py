"""`goe-exporter channels`: print the channel table, or keep it current in the documentation."""

from __future__ import annotations

from pathlib import Path

import click

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.table import CHANNELS
from goe_exporter.cli import channel_table, tables
from goe_exporter.cli.options import option
from goe_exporter.cli.output import write_file
from goe_exporter.config.quoting import os_reason
from goe_exporter.errors import GoeExporterError, UsageError


@click.command("channels")
@option("--format", "form", command="channels", type=click.Choice(["table", "markdown"]),
        default="table", show_default=True, help="Output format.")  # fmt: skip
@option("--check", command="channels", metavar="FILE",
        help="Fail unless FILE contains the current table.")  # fmt: skip
@option("--update", command="channels", metavar="FILE",
        help="Write the current table into FILE.")  # fmt: skip
def command(form: str, check: str | None, update: str | None) -> None:
    """List the channels with their metrics, fields, units and writable values."""
    if check:
        _table_in(check, write=False)
    elif update:
        _table_in(update, write=True)
    elif form == "markdown":
        click.echo(channel_table.markdown())
    else:
        tables.print_channels(channel_table.rows(CHANNELS))
        click.echo("\ngo-e Controller\n")
        tables.print_channels(channel_table.rows(CONTROLLER.channels))


def _table_in(path: str, *, write: bool) -> None:
    """Compare the channel table in a file with the current one, or write the current one."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {os_reason(error)}") from error
    current = channel_table.updated(text)
    if current is None:
        raise UsageError(f"{path} does not contain {channel_table.BEGIN} … {channel_table.END}")
    if write:
        write_file(path, current)
    elif current != text:
        raise GoeExporterError(
            f"the channel table in {path} is outdated; update it with --update {path}"
        )
