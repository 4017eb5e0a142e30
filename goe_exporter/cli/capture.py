"""`goe-exporter capture`: a charger's complete status without private values."""

from __future__ import annotations

import json

import click

from goe_exporter import __version__
from goe_exporter.charger.capture import capture
from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import connection
from goe_exporter.cli import options, output
from goe_exporter.cli.options import option


@click.command("capture")
@click.argument("host")
@options.api
@options.token_file
@option("--output", "path", command="capture", metavar="FILE",
        help="File to write.", shown_default="standard output")  # fmt: skip
def command(host: str, api: Api, token_file: str | None, path: str | None) -> None:
    """Write the complete status of a charger without private values.

    The result is JSON to attach to a report. Names, Wi-Fi names and keys, tokens, card ids, serial
    number, addresses and texts are removed, and so is every value of an unknown key; "removed"
    lists them. Each API is asked once. Nothing is sent to anyone. A HOST may be a go-e Controller,
    too.
    """
    place = connection(host, api, token_file)
    answers = capture(place)
    document = {
        "goe_exporter": __version__,
        "answers": [answer.document() for answer in answers],
    }
    if path is None:
        output.print_json(document)
        return
    output.write_file(path, f"{json.dumps(document, indent=2)}\n")
    for answer in answers:
        found = answer.failure
        if answer.status is not None:
            found = f"{len(answer.status)} keys; removed: {', '.join(answer.removed) or 'nothing'}"
        click.echo(f"API v{answer.api}: {found}")
    click.echo(f"Read {path} before you share it.")
