"""`goe-exporter read`: poll chargers and Controllers once and print their readings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.charger.client import Api
from goe_exporter.charger.connection import Connection
from goe_exporter.cli import options, output
from goe_exporter.cli.options import option
from goe_exporter.cli.selection import Chosen, chosen
from goe_exporter.errors import ChargerError, GoeExporterError
from goe_exporter.polling.poller import Poller

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INTERVAL_SECONDS = 60.0
"""Long enough for the first poll to request every channel."""

MAX_THREADS = 16
MAX_POLLS = 5
"""Maximum number of polls; a busy charger may answer without the slow channels each time."""


def _devices(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the name of a device."""
    from goe_exporter.cli import completion  # noqa: PLC0415, only the shell needs it

    return completion.devices(context, parameter, incomplete)


@click.command("read")
@click.argument("hosts", nargs=-1, metavar="[NAME=]HOST...", shell_complete=_devices)
@options.config_file("Configuration file (YAML) with chargers.")
@options.api
@options.token_file
@option(
    "--format", "form", type=click.Choice(["table", "json", "prometheus", "influx"]),
    default="table", show_default=True, help="Output format.",
)  # fmt: skip
def command(
    hosts: tuple[str, ...], config_file: str | None, api: Api, token_file: str | None, form: str
) -> None:
    """Poll chargers once and print their readings.

    A HOST may be a go-e Controller, too. With --config.file, HOST may also be the name of a charger
    in the configuration; without any HOST, all of them are read. JSON is an object for a single
    HOST, else a list under "chargers" and one under "controllers".
    """
    chargers = chosen(hosts, config_file, api, token_file)
    pollers, failures = zip(*_read_all(chargers), strict=True)
    failed = [(poller, error) for poller, error in zip(pollers, failures, strict=True) if error]
    if len(pollers) == 1 and failures[0]:
        raise failures[0]
    _print(pollers, form, single=len(hosts) == 1)
    if failed:
        texts = "; ".join(f"{poller.name}: {error}" for poller, error in failed)
        raise GoeExporterError(f"{len(failed)} of {len(pollers)} chargers failed: {texts}")


def _read_all(devices: Sequence[Chosen]) -> Iterable[tuple[Poller, ChargerError | None]]:
    """Poll devices, several of them at a time."""
    if len(devices) == 1:
        return [_read(devices[0])]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415, takes time to load

    with ThreadPoolExecutor(min(len(devices), MAX_THREADS)) as threads:
        return list(threads.map(_read, devices))


def _read(device: Chosen) -> tuple[Poller, ChargerError | None]:
    """Poll a device, as a Controller if it is another device than a charger.

    Return the poller, and the error of a failed poll.
    """
    poller = _poller(device, device.connection)
    failure = poll_all(poller)
    if failure is not None and failure.reason == "wrong_device" and not device.is_configured:
        other = _poller(device, device.connection._replace(api="2", table=CONTROLLER))
        error = poll_all(other)
        if error is None or error.reason != "wrong_device":
            return other, error
    return poller, failure


def _poller(device: Chosen, place: Connection) -> Poller:
    poller = Poller(place.name, place.host, place.client(), INTERVAL_SECONDS, table=place.table)
    poller.labels = device.labels
    return poller


def poll_all(poller: Poller) -> ChargerError | None:
    """Poll until the slow channels are complete too, if they can be read in a few polls.

    Return the error of a failed poll.
    """
    for _ in range(MAX_POLLS):
        if poller.complete:
            break
        poller.poll()
        stats = poller.view().stats
        if not stats.up:
            return ChargerError(stats.reason, stats.message)
    return None


def _print(pollers: Sequence[Poller], form: str, *, single: bool) -> None:
    """Print the readings; of several chargers, those that failed have none."""
    views = [poller.view() for poller in pollers]
    # Only the sink of the chosen format is imported, so that start-up is fast.
    if form == "table":
        from goe_exporter.cli import tables  # noqa: PLC0415

        tables.print_readings([view for view in views if view.stats.up])
    elif form == "json":
        from goe_exporter.web.json_api import as_json  # noqa: PLC0415

        found: dict[str, list[object]] = {"chargers": []}
        for view in views:
            found.setdefault(view.table.section, []).append(as_json(view))
        output.print_json(as_json(views[0]) if single else found)
    elif form == "prometheus":
        from goe_exporter.prometheus.exposition import render_readings  # noqa: PLC0415

        output.print_lines(render_readings(views))
    else:
        from goe_exporter.influx.line_protocol import line  # noqa: PLC0415

        polls = [poller.last_poll() for poller in pollers]
        output.print_lines("".join(f"{line(poll, {}, nanoseconds=True)}\n" for poll in polls))
