"""Tables and progress bars for a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Literal

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from goe_exporter.channels.snapshot import Reading
from goe_exporter.cli.channel_table import Row
from goe_exporter.cli.printable import printable
from goe_exporter.logs import coloured
from goe_exporter.polling.view import ChargerView

MIN_COLUMNS = 20
"""Least width of a table: Rich leaves out the text of columns that do not fit."""


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
        name = re.findall("[^-]+-?", channel.option)
        values = [_value(reading) for reading in group]
        table.add_row(_Pieces(name, ""), _Pieces(values, "  "), channel.unit.symbol)
    api = f"API v{view.snapshot.api}" if view.snapshot else ""
    click.echo(f"{printable(view.name)}  {api}")
    _print(table, one_line=True)


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


def print_rows(
    headers: Sequence[str], rows: Sequence[Sequence[str]], unbroken: Mapping[str, bool]
) -> None:
    """Print rows of texts, of which the last is their sum.

    Columns in `unbroken` are on one line, and flush right if that is True.
    """
    table = _table(*headers)
    for column in table.columns:
        if (flush_right := unbroken.get(str(column.header))) is not None:
            column.no_wrap = True
            column.justify = "right" if flush_right else "left"
    for number, row in enumerate(rows, 2):
        table.add_row(*map(printable, row), end_section=number == len(rows))
    _print(table)


def print_line(text: str) -> None:
    """Print a text below a table."""
    click.echo(printable(text))


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar of `total` points; yields a function that sets the number done."""
    with Progress(console=_console()) as bar:
        task = bar.add_task("delivering", total=total)
        yield lambda done: bar.update(task, completed=done)


def _value(reading: Reading) -> str:
    value = reading.value
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        # Adding 0 turns -0.0 into 0.
        text = f"{round(value, reading.channel.unit.digits) + 0.0:.15g}"
    elif reading.code is not None:
        text = f"{value} ({reading.code})"
    else:
        text = printable(value)
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


def _print(table: Table, *, one_line: bool = False) -> None:
    """Print a table; with `one_line`, a row is broken only to fit a terminal, or COLUMNS."""
    console = _console()
    if one_line and not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        console.width = Measurement.get(console, console.options.update(width=10**6), table).maximum
    console.width = max(console.width, MIN_COLUMNS)
    console.print(table)


def _console() -> Console:
    colours: Literal["auto"] | None = "auto" if coloured(sys.stdout) else None
    return Console(highlight=False, markup=False, emoji=False, color_system=colours)


class _Pieces:
    """A cell that is broken between its pieces, and inside one only if it is too long by itself."""

    def __init__(self, pieces: Sequence[str], gap: str) -> None:
        self._pieces = pieces
        self._gap = gap

    def __rich_measure__(self, _console: Console, _options: ConsoleOptions) -> Measurement:
        longest = max(map(cell_len, self._pieces))
        return Measurement(longest, cell_len(self._gap.join(self._pieces)))

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        line = ""
        for piece in self._pieces:
            longer = f"{line}{self._gap}{piece}" if line else piece
            if line and cell_len(longer) > options.max_width:
                yield Text(line, overflow="fold")
                longer = piece
            line = longer
        yield Text(line, overflow="fold")
