"""`goe-exporter set`: change one setting of one charger."""

from __future__ import annotations

import click

from goe_exporter.channels.model import Channel
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger import write
from goe_exporter.charger.client import Api, write_targets
from goe_exporter.charger.connection import Connection, connection
from goe_exporter.cli import options, output
from goe_exporter.cli.options import option
from goe_exporter.cli.printable import printable
from goe_exporter.errors import UsageError


@click.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("channel")
@click.argument("value")
@options.api
@options.token_file
@option("--dry-run", is_flag=True, help="Print the request without sending it.")
def command(
    host: str, channel: str, value: str, api: Api, token_file: str | None, dry_run: bool
) -> None:
    """Set CHANNEL of the charger at HOST to VALUE, and wait until it shows.

    CHANNEL is a name of ours or of openHAB's (max-current or maxCurrent), VALUE a number with an
    optional unit (10A, 5kWh), or a word. `goe-exporter channels` lists what can be set.
    """
    row = write.find(CHANNELS, channel)
    place = connection(host, api, token_file)
    if api != "auto":
        spec = write.specification(row, int(api), CHANNELS)
        write.parse(row, spec, value)
    if dry_run:
        _show_requests(row, value, place)
        return
    written = write.write(place.client(), row, value, channels=CHANNELS)
    shown = output.written(row, value, written.value)
    click.echo(
        f"{printable(place.name)}: {row.option} is now {shown}"
        f" (shown by the charger after {written.seconds:.1f} s, API v{written.api})"
    )


def _show_requests(row: Channel, value: str, place: Connection) -> None:
    """Print what a write would send, for each API in question, without sending anything."""
    refusal: UsageError | None = None
    shown = False
    for api in (1, 2) if place.api == "auto" else (int(place.api),):
        try:
            spec = write.specification(row, api)
            wire = write.parse(row, spec, value)
        except UsageError as error:
            refusal = error
            continue
        for target in write_targets(api, write.written_key(row, spec), wire):
            click.echo(f"API v{api}: GET {place.url}{target}")
            shown = True
    if refusal and not shown:
        raise refusal
