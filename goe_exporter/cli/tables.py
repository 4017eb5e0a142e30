"""Tables and progress bars for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from goe_exporter.channels.snapshot import Reading
from goe_exporter.cli.channel_table import Row
from goe_exporter.cli.printable import printable
from goe_exporter.polling.view import ChargerView


def print_readings(views: Sequence[ChargerView]) -> None:
    """Print the readings of chargers, one line per channel, in the order of the channel table."""
    for number, view in enumerate(views):
        if number:
            click.echo()
        _print_readings(view)


def _print_readings(view: ChargerView) -> None:
    table = _table("channel", "reading", "unit")
    readings = view.snapshot.readings if view.snapshot else ()
    for channel, group in groupby(readings, key=lambda reading: reading.channel):
        values = "  ".join(_value(reading) for reading in group)
        table.add_row(channel.option, printable(values), channel.unit.symbol)
    api = f"API v{view.snapshot.api}" if view.snapshot else ""
    click.echo(f"{printable(view.name)}  {api}")
    _print(table)


def print_channels(rows: Sequence[Row]) -> None:
    """Print the documentation of the channels, up to three lines each."""
    table = _table(
        "channel, openHAB", "metric, InfluxDB field, allowed values", "unit", "API", first=26
    )
    table.collapse_padding = True  # the longest metric just fits into 80 columns
    for row in rows:
        setting = f"set to {row.writable}" if row.writable else ""
        names = "\n".join(filter(None, (row.metric, row.field, setting)))
        channel = "\n".join(filter(None, (row.name, row.openhab)))
        table.add_row(channel, names, row.unit, row.apis.replace(" ", "\n"))
    _print(table)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar of `total` points; yields a function that sets the number done."""
    with Progress() as bar:
        task = bar.add_task("delivering", total=total)
        yield lambda done: bar.update(task, completed=done)


def _value(reading: Reading) -> str:
    value = reading.value
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.10g}"
    elif reading.code is not None:
        text = f"{value} ({reading.code})"
    else:
        text = value
    if not reading.label or not reading.channel.label:
        return text
    # "L1 230", but "1: 230", since "1 230" would read as two numbers.
    return f"{reading.label}{':' if reading.label.isdecimal() else ''} {text}"


def _table(*headers: str, first: int | None = None) -> Table:
    """Return an empty table; `first` bounds the width of its first column."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold", min_width=3)
    table.columns[0].max_width = first
    return table


def _print(table: Table) -> None:
    Console(highlight=False, markup=False, emoji=False).print(table)
