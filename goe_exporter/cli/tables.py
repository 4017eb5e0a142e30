"""Tables and progress bars for a terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, zip_longest

import click

from goe_exporter.channels.model import Kind
from goe_exporter.channels.snapshot import Reading
from goe_exporter.cli.channel_table import Row
from goe_exporter.cli.printable import printable
from goe_exporter.logs import coloured
from goe_exporter.polling.view import ChargerView

MIN_COLUMNS = 20
"""Least width of a table: in less, a column would have no room."""

MIN_WIDTH = 6
"""Least width of a column as long as another can become narrower."""

MAX_PIPED_COLUMNS = 160
"""Width of the readings of a line in a pipe; only a Controller has channels with more."""

_GAP = 3
_BREAKS = (r"(?<=  )", r"(?<= )", r"(?<=\w[-,])", "")
"""Where a text that is too long is broken: between values, words, parts of a name, characters.

The labels of a metric are parts of its name.
"""


def print_readings(views: Sequence[ChargerView]) -> None:
    """Print the readings of devices, one line per channel, in the order of the channel table.

    A line is broken to fit a terminal, or COLUMNS. In a pipe, a channel of more readings than fit
    into `MAX_PIPED_COLUMNS` has several lines, each with its name and unit.
    """
    unbroken = _unbroken()
    room = MAX_PIPED_COLUMNS if unbroken else sys.maxsize
    for number, view in enumerate(views):
        if number:
            click.echo()
        api = f"API v{view.snapshot.api}" if view.snapshot else ""
        click.echo(f"{printable(view.name)}  {api}")
        rows = _readings(view.snapshot.readings if view.snapshot else (), room)
        _print(("channel", "reading", "unit"), rows, unbroken=unbroken)


def _unbroken() -> bool:
    return not sys.stdout.isatty() and "COLUMNS" not in os.environ


def _readings(readings: Sequence[Reading], room: int) -> list[tuple[str, str, str]]:
    """Return the rows of the table, whose readings take `room` columns if they are several."""
    rows: list[tuple[str, str, str]] = []
    for channel, group in groupby(readings, key=lambda reading: reading.channel):
        line = ""
        for value in map(_value, group):
            if line and columns(f"{line}  {value}") > room:
                rows.append((channel.option, line, channel.unit.symbol))
                line = ""
            line += f"  {value}" if line else value
        rows.append((channel.option, line, channel.unit.symbol))
    return rows


def print_channels(rows: Sequence[Row]) -> None:
    """Print the documentation of the channels, up to three lines each."""
    table = []
    for row in rows:
        setting = f"set to {row.writable}" if row.writable else ""
        names = "\n".join(filter(None, (row.metric, row.field, setting)))
        channel = "\n".join(filter(None, (row.name, row.openhab)))
        table.append((channel, names, row.unit, row.apis.replace(" ", "\n")))
    headers = ("channel, openHAB", "metric, InfluxDB field, allowed values", "unit", "API")
    # The longest metric of a charger just fits into 80 columns.
    _print(headers, table, first=26, gap=2)


def print_rows(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
    total: bool = False,
) -> None:
    """Print rows of texts; a line is broken only to fit a terminal, or COLUMNS.

    The columns named in `numbers` are flush right, and neither they nor those in `whole` are
    broken. With `total` the last row is the sum of the others.
    """
    kept = [header in numbers or header in whole for header in headers]
    right = [header in numbers for header in headers]
    texts = [list(map(printable, row)) for row in rows]
    _print(headers, texts, gap=2, unbroken=_unbroken(), kept=kept, right=right, total=total)


def print_line(text: str) -> None:
    """Print a text below a table."""
    click.echo(printable(text))


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar of `total` points; yields a function that sets the number done."""
    # As wide as the terminal: a longer line would wrap, and each step would leave one behind.
    with click.progressbar(length=total, label="delivering", show_pos=True, width=0) as bar:
        yield lambda done: bar.update(done - bar.pos)


def columns(text: str) -> int:
    """Return the number of columns of a text: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in ("Mn", "Me")
        else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )  # fmt: skip


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
    # "L1 230", but "1: 230", since "1 230" would read as two numbers, and "home: Home".
    colon = reading.label.isdecimal() or reading.channel.kind is Kind.TEXT
    return f"{reading.label}{':' if colon else ''} {text}"


def _print(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    gap: int = _GAP,
    first: int | None = None,
    unbroken: bool = False,
    kept: Sequence[bool] = (),
    right: Sequence[bool] = (),
    total: bool = False,
) -> None:
    """Print a table of cells, which may have several lines, as wide as the terminal at most.

    `first` bounds the width of the first column; with `unbroken` the table is as wide as it needs.
    Columns that are `kept` become narrower after all others, and those `right` are flush right.
    With `total` the last row is below a line.
    """
    kept, right = kept or [False] * len(headers), right or [False] * len(headers)
    widths = [
        max(columns(line) for cell in column for line in cell.split("\n"))
        for column in zip(headers, *rows, strict=True)
    ]
    widths[0] = min(widths[0], first or widths[0])
    room = max(shutil.get_terminal_size().columns, MIN_COLUMNS) - gap * (len(widths) - 1)
    while not unbroken and sum(widths) > room:
        widths[_next_narrower(widths, kept)] -= 1
    head = _lines(headers, widths, gap, right)
    if coloured(sys.stdout):
        head = [click.style(line, bold=True) for line in head]
    click.echo("\n".join(head))
    rule = _rule() * (sum(widths) + gap * (len(widths) - 1))
    click.echo(rule)
    for number, row in enumerate(rows, 1):
        if total and number == len(rows):
            click.echo(rule)
        click.echo("\n".join(_lines(row, widths, gap, right)))


def _next_narrower(widths: Sequence[int], kept: Sequence[bool]) -> int:
    """Return the widest column, of those that are not kept as long as these have room."""
    free = [
        width if not keep and width > MIN_WIDTH else 0
        for width, keep in zip(widths, kept, strict=True)
    ]
    return free.index(max(free)) if any(free) else widths.index(max(widths))


def _rule() -> str:
    """Return the character below the headings that the output's encoding has."""
    return "─" if "utf" in (sys.stdout.encoding or "").lower() else "-"


def _lines(row: Sequence[str], widths: Sequence[int], gap: int, right: Sequence[bool]) -> list[str]:
    """Return the lines of a row, its cells broken to the widths of the columns."""
    cells = [
        [piece for line in cell.split("\n") for piece in _broken(line, width, _BREAKS)]
        for cell, width in zip(row, widths, strict=True)
    ]
    return [
        (" " * gap).join(
            _padded(piece, width - columns(piece), flush_right=flush_right)
            for piece, width, flush_right in zip(pieces, widths, right, strict=True)
        ).rstrip()
        for pieces in zip_longest(*cells, fillvalue="")
    ]  # fmt: skip


def _padded(text: str, spaces: int, *, flush_right: bool) -> str:
    return " " * spaces + text if flush_right else text + " " * spaces


def _broken(text: str, width: int, breaks: Sequence[str]) -> list[str]:
    """Return a text in lines of at most `width` columns, broken where it matters least."""
    if not breaks or columns(text) <= width:
        return [text]
    lines, line = [], ""
    for piece in re.split(breaks[0], text):
        if line and columns(f"{line}{piece}".rstrip()) > width:
            lines += _broken(line.rstrip(), width, breaks[1:])
            line = ""
        line += piece
    return lines + _broken(line.rstrip(), width, breaks[1:])
