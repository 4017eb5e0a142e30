"""Output for programs: lines and JSON."""

from __future__ import annotations

import json
import sys

import click

from goe_exporter.cli.printable import printable


def print_lines(text: str) -> None:
    """Print lines unchanged; on a terminal, with control characters escaped."""
    if sys.stdout.isatty():
        text = "".join(f"{printable(line, len(line))}\n" for line in text.split("\n")[:-1])
    click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Print JSON in ASCII, so that it contains no control characters for a terminal."""
    click.echo(json.dumps(value, indent=2))
