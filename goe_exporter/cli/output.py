"""Output for programs: lines, JSON and files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from goe_exporter.cli.printable import printable
from goe_exporter.config.quoting import os_reason
from goe_exporter.errors import UsageError


def print_lines(text: str) -> None:
    """Print lines unchanged; on a terminal, with control characters escaped."""
    if sys.stdout.isatty():
        text = "".join(f"{printable(line, len(line))}\n" for line in text.split("\n")[:-1])
    click.echo(text, nl=False)


def print_json(value: object) -> None:
    """Print JSON in ASCII, so that it contains no control characters for a terminal."""
    click.echo(json.dumps(value, indent=2))


def write_file(path: str, text: str) -> None:
    """Write a file; raises `UsageError`."""
    try:
        Path(path).write_text(text, "utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {path}: {os_reason(error)}") from error
