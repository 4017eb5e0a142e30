"""`goe-exporter sessions`: charging sessions, their sums, the monthly report and the books."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

import click

from goe_exporter.cli import output
from goe_exporter.cli.options import Command, config_file, option, parsed
from goe_exporter.cli.printable import printable
from goe_exporter.cli.session_listing import Listing
from goe_exporter.config.quoting import shown
from goe_exporter.errors import GoeExporterError, UsageError
from goe_exporter.service import config
from goe_exporter.service.config import Config
from goe_exporter.sessions import books, ledger, rows, selection
from goe_exporter.sessions.backup import backup as copy
from goe_exporter.sessions.books import Account
from goe_exporter.sessions.ledger import Period
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.settings import SessionSettings, calendar_day, calendar_month
from goe_exporter.sessions.tally import MAX_CARD

LAST = 20
"""Number of sessions in the table if no period is given."""


class _ListByDefault(click.Group):
    """A group that runs the command `list` if none is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            pass  # the shell completes the names of the commands
        elif not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def _cards(texts: Sequence[str]) -> tuple[int, ...]:
    for text in texts:
        if not re.fullmatch("[0-9]{1,2}", text) or int(text) > MAX_CARD:
            raise ValueError(f"must be 1 to {MAX_CARD}, or 0 for no card, not {shown(text)}")
    return tuple(map(int, texts))


_config = config_file("Configuration with a section sessions.", required=True)
_chargers = option(
    "--charger", "chargers", command="sessions", metavar="NAME", multiple=True,
    help="Only sessions of this charger; repeatable.",
)  # fmt: skip
_cards_option = option(
    "--card", "cards", command="sessions", metavar="NUMBER", multiple=True,
    callback=parsed(_cards),
    help="Only sessions of this card, 0 for those without a card; repeatable.",
)  # fmt: skip


def _month_option(*, required: bool) -> Callable[[Command], Command]:
    return option(
        "--month", command="sessions", metavar="YYYY-MM", required=required,
        callback=parsed(calendar_month), help="Month to include.",
    )  # fmt: skip


def _day_option(name: str, variable: str, purpose: str) -> Callable[[Command], Command]:
    return option(
        name, variable, command="sessions", metavar="YYYY-MM-DD", callback=parsed(calendar_day),
        help=purpose,
    )  # fmt: skip


@click.group("sessions", cls=_ListByDefault)
def command() -> None:
    """List charging sessions, and report their cost.

    Without a command, the sessions are listed. All commands can be run while the exporter is
    running.
    """


@command.command("list")
@_config
@_month_option(required=False)
@_day_option("--from", "first", "First day to include.")
@_day_option("--to", "last", "Last day to include.")
@_chargers
@_cards_option
@option(
    "--by", command="sessions", type=click.Choice(["day", "month", "card", "charger"]),
    help="Show sums instead of sessions.",
)  # fmt: skip
@option(
    "--format", "form", command="sessions",
    type=click.Choice(["table", "csv", "csv-de", "json"]), default="table", show_default=True,
    help="Output format; csv-de has semicolons and decimal commas.",
)  # fmt: skip
def list_sessions(
    config_file: str,
    month: date | None,
    first: date | None,
    last: date | None,
    chargers: tuple[str, ...],
    cards: tuple[int, ...],
    by: str | None,
    form: str,
) -> None:
    """List sessions with their energy and cost, or sums of them.

    A session that spans the end of the period counts with its energy inside the period. Without a
    period, the table has the last 20 sessions. Costs require tariffs in the configuration.
    """
    loaded, settings = _settings(config_file)
    period = _period(settings, month, first, last)
    newest = LAST if form == "table" and by is None and not any((month, first, last)) else None
    with Records(settings.path) as records:
        serials = selection.serials(records, chargers)
        entries = selection.entries(records, period, chargers, cards, newest)
        rest = None if cards or newest else selection.rest(records, period, serials)
    lines = ledger.lines(by, entries, settings.rates())
    found = Listing(by, lines, rest, loaded.cards, settings)
    if form == "table":
        found.print_table()
    elif form == "json":
        output.print_json(found.document())
    else:
        german = form == "csv-de"
        mark = rows.BYTE_ORDER_MARK if german and not sys.stdout.isatty() else ""
        output.print_lines(mark + found.csv(german=german))


