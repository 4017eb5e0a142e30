"""What the command line prints for programs and people, other than tables."""

from __future__ import annotations

import json
import sys

import click

from goe_exporter.channels.model import Channel, Words
from goe_exporter.cli.printable import printable


def written(channel: Channel, text: str, value: object) -> str:
    """Return a value that was written, with its unit; a word stays as it was typed."""
    word = printable(text.strip().lower())
    spelled = any(word in spec.values for spec in channel.write.values() if isinstance(spec, Words))
    if spelled or not isinstance(value, int | float):
        return word
    return f"{value:.10g} {channel.unit.symbol}".rstrip()


def print_lines(text: str) -> None:
    """Print lines for a program as they are, for a person with control characters escaped."""
    if sys.stdout.isatty():
        text = "".join(f"{printable(line, len(line))}\n" for line in text.split("\n")[:-1])
    click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Print JSON, with all but ASCII escaped, so that a terminal takes no orders from it."""
    click.echo(json.dumps(value, indent=2))
