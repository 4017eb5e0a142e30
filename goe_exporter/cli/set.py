"""`goe-exporter set`: set a channel of a charger."""

from __future__ import annotations

import click

from goe_exporter.channels.table import CHANNELS
from goe_exporter.channels.writable import find, parse
from goe_exporter.charger import api_v1
from goe_exporter.charger.client import Api, write_targets
from goe_exporter.charger.connection import connection
from goe_exporter.charger.write import write
from goe_exporter.cli import completion, options
from goe_exporter.cli.options import option
from goe_exporter.cli.printable import printable
from goe_exporter.cli.selection import configured


@click.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("host", shell_complete=completion.chargers)
@click.argument("channel", shell_complete=completion.channels)
@click.argument("value", shell_complete=completion.values)
@options.api
@options.token_file
@options.config_file("Configuration file; HOST is then a charger's name or host there.")
@option("--dry-run", is_flag=True, help="Print the request without sending it.")
def command(
    host: str, channel: str, value: str, api: Api, token_file: str | None,
    config_file: str | None, dry_run: bool,
) -> None:  # fmt: skip
    """Set a channel of a charger, and wait until the charger reports the value.

    CHANNEL is a channel name of goe-exporter or openHAB (max-current or maxCurrent). VALUE is a
    number with an optional unit (10A, 5kWh), or a name such as on. openHAB's values work too
    (forceState 1, accessConfiguration RFID). `goe-exporter channels` lists the writable channels
    and their values.

    With --config.file, the charger is reached as the configuration says. If it has a serial there,
    another charger is never written to.
    """
    change = parse(find(CHANNELS, channel, api_v1.KEYS), value)
    if config_file:
        place = configured(host, config_file, api, token_file)
    else:
        place = connection(host, api, token_file)
    if dry_run:
        writes = change.writes
        if place.api != "auto":
            writes = {int(place.api): change.through(int(place.api))}
        if not writes:
            raise change.refusal()
        for number, each in writes.items():
            for target in write_targets(number, each.key, each.value):
                click.echo(f"API v{number}: GET {place.url}{target}")
        return
    written = write(place.client(), change)
    shown_as = f" as {written.shown_as}" if written.shown_as else ""
    report = (
        f"{printable(place.name)}: {change.channel.option} is now"
        f" {written.write.describe(written.write.value)} (reported by the charger{shown_as}"
        f" after {written.seconds:.1f} s, API v{written.api})"
    )
    click.echo("; ".join((report, *written.notes)))
