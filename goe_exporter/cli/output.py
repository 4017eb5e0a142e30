"""What the command line prints for programs and people, other than tables."""

from __future__ import annotations

import json
import sys

import click

from goe_exporter.cli.printable import printable


def print_lines(text: str) -> None:
    """Print lines for a program as they are, for a person with control characters escaped."""
    if sys.stdout.isatty():
        text = "".join(f"{printable(line, len(line))}\n" for line in text.split("\n")[:-1])
    click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Print JSON, with all but ASCII escaped, so that a terminal takes no orders from it."""
    click.echo(json.dumps(value, indent=2))
