"""`goe-exporter discover`: find chargers and Controllers in the local network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING

import click

from goe_exporter.charger.device import TABLES
from goe_exporter.cli import output
from goe_exporter.cli.options import FiniteRange, option
from goe_exporter.cli.printable import printable
from goe_exporter.errors import GoeExporterError, UsageError

if TYPE_CHECKING:
    from goe_exporter.charger.discovery import Device

KINDS = {
    "charger": "charger",
    "controller": "Controller",
    "wattpilot": "Wattpilot: not supported",
}
SECTIONS = {table.device: table.section for table in TABLES}

MAX_NAME_CHARACTERS = 200
"""Longest name that is shown: escaped control characters take up to ten characters each."""

INSTALL = "pip install '.[discover]' in the clone, since it is not on a package index yet"

NOTHING = (
    "possible reasons:",
    "- it is in another subnet, or the Wi-Fi separates its clients: multicast does not cross them",
    "- this is a container without the network of the host (network_mode: host)",
    "- V1 and V2 chargers announce nothing",
    "- it is switched off",
    "the router's list of devices has the address of every charger",
)


@click.command("discover")
@option("--seconds", command="discover", type=FiniteRange(0.1, 60), default=3, show_default=True,
        help="Time to wait for announcements.")  # fmt: skip
@option("--format", "form", command="discover", type=click.Choice(["table", "json", "yaml"]),
        default="table", show_default=True, help="Output format.")  # fmt: skip
def command(seconds: float, form: str) -> None:
    """Find chargers and Controllers in the local network.

    They are found by their announcements (multicast DNS); no address is probed. V1 and V2 chargers
    announce nothing. The format yaml is for a configuration. Needs zeroconf, which the extra
    discover installs: pip install '.[discover]' in the clone.
    """
    try:
        from goe_exporter.charger.discovery import discover  # noqa: PLC0415, an optional dependency
    except ModuleNotFoundError as error:
        if error.name != "zeroconf":
            raise
        raise UsageError(f"discover needs zeroconf: run {INSTALL}") from None
    found = discover(seconds)
    if not found:
        raise GoeExporterError(f"no go-e device announced itself within {seconds:g} s", *NOTHING)
    if form == "json":
        output.print_json({"devices": [_as_json(each) for each in found]})
    elif form == "yaml":
        click.echo("\n".join(yaml(found)))
    else:
        from goe_exporter.cli import tables  # noqa: PLC0415, only for tables

        rows = [(_name(each), *each[2:], KINDS[each.kind]) for each in found]
        tables.print_rows(("name", "serial", "type", "firmware", "address", "device"), rows)


def yaml(found: Sequence[Device]) -> Iterator[str]:
    """Yield the lines of the configuration's sections with these devices.

    Names are made unique. A JSON text is a text in YAML, too; it may not escape astral characters,
    since YAML would read two halves of a pair. What cannot be a row is a comment: a device that is
    not supported, and a serial number that has a row, because a device that is polled at two
    addresses would count twice.
    """
    names: set[str] = set()
    rows: dict[tuple[str, str], str] = {}
    comments = []
    for kind, section in SECTIONS.items():
        devices = [each for each in found if each.kind == kind]
        if devices:
            yield f"{section}:"
        for each in devices:
            same = rows.setdefault((kind, each.serial or each.address), each.address)
            if same != each.address:
                what = f"has the serial number of {same}, too: list a device once"
                comments.append(f"# {_name(each)} at {each.address} {what}")
                continue
            yield f"  - name: {json.dumps(_unique(each, names), ensure_ascii=False)}"
            yield f"    host: {json.dumps(each.address)}"
            if each.serial:
                yield f"    serial: {json.dumps(each.serial)}"
    yield from comments
    for each in found:
        if each.kind not in SECTIONS:
            yield f"# {_name(each)} at {each.address} is a {KINDS[each.kind]}"


def _name(device: Device) -> str:
    """Return what a device calls itself, printable and not too long."""
    return printable(printable(device.name), MAX_NAME_CHARACTERS)


def _unique(device: Device, names: set[str]) -> str:
    """Return a name for the configuration that is not in `names`, and add it there."""
    name = _name(device)
    if not name.strip() or name in (".", ".."):
        name = device.serial or device.address
    own = (name, f"{name} {device.serial}".rstrip(), f"{name} {device.address}")
    choices = chain(own, (f"{name} {number}" for number in count(2)))
    chosen = next(choice for choice in choices if choice not in names)
    names.add(chosen)
    return chosen


def _as_json(device: Device) -> dict[str, str | None]:
    return {key: value or None for key, value in device._asdict().items()}
