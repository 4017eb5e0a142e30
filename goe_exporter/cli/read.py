"""`goe-exporter read`: poll a charger once and print its readings."""

from __future__ import annotations

import click

from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import connection
from goe_exporter.cli import options, output
from goe_exporter.cli.options import option
from goe_exporter.errors import ChargerError
from goe_exporter.polling.poller import Poller

INTERVAL_SECONDS = 60.0
"""Long enough for the first poll to request every channel."""


@click.command("read")
@click.argument("host", metavar="[NAME=]HOST")
@options.api
@options.token_file
@option(
    "--format", "form", type=click.Choice(["table", "json", "prometheus", "influx"]),
    default="table", show_default=True, help="Output format.",
)  # fmt: skip
def command(host: str, api: Api, token_file: str | None, form: str) -> None:
    """Poll a charger once and print its readings."""
    place = connection(host, api, token_file)
    poller = Poller(place.name, place.host, place.client(), INTERVAL_SECONDS)
    _poll_all(poller)
    view = poller.view()
    # Only the sink of the chosen format is imported, so that start-up is fast.
    if form == "table":
        from goe_exporter.cli import tables

        tables.print_readings(view)
    elif form == "json":
        from goe_exporter.web.json_api import as_json

        output.print_json(as_json(view))
    elif form == "prometheus":
        from goe_exporter.prometheus.exposition import render_readings

        output.print_lines(render_readings([view]))
    else:
        from goe_exporter.influx.line_protocol import line

        output.print_lines(line(poller.last_poll(), {}, nanoseconds=True) + "\n")


def _poll_all(poller: Poller) -> None:
    """Poll until the slow channels are complete too; raises `ChargerError` for a failed poll."""
    while not poller.complete:
        poller.poll()
        stats = poller.view().stats
        if not stats.up:
            raise ChargerError(stats.reason, stats.message)
