"""`goe-exporter demo`: run the exporter on a simulated charger."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

import click

from goe_exporter import logs, simulator
from goe_exporter.charger.settings import ChargerConfig
from goe_exporter.cli import options
from goe_exporter.cli.options import FiniteRange, option, parsed
from goe_exporter.config import values
from goe_exporter.errors import UsageError
from goe_exporter.http_server.server import Server
from goe_exporter.service.config import RunConfig
from goe_exporter.service.service import Service
from goe_exporter.web.history import History

SPACING_SECONDS = 0.9
"""A second of the demo is a simulated minute, so the charts keep every poll, for 12 minutes."""


@click.command("demo")
@option(
    "--web.listen-address", "listen", command="demo", metavar="ADDR:PORT",
    default="127.0.0.1:10332", show_default=True, callback=parsed(values.listen_address),
    help="Loopback address to listen on.",
)  # fmt: skip
@option("--speed", command="demo", type=FiniteRange(1, 1000), default=60, show_default=True,
        help="Simulated seconds per second.")  # fmt: skip
@option("--house", command="demo", type=click.Choice(["sunny", "scattered", "broken"]),
        help="Let the charger belong to a house with solar panels, in this weather.")  # fmt: skip
@options.log_format
@options.log_level
def command(
    listen: tuple[str, int], speed: float, house: str | None, log_format: Any, log_level: str
) -> None:
    """Run the exporter on a simulated charger.

    A car is plugged in, charges, has a ground fault, charges until it is full, and is unplugged.
    With --house a car is at home from 7 to 20 o'clock, and a meter measures the house.
    """
    if not _on_loopback(listen[0]):
        raise UsageError("--web.listen-address: must be a loopback address")
    logs.configure(log_format, log_level)
    server = Server(*listen)
    charger = simulator.Charger(model="V4", name="Demo charger", serial="123456")
    with simulator.Simulator(speed=speed) as chargers:
        home = simulator.House(house) if house else None
        story = home.live(charger) if home else simulator.story(charger)
        box = chargers.add(charger, story=story)
        click.echo(f"Simulated charger:  http://{box.address}/api/status?filter=car,nrg")
        if home:
            meter = chargers.add_meter(home, box)
            click.echo(f"Simulated meter:    http://{meter.address}/rpc/EM.GetStatus?id=0")
        click.echo(f"Page:               {server.url}")
        click.echo(f"Metrics:            {server.url}metrics")
        click.echo("Press Ctrl-C to stop.")
        sys.stdout.flush()
        config = RunConfig((ChargerConfig(name="demo", host=box.address),), 1.0)
        history = History(spacing_seconds=SPACING_SECONDS)
        Service(config, lambda: config, server, history).run(reload_on_sighup=False)


def _on_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
