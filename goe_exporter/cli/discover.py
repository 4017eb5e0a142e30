"""`goe-exporter discover`: find chargers and Controllers in the local network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
    announce nothing. The format yaml is for a configuration. Needs zeroconf:
    pip install 'goe-exporter[discover]'.
    """
    try:
        from goe_exporter.charger.discovery import discover  # noqa: PLC0415, an optional dependency
    except ModuleNotFoundError as error:
        if error.name != "zeroconf":
            raise
        raise UsageError("discover needs zeroconf: pip install 'goe-exporter[discover]'") from None
    found = discover(seconds)
    if not found:
        raise GoeExporterError(f"no go-e device announced itself within {seconds:g} s", *NOTHING)
    if form == "json":
        output.print_json({"devices": [_as_json(each) for each in found]})
    elif form == "yaml":
        click.echo("\n".join(yaml(found)))
    else:
        from goe_exporter.cli import tables  # noqa: PLC0415, only for tables

        rows = [(*each[1:], KINDS[each.kind]) for each in found]
        tables.print_rows(("name", "serial", "type", "firmware", "address", "device"), rows)


def yaml(found: Sequence[Device]) -> Iterator[str]:
    """Yield the lines of the configuration's sections with these devices.

    Names are made unique. A JSON text is a text in YAML, too; it may not escape astral characters,
    since YAML would read two halves of a pair.
    """
    names: set[str] = set()
    for kind, section in SECTIONS.items():
        devices = [each for each in found if each.kind == kind]
        if devices:
            yield f"{section}:"
        for each in devices:
            name = _unique(each, names)
            yield f"  - name: {json.dumps(name, ensure_ascii=False)}"
            yield f"    host: {json.dumps(each.address)}"
            if each.serial:
                yield f"    serial: {json.dumps(each.serial)}"
    for each in found:
        if each.kind not in SECTIONS:
            yield f"# {printable(each.name)} at {each.address} is a {KINDS[each.kind]}"


def _unique(device: Device, names: set[str]) -> str:
    """Return a name for the configuration that is not in `names`, and add it there."""
    name = printable(device.name)
    if not name.strip() or name in (".", ".."):
        name = device.serial or device.address
    choices = (name, f"{name} {device.serial}".rstrip(), f"{name} {device.address}")
    chosen = next(choice for choice in choices if choice not in names)
    names.add(chosen)
    return chosen


def _as_json(device: Device) -> dict[str, str | None]:
    return {key: value or None for key, value in device._asdict().items()}