def _settings(path: str) -> tuple[Config, SessionSettings]:
    loaded = config.load(path)
    if loaded.sessions is None:
        raise UsageError(f"{path} has no sessions section")
    return loaded, loaded.sessions


def _period(
    settings: SessionSettings, month: date | None, first: date | None, last: date | None
) -> Period:
    if month is not None and (first or last):
        raise UsageError("--month cannot be combined with --from or --to")
    if first and last and first > last:
        raise UsageError(f"--to: must not be before --from, {first}")
    if month is not None:
        return Period.month(month, settings.time_zone)
    return Period(first, last, settings.time_zone)


@command.command()
@_config
@_month_option(required=True)
@_chargers
@_cards_option
@option(
    "--language", command="sessions", type=click.Choice(["en", "de"]), default="en",
    show_default=True, help="Language of the report.",
)  # fmt: skip
@option(
    "--output", "path", command="sessions", metavar="FILE", help="File to write.",
    shown_default="standard output",
)  # fmt: skip
def report(
    config_file: str,
    month: date,
    chargers: tuple[str, ...],
    cards: tuple[int, ...],
    language: str,
    path: str | None,
) -> None:
    """Write a monthly report as a page to print on A4.

    It has the meter readings, the sessions and their cost. With --card, it lists only the sessions
    of that card.
    """
    # Imported here: of the commands on sessions, only this one needs Jinja2.
    from goe_exporter.web import pages  # noqa: PLC0415
    from goe_exporter.web.locale import Locale  # noqa: PLC0415
    from goe_exporter.web.report import contents  # noqa: PLC0415

    loaded, settings = _settings(config_file)
    period = Period.month(month, settings.time_zone)
    with Records(settings.path) as records:
        serials = selection.serials(records, chargers)
        found = contents(records, period, serials, cards, loaded.cards, settings, time.time())
    if not found.accounts:
        raise UsageError(f"--month: no charger was recorded in {month:%Y-%m}")
    page = pages.report(found, Locale(language))
    if path is None:
        output.print_lines(page)
        return
    output.write_file(path, page)


@command.command()
@_config
def check(config_file: str) -> None:
    """Check whether the books close, and where they do not.

    For each charger, the sessions, the energy in no session and the corrections of the meter must
    add up to the rise of the meter. The exit status is 1 if they do not.
    """
    _loaded, settings = _settings(config_file)
    everything = Period(None, None, settings.time_zone)
    found: list[str] = []
    with Records(settings.path) as records:
        for book in list(records.books()):
            for account in books.accounts(records, everything, [book.serial]):
                name = f"{book.charger} ({book.serial})"
                faults = books.faults(records, account)
                found += (f"{name}: {fault}" for fault in faults)
                click.echo(printable(name))
                click.echo(_checked(account, settings))
    if found:
        raise GoeExporterError(*found)


def _checked(account: Account, settings: SessionSettings) -> str:
    """Return the account of a charger, a line for each item."""
    days = [
        f"{datetime.fromtimestamp(each, settings.time_zone):%Y-%m-%d}"
        for each in (account.since, account.until)
    ]
    number = len(account.entries)
    items = [
        (f"meter on {days[0]}", account.meter_start_wh),
        (f"meter on {days[1]}", account.meter_end_wh),
        ("difference", account.meter_wh),
        (f"in {number} session{'' if number == 1 else 's'}", account.metered_wh),
        ("in no session", account.unassigned_wh),
        ("corrections", account.corrections_wh),
        ("missing", account.difference_wh),
    ]
    lines = [f"  {label:20}{energy_wh / 1000:>14,.3f} kWh" for label, energy_wh in items]
    if account.book.api == 1:
        agrees = "agrees" if account.agrees else "differs"
        lines.append(
            f"  {'session counter':20}{account.sessions_wh / 1000:>14,.3f} kWh, {agrees}"
            f" ({account.counter_wh / 1000:+,.3f} kWh)"
        )
    return "\n".join(lines)


@command.command()
@_config
@click.argument("file")
def backup(config_file: str, file: str) -> None:
    """Copy the session store to FILE, which must not exist."""
    _loaded, settings = _settings(config_file)
    copy(settings.path, Path(file))
    click.echo(f"{settings.store} copied to {file}")
